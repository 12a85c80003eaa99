"""Document A's one gamma and beta a layer against one a unit, before and after a step."""

import numpy as np
from matplotlib.ticker import NullLocator

from gpubn.report.figures import marks, scales, sheets, style
from gpubn.report.figures.selection import by, present, select, values

TABLES = ("shared_scale",)
CLAIMS = ("A9",)

MATTERS = 0.01
STYLES: dict[str, style.Style] = {
    "before": ("batchnorm before ReLU", style.BLUE, "-", "o"),
    "after": ("batchnorm after ReLU", style.RED, "--", "s"),
}
ASIDE = {"before": 0.93, "after": 1.07}
BY_RATE = ("output_change_difference", "output_change")


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    norms = present(table, "norm", STYLES)
    outputs_differ, gradients_differ = (
        style.concise(float(select(table, metric=f"{name}_difference")["value"].max()))
        for name in ("forward", "weight_grad")
    )
    text = f"""One gamma and beta a layer against one a unit

        {c["model.depth"]} ReLU layers of {c["model.width"]} units, weights {sheet.weights},
        {c["data.examples"]:,} standard normal examples, {c["dtype"]}; one step of gradient descent.
        The loss is the mean over the examples of a random unit vector times the output. Lines:
        geometric mean of n = {sheet.seeds} seeds; bands: its 95% t-interval; dots: seeds; dashes:
        the smallest difference that matters. All relative, Euclidean lengths over the whole batch.
        In the first pass, before any update, the outputs differ by at most {outputs_differ} and a
        weight gradient by {gradients_differ}.
    """
    axes = sheet.grid((1, 3), (7.8, 3.5), text, style.keys(STYLES))
    outputs, steps, updates = axes[0]
    steps.sharey(outputs)
    for ax, metric in zip((outputs, steps), BY_RATE, strict=True):
        for norm in norms:
            rates, of_seeds = by(table, "rate", metric=metric, norm=norm)
            marks.band(ax, rates, marks.geometric(of_seeds), STYLES[norm], marks_every=1)
            at, color = rates[:, None] * ASIDE[norm], STYLES[norm][1]
            ax.plot(at, of_seeds, ".", color=color, markersize=2, alpha=0.6)
        ax.set(xscale="log", yscale="log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("learning rate")
    scales.bounds(outputs, MATTERS)
    shown = np.append(values(select(table, metric=BY_RATE)), MATTERS)
    outputs.set_ylim(*scales.ends(shown, log=True))
    outputs.set_title("what the step changes:\nshared less per unit, over per unit")
    outputs.set_ylabel("relative difference")
    steps.set_title("the step itself: output\nafter less before, over before")
    # The updates are proportional to the rate, so that one rate stands for all.
    rows = select(table, rate=sheet.levels("rate")[0], metric="scale_update_difference")
    for norm in norms:
        layers, of_seeds = by(rows, "layer", norm=norm)
        marks.band(updates, layers, marks.geometric(of_seeds), STYLES[norm], marks_every=1)
    updates.set_yscale("log")
    updates.set_ylim(*scales.ends(values(rows), log=True))
    updates.set_title("updates of gamma and beta:\nshared against per unit")
    updates.set(ylabel="relative difference", xlabel="layer")
