"""What must hold to rounding: the worst error of each check, in units of eps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.report.figures.courses import select
from gpubn.report.figures.style import BLUE, INK, ORANGE, new_figure, seed_count

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
DTYPES = {"float64": (BLUE, "o", 0.13), "float32": (ORANGE, "s", -0.13)}
FLOOR = 0.1
"""Where errors of 0 are drawn."""


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a check, both precisions; well conditioned (left) and about a large mean (right)."""
    table = tables["exact"]
    figure, axes = new_figure(
        1,
        2,
        width=7.4,
        height=4.4,
        title="What must hold to rounding: the worst error of each check",
        legend=[
            *(
                Line2D([], [], color=color, marker=m, markersize=4, linestyle="", label=dtype)
                for dtype, (color, m, _) in DTYPES.items()
            ),
            Line2D([], [], color=INK, linewidth=1.2, label="tolerance"),
        ],
        caption=f"""
            Largest relative error over n = {seed_count(table)} seeds and batches of
            {_listed(table, "batch")}, in units of the machine's eps; 0 stands at the left edge.
            Filled: {FEATURES} features, by which the claims are decided; hollow: the largest of
            {_listed(table, "features")} features. Relative to the size of the summed terms.
            Tolerance: (8 sqrt(N) + 16) eps for the largest batch N, and 1000 eps^(2/3) for central
            differences, which are taken in float64 alone; times {SHIFT} on the right but for the
            identity, as the mean swamps three digits of the input. {verdicts}
        """,
    )
    for ax, (suffix, title) in zip(axes[0], PANELS.items(), strict=True):
        _draw_panel(ax, table, suffix)
        ax.set_title(title)
        ax.set_xlabel("worst error / eps")
    axes[0, 0].set_yticks(range(len(CHECKS)), list(CHECKS.values()))
    axes[0, 1].set_yticks(range(len(CHECKS)), [""] * len(CHECKS))
    axes[0, 1].tick_params(left=False)
    return figure


def _draw_panel(ax: Axes, table: pd.DataFrame, suffix: str) -> None:
    terms = int(table["batch"].astype(int).max())
    for row, check in enumerate(CHECKS):
        for dtype, (color, marker, offset) in DTYPES.items():
            eps = float(np.finfo(dtype).eps)
            of_check = select(table, {"metric": check + suffix, "dtype": dtype})
            for rows, fill in (
                (of_check, "white"),
                (select(of_check, {"features": FEATURES}), color),
            ):
                if len(rows):
                    at = max(float(rows["value"].max()) / eps, FLOOR)
                    ax.plot(
                        at, row - offset, color=color, marker=marker, markersize=4,
                        markerfacecolor=fill, linestyle="",
                    )  # fmt: skip
        eps = float(np.finfo("float64").eps)
        allowed = (
            theory.central_difference_tolerance(eps)
            if check in DIFFERENCES
            else theory.rounding_tolerance(terms, eps)
        )
        shift = SHIFT if suffix and check not in AS_EXACT else 1
        at = shift * allowed / eps
        ax.plot([at, at], [row - 0.38, row + 0.38], color=INK, linewidth=1.2)
    ax.set_xscale("log")
    ax.set_xlim(FLOOR * 0.7, 1e12)
    ax.set_xticks([10.0**i for i in range(0, 13, 3)])
    ax.minorticks_off()
    ax.set_ylim(len(CHECKS) - 0.5, -0.5)


def _listed(table: pd.DataFrame, column: str) -> str:
    values = sorted({int(v) for v in table[column]})
    return ", ".join(str(v) for v in values)
