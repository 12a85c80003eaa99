"""Steps to a fixed training loss by learning rate, and how many times fewer at the best rate."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.scales import USABLE
from gpubn.report.words import ACTIVATIONS

TABLES = ("rate_sweep",)
CLAIMS = ("B8",)

MATTERS = 1.1
"""Times: the smallest gain in steps that matters; the claims' ledger decides."""


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    steps = c["optim.steps"]
    activations = list(map(str, table["activation"].unique()))
    text = f"""Steps to a mini-batch loss of {USABLE:g} nats, by learning rate

        Dataset: {sheet.dataset}; {sheet.hidden_layers} units, {sheet.weights} weights, batches of
        {c["optim.batch"]}, constant rate, n = {sheet.seeds} seeds. Top: steps until the mean loss
        of the last {c["every"]} mini-batches is at most {USABLE:g} nats; never: not within {steps}
        steps. Bottom: logarithm of the steps without batchnorm over those with it, the same seed,
        each at its own best rate, never counting as {steps}. {sweeps.MARKS}
    """
    legend = sweeps.legend(matters=f"within {MATTERS:g} times")
    axes = sheet.grid((2, len(activations)), (7.2, 4.9), text, legend, legend_columns=4)
    axes[0, 0].get_gridspec().set_height_ratios([3, 1])
    never = 1.12 * steps
    reached = sweeps.by_arm(
        table,
        "activation",
        lambda rows: sweeps.by_level(rows, "rate", f"steps_to_loss[{USABLE:g}]"),
    )
    fewest = sweeps.each(reached, lambda swept: np.fmin(swept[1].min(axis=0), steps))
    gains = sweeps.over(fewest)
    matters = float(np.log(MATTERS))
    ends = scales.ratio_ends(gains, matters)
    ticks = np.linspace(0, steps, 4)
    for (upper, lower), activation in zip(axes.T, activations, strict=True):
        for norm, (rates, of_rates) in reached[activation].items():
            places = np.log10(rates)
            sweeps.draw_arms(upper, places, {norm: of_rates}, width=0.12, ends=(0, never))
        upper.axhline(steps, color=style.FAINT, linewidth=0.4)
        scales.decade_axis(upper, rates)
        upper.set_yticks([*ticks, never], [*(f"{tick:.3g}" for tick in ticks), "never"])
        upper.set(ylim=(0, 1.2 * steps), xlabel="learning rate (per step)")
        sweeps.draw_strips(lower, gains[activation], ends, matters)
    titles = [ACTIVATIONS[activation] for activation in activations]
    x, y = "gain at the best rate (log ratio of steps)", [f"steps to {USABLE:g} nats", "gain"]
    scales.label_grid(axes, titles=titles, x=x, y=y)
