"""What must hold to rounding: the worst error of each check.

Largest relative error over {n} and batches of {each[batch]}, in units of the machine's eps; 0
stands at the left edge. Filled: {FEATURES} features, by which the claims are decided; hollow: the
largest of {each[features]} features.

Relative to the size of the summed terms. Tolerance: (8 sqrt(N) + 16) eps for the largest batch N,
and 1000 eps^(2/3) for central differences, which are taken in float64 alone; times {SHIFT} on the
right but for the identity, as the mean swamps digits of the input. Not drawn, as they are no errors
of ours: correlations behind batchnorm (root mean square {left:.2f}), and a 1/N that divides whole
numbers down, which makes the output {floor:,.0f} times as large.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.report.figures import looks, style
from gpubn.report.figures.selection import distinct, matching, present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

CHECKS = {
    "identity_error": "B1  identity",
    "fold_error": "B3  folded inference",
    "mean_path": "B4  variance path to the mean",
    "finite_difference_error": "B4  gradient: differences",
    "closed_vs_graph_error": "C2  closed form = graph",
    "affine_norm_relu_error": "C1  affine, norm, ReLU",
    "affine_norm_relu_gradient_error": "C1  its gradient: differences",
    "centring_jacobian_error": "C3  Jacobian of centring",
    "batch_norm_jacobian_error": "C4  Jacobian: differences",
    "scale_invariance_error": "B10  scale of W: output",
    "scale_gradient_error": "B10  scale of W: gradient",
    "gradient_radial": "gradient along W",
    "unit_mean_error": "C6  mean of a unit",
    "unit_var_error": "C6  variance of a unit",
    "correlation_error": "C6  correlations: as before",
    "bias_output_error": "C8  bias: output",
    "bias_gradient_error": "C8  bias: gradient",
    "listing_error": "C9  1/N times a sum",
}
DIFFERENCES = {
    "finite_difference_error",
    "affine_norm_relu_gradient_error",
    "batch_norm_jacobian_error",
}
FEATURES = "16"
"""The number of features that the claims are decided by."""
SHIFT = 1000
"""Factor on the tolerance where the mean swamps three digits of the input."""
AS_EXACT = {"identity_error"}
"""What has to be as exact about a large mean."""
ASIDE = {"float64": 0.13, "float32": -0.13}
FLOOR = 0.1
"""Where errors of 0 are drawn."""


@figure(
    __doc__,
    tables=("exact",),
    claims=("B1", "B3", "B4", "B10", "C1", "C2", "C3", "C4", "C6", "C8", "C9"),
    size=(7.4, 5.4),
)
@Panels(
    columns={"": "standard normal input", "_shifted": f"mean {SHIFT} standard deviations"},
    x="worst error / eps",
    share="row",
)
@Legend(
    [*style.keys(looks.DTYPES, line=False), style.key("tolerance", color=style.INK, linewidth=1.2)]
)
@Slide(source="largest error of {n}")
def draw(sheet: Sheet) -> None:
    table = distinct(sheet.table, "batch", "features", "dtype", "seed", "metric")
    for name, metric in (("left", "correlation_left"), ("floor", "floor_division_size")):
        largest = select(table, metric=metric, batch=sheet.levels("batch")[-1])
        sheet.said[name] = float(values(largest).mean())
    for _, suffix, ax in sheet.panels():
        _draw_panel(ax, table, suffix)
        ax.set_yticks(range(len(CHECKS)), list(CHECKS.values()))


def _draw_panel(ax: Axes, table: pd.DataFrame, suffix: str) -> None:
    terms, eps = int(table["batch"].astype(int).max()), float(np.finfo("float64").eps)
    dtypes = present(table, "dtype", looks.DTYPES)
    for row, check in enumerate(CHECKS):
        for dtype in dtypes:
            _, color, _, marker = looks.DTYPES[dtype]
            of_check = matching(table, metric=check + suffix, dtype=dtype)
            for rows, fill in ((of_check, "white"), (matching(of_check, features=FEATURES), color)):
                if len(rows):
                    at = max(float(values(rows).max()) / float(np.finfo(dtype).eps), FLOOR)
                    ax.plot(
                        at, row - ASIDE[dtype], color=color, marker=marker, markersize=4,
                        markerfacecolor=fill, linestyle="",
                    )  # fmt: skip
        allowed = (
            theory.central_difference_tolerance(eps)
            if check in DIFFERENCES
            else theory.rounding_tolerance(terms, eps)
        )
        shift = SHIFT if suffix and check not in AS_EXACT else 1
        at = shift * allowed / eps
        ax.plot([at, at], [row - 0.38, row + 0.38], color=style.INK, linewidth=1.2)
    ax.set(xscale="log", xlim=(FLOOR * 0.7, 1e12))
    ax.set_xticks([10.0**i for i in range(0, 13, 3)])
    ax.minorticks_off()
    ax.set_ylim(len(CHECKS) - 0.5, -0.5)
