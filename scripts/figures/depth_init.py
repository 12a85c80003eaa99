"""Training loss under the other initialisation over the claimed one.

{dataset}; {network}. Up: log ratio of a seed's losses, of the last {c[every]} of {training}, at the
best of the {rate}; above 0 the claimed one is better. Shaded: mean over {DECIDING} layers,
deciding without batchnorm. {dots}

The depths are not to scale. {diverged}
"""

import numpy as np

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, facet, figure
from gpubn.report.words import ACTIVATIONS

# The claims' ledger decides these: the claimed initialisation and the other one; what matters; and
# the depths whose mean decides, without batchnorm.
CLAIMED = {"relu": ("he", "glorot"), "tanh": ("glorot", "he")}
MATTERS = 0.05
DECIDING = (5, 10, 20)


@figure(__doc__, tables=("depth_grid",), claims=("D14",), from_small=True, size=(7.2, 3.6))
@Panels(
    rows={"ratio": "log ratio of losses"},
    columns=facet(
        "activation",
        {
            name: f"{ACTIVATIONS[name]}: {looks.INITS[other][0]} over {looks.INITS[claimed][0]}"
            for name, (claimed, other) in CLAIMED.items()
        },
    ),
    x="hidden layers (not to scale)",
    share="row",
)
@Legend(sweeps.entries(matters=f"±{MATTERS:g}"))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    ratios = {
        activation: {
            norm: sweeps.compared(
                select(table, activation=activation, norm=norm), "init", *CLAIMED[activation]
            )
            for norm in present(table, "norm", looks.PLACEMENTS)
        }
        for activation in sheet.columns
    }
    ends = scales.ratio_ends(ratios, MATTERS)
    deciding = np.isin([int(depth) for depth in sheet.levels("depth")], DECIDING)
    select(table, depth=[str(depth) for depth in DECIDING])
    at = np.arange(len(deciding))
    for _, activation, ax in sheet.panels():
        sweeps.shade(ax, len(at), 0.5, 0.5)
        for norm, ratio in ratios[activation].items():
            mean = ratio[deciding].mean(axis=0, keepdims=True)
            for places, of in ((at, ratio), (at[-1:] + 1, mean)):
                sweeps.draw_arms(ax, places, {norm: of}, width=0.4, ends=ends, aside=0.09)
        scales.ratio_axis(ax, ends, MATTERS)
        scales.category_axis(ax, [*sheet.levels("depth"), "mean"])
