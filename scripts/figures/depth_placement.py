"""Where to put batchnorm: loss at the other place over that at the claimed one, by depth."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("B7",)

# The claims' ledger decides these: initialisation, claimed place, the other one; what matters; and
# the depths whose ratio decides.
CLAIMED = {
    "relu": ("he", "before", "after"),
    "tanh": ("glorot", "after", "before"),
    "sigmoid": ("glorot", "after", "before"),
}
MATTERS = 0.05
DECIDING = (5, 20)

METRICS: dict[str, style.Style] = {
    "batch_loss": ("mini-batch loss, training mode (decides)", style.BLACK, "-", "o"),
    "train_loss": ("training loss, inference mode", style.ORANGE, "--", "D"),
}


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    activations = present(table, "activation", CLAIMED)
    text = f"""Loss with batchnorm at the other place over that at the claimed one

        Dataset: {sheet.dataset}; hidden layers of {c["model.width"]} units, {sheet.training}, n =
        {sheet.seeds} seeds. Up: logarithm of the ratio of two losses of the same seed, each at the
        best of the constant rates {", ".join(sheet.levels("rate"))}; above 0 the claimed place is
        better. Mini-batch: mean of the last {c["every"]}. Shaded columns: the depths that decide.
        {sweeps.MARKS} {sweeps.diverged_note(table)}
    """
    legend = sweeps.legend(METRICS, matters=f"±{MATTERS:g}")
    axes = sheet.grid((1, len(activations)), (7.2, 3.9), text, legend)
    ratios: dict[str, dict[str, np.ndarray]] = {metric: {} for metric in METRICS}
    for activation in activations:
        init, claimed, other = CLAIMED[activation]
        rows = select(table, activation=activation, init=init)
        for metric, of_metric in ratios.items():
            of_metric[activation] = sweeps.compared(rows, "norm", claimed, other, metric)
    ends = scales.ratio_ends(ratios["batch_loss"], MATTERS)
    depths = [int(depth) for depth in sheet.levels("depth")]
    at = np.arange(len(depths))
    for ax, activation in zip(axes[0], activations, strict=True):
        for metric, alpha in (("batch_loss", 1.0), ("train_loss", 0.6)):
            sweeps.draw_arms(
                ax, at, {metric: ratios[metric][activation]}, styles=METRICS, width=0.3, aside=0.1,
                ends=ends, alpha=alpha,
            )  # fmt: skip
        for place in np.flatnonzero(np.isin(depths, DECIDING)):
            sweeps.shade(ax, place)
        scales.ratio_axis(ax, ends, MATTERS)
        scales.category_axis(ax, depths)
        init, claimed, other = CLAIMED[activation]
        ax.set_title(f"{ACTIVATIONS[activation]}, {style.INITS[init][0]}:\n{other} over {claimed}")
    scales.label_grid(axes, x="hidden layers (not to scale)", y=["log ratio of losses"])
