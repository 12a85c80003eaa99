"""Loss with batchnorm at the other place over that at the claimed one.

{dataset}; {network}, {training}. Up: log ratio of a seed's losses, each at the best of the {rate};
above 0 the claimed place is better. Shaded: the depths that decide. {dots}

The mini-batch loss is the mean of the last {c[every]}. The depths are not to scale. {diverged}
"""

import numpy as np

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.selection import select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, facet, figure
from gpubn.report.words import ACTIVATIONS

# The claims' ledger decides these: initialisation, claimed place, the other one; what matters; and
# the depths whose ratio decides.
CLAIMED = {
    "relu": ("he", "before", "after"),
    "tanh": ("glorot", "after", "before"),
    "sigmoid": ("glorot", "after", "before"),
}
MATTERS = 0.05
DECIDING = (5, 20)


@figure(__doc__, tables=("depth_grid",), claims=("B7",), size=(7.2, 3.5))
@Panels(
    rows={"ratio": "log ratio of losses"},
    columns=facet(
        "activation",
        {
            name: f"{ACTIVATIONS[name]}, {looks.INITS[init][0]}:\n{other} over {claimed}"
            for name, (init, claimed, other) in CLAIMED.items()
        },
    ),
    x="hidden layers (not to scale)",
    share="row",
)
@Legend(sweeps.entries(looks.LOSSES, matters=f"±{MATTERS:g}"))
def draw(sheet: Sheet) -> None:
    ratios: dict[str, dict[str, np.ndarray]] = {metric: {} for metric in looks.LOSSES}
    for activation in sheet.columns:
        init, claimed, other = CLAIMED[activation]
        rows = select(sheet.table, activation=activation, init=init)
        for metric, of_metric in ratios.items():
            of_metric[activation] = sweeps.compared(rows, "norm", claimed, other, metric)
    ends = scales.ratio_ends(ratios["batch_loss"], MATTERS)
    depths = [int(depth) for depth in sheet.levels("depth")]
    at = np.arange(len(depths))
    for _, activation, ax in sheet.panels():
        for metric, alpha in (("batch_loss", 1.0), ("train_loss", 0.6)):
            sweeps.draw_arms(
                ax, at, {metric: ratios[metric][activation]}, styles=looks.LOSSES, width=0.3,
                aside=0.1, ends=ends, alpha=alpha,
            )  # fmt: skip
        for place in np.flatnonzero(np.isin(depths, DECIDING)):
            sweeps.shade(ax, place)
        scales.ratio_axis(ax, ends, MATTERS)
        scales.category_axis(ax, depths)
