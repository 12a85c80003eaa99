"""What must hold to rounding: the worst error of each check, in units of eps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gpubn import theory
from gpubn.report.figures import sheets, style
from gpubn.report.figures.selection import distinct, matching, present, values

TABLES = ("exact",)
CLAIMS = ("B1", "B3", "B4", "B10", "C1", "C2", "C3", "C4")

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
}
DIFFERENCES = {
    "finite_difference_error",
    "affine_norm_relu_gradient_error",
    "batch_norm_jacobian_error",
}
PANELS = {"": "standard normal input", "_shifted": "mean 1000 standard deviations"}
FEATURES = "16"
"""The number of features that the claims are decided by."""
SHIFT = 1000
"""Factor on the tolerance where the mean swamps three digits of the input."""
AS_EXACT = {"identity_error"}
"""What has to be as exact about a large mean."""
DTYPES = {"float64": (style.BLUE, "o", 0.13), "float32": (style.ORANGE, "s", -0.13)}
FLOOR = 0.1
"""Where errors of 0 are drawn."""


def draw(sheet: sheets.Sheet) -> None:
    table = distinct(sheet.table, "batch", "features", "dtype", "seed", "metric")
    looks = ((dtype, color, "", marker) for dtype, (color, marker, _) in DTYPES.items())
    text = f"""What must hold to rounding: the worst error of each check

        Largest relative error over n = {sheet.seeds} seeds and batches of
        {", ".join(sheet.levels("batch"))}, in units of the machine's eps; 0 stands at the left
        edge. Filled: {FEATURES} features, by which the claims are decided; hollow: the largest of
        {", ".join(sheet.levels("features"))} features. Relative to the size of the summed terms.
        Tolerance: (8 sqrt(N) + 16) eps for the largest batch N, and 1000 eps^(2/3) for central
        differences, which are taken in float64 alone; times {SHIFT} on the right but for the
        identity, as the mean swamps three digits of the input.
    """
    legend = [
        *style.keys(looks, line=False),
        style.key("tolerance", color=style.INK, linewidth=1.2),
    ]
    axes = sheet.grid((1, 2), (7.4, 4.4), text, legend)
    for ax, (suffix, title) in zip(axes[0], PANELS.items(), strict=True):
        _draw_panel(ax, table, suffix)
        ax.set(title=title, xlabel="worst error / eps")
    axes[0, 0].set_yticks(range(len(CHECKS)), list(CHECKS.values()))
    axes[0, 1].set_yticks(range(len(CHECKS)), [""] * len(CHECKS))
    axes[0, 1].tick_params(left=False)


def _draw_panel(ax: Axes, table: pd.DataFrame, suffix: str) -> None:
    terms, eps = int(table["batch"].astype(int).max()), float(np.finfo("float64").eps)
    dtypes = present(table, "dtype", DTYPES)
    for row, check in enumerate(CHECKS):
        for dtype in dtypes:
            color, marker, offset = DTYPES[dtype]
            of_check = matching(table, metric=check + suffix, dtype=dtype)
            for rows, fill in ((of_check, "white"), (matching(of_check, features=FEATURES), color)):
                if len(rows):
                    at = max(float(values(rows).max()) / float(np.finfo(dtype).eps), FLOOR)
                    ax.plot(
                        at, row - offset, color=color, marker=marker, markersize=4,
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
