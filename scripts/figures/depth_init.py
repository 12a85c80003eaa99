"""He's initialisation against Glorot's, for ReLU and tanh, by depth and batchnorm."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("D14",)

# The claims' ledger decides these: the claimed initialisation and the other one; what matters; and
# the depths whose mean decides, without batchnorm.
CLAIMED = {"relu": ("he", "glorot"), "tanh": ("glorot", "he")}
MATTERS = 0.05
DECIDING = (5, 10, 20)


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    activations = present(table, "activation", CLAIMED)
    text = f"""Training loss under the other initialisation over the claimed one

        Dataset: {sheet.dataset}; hidden layers of {c["model.width"]} units, n = {sheet.seeds}
        seeds. Up: logarithm of the ratio of two losses of the same seed, each the mean of the last
        {c["every"]} of {c["optim.steps"]} mini-batches of {c["optim.batch"]}, at the best of the
        constant rates {", ".join(sheet.levels("rate"))}; above 0 the claimed initialisation is
        better. Shaded: mean over {", ".join(map(str, DECIDING))} layers, which decides where there
        is no batchnorm. {sweeps.MARKS} {sweeps.diverged_note(table)}
    """
    legend = sweeps.legend(matters=f"±{MATTERS:g}")
    axes = sheet.grid((1, len(activations)), (7.2, 4.0), text, legend, legend_columns=4)
    ratios = {
        activation: {
            norm: sweeps.compared(
                select(table, activation=activation, norm=norm), "init", *CLAIMED[activation]
            )
            for norm in present(table, "norm", style.PLACEMENTS)
        }
        for activation in activations
    }
    ends = scales.ratio_ends(ratios, MATTERS)
    deciding = np.isin([int(depth) for depth in sheet.levels("depth")], DECIDING)
    select(table, depth=[str(depth) for depth in DECIDING])
    at = np.arange(len(deciding))
    for ax, activation in zip(axes[0], activations, strict=True):
        sweeps.shade(ax, len(at), 0.5, 0.5)
        for norm, ratio in ratios[activation].items():
            mean = ratio[deciding].mean(axis=0, keepdims=True)
            for places, of in ((at, ratio), (at[-1:] + 1, mean)):
                sweeps.draw_arms(ax, places, {norm: of}, width=0.4, ends=ends, aside=0.09)
        scales.ratio_axis(ax, ends, MATTERS)
        scales.category_axis(ax, [*sheet.levels("depth"), "mean"])
        claimed, other = (style.INITS[init][0] for init in CLAIMED[activation])
        ax.set_title(f"{ACTIVATIONS[activation]}: {other} over {claimed}")
    scales.label_grid(axes, x="hidden layers (not to scale)", y=["log ratio of losses"])
