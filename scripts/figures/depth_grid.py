"""Does it train? Final loss by depth, batchnorm, activation and initialisation, and the gain."""

from typing import Any

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("A7", "B7", "B11", "D12", "D14")

# The claims' ledger decides these: what matters (A7, B11, D12), and which depths D12 compares.
MATTERS, DEPTHS = 0.1, (1, 10)


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    inits = present(table, "init", ("glorot", "he", "small", "rand_fan_in"))
    activations = present(table, "activation", ACTIVATIONS)
    text = f"""Training loss, and what batchnorm gains, by depth and initialisation

        Dataset: {sheet.dataset}; hidden layers of {c["model.width"]} units, depth not to scale.
        Upper panels: loss of the last {c["every"]} of {c["optim.steps"]} mini-batches of
        {c["optim.batch"]}, for each seed at the best of the constant rates
        {", ".join(sheet.levels("rate"))}, n = {sheet.seeds} seeds, means geometric. Lower panels:
        logarithm of the loss without batchnorm over that with it, seed by seed; above 0 batchnorm
        helps; Δ: gain at {DEPTHS[1]} layers less gain at {DEPTHS[0]}. {sweeps.MARKS}
        {sweeps.diverged_note(table)}
    """
    legend = sweeps.legend(guess=True, matters=f"±{MATTERS:g}")
    axes = sheet.grid(
        (2 * len(activations), len(inits)), (7.4, 8.4), text, legend, legend_columns=3
    )
    axes[0, 0].get_gridspec().set_height_ratios([1.35, 1] * len(activations))
    losses = sweeps.by_arm(
        table,
        ["activation", "init"],
        lambda rows: sweeps.at_best_rate(rows, "depth", "batch_loss")[1],
    )
    gains = sweeps.over(losses)
    select(table, depth=str(DEPTHS[0]))
    select(table, depth=str(DEPTHS[1]))
    depths = sheet.levels("depth")
    few, many = ([depths.index(str(depth))] for depth in DEPTHS)
    grown = sweeps.each(gains, lambda gain: gain[many] - gain[few])
    ends, gain_ends = scales.loss_ends(losses), scales.ratio_ends([gains, grown], MATTERS)
    at, place = np.arange(len(depths)), len(depths)
    for i, activation in enumerate(activations):
        for (upper, lower), init in zip(axes[2 * i : 2 * i + 2].T, inits, strict=True):
            panel = activation, init
            how: dict[str, Any] = {"width": 0.44, "aside": 0.1}
            sweeps.draw_arms(upper, at, losses[panel], **how, ends=ends, log=True)
            for norm, gain in gains[panel].items():
                for places, of in ((at, gain), (at[-1:] + 1, grown[panel][norm])):
                    sweeps.draw_arms(lower, places, {norm: of}, **how, ends=gain_ends)
            sweeps.shade(lower, place, 0.5, 0.5)
            scales.loss_axis(upper, ends)
            scales.ratio_axis(lower, gain_ends, MATTERS)
            for ax in (upper, lower):
                scales.category_axis(ax, [*depths, "Δ"])
            upper.set_xticks(range(place), [""] * place)
    labels = [f"{ACTIVATIONS[name]}\n\nloss (nats)" for name in activations]
    labels = [label for of in labels for label in (of, "gain\n(log ratio)")]
    scales.label_grid(axes, titles=[style.INITS[i][0] for i in inits], x="hidden layers", y=labels)
