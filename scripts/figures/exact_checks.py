"""What must hold to rounding: the worst error of each check, in units of eps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn import theory
from gpubn.plotting import BLUE, INK, ORANGE, new_figure, seed_count

TABLES = ("exact",)
CLAIMS = ("B1", "B3", "B4", "C1", "C2", "C3", "C4")

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
    "scale_invariance_error": "scale of W: output",
    "scale_gradient_error": "scale of W: gradient",
    "gradient_radial": "gradient along W",
}
DIFFERENCES = {
    "finite_difference_error",
    "affine_norm_relu_gradient_error",
    "batch_norm_jacobian_error",
}
PANELS = {"": "standard normal input", "_shifted": "mean 1000 standard deviations"}
SHIFT = {"": 1.0, "_shifted": 1000.0}
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
            Largest relative error over n = {seed_count(table)} seeds, batches of
            {_listed(table, "batch")} and {_listed(table, "features")} features, in units of the
            machine's eps; 0 is drawn at the left edge. Relative to the size of the summed terms.
            Tolerance: (8 sqrt(N) + 16) eps for the largest batch N, and 1000 eps^(2/3) for central
            differences, which are taken in float64 alone; times 1000 on the right, where the mean
            swamps three digits of the input. {verdicts}
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
            where = (table["metric"] == check + suffix) & (table["dtype"] == dtype)
            if where.any():
                worst = float(table.loc[where, "value"].max()) / eps
                at = max(worst, FLOOR)
                ax.plot(at, row - offset, color=color, marker=marker, markersize=4, linestyle="")
        eps = float(np.finfo("float64").eps)
        allowed = (
            theory.central_difference_tolerance(eps)
            if check in DIFFERENCES
            else theory.rounding_tolerance(terms, eps)
        )
        at = SHIFT[suffix] * allowed / eps
        ax.plot([at, at], [row - 0.38, row + 0.38], color=INK, linewidth=1.2)
    ax.set_xscale("log")
    ax.set_xlim(FLOOR * 0.7, 1e12)
    ax.set_xticks([10.0**i for i in range(0, 13, 3)])
    ax.minorticks_off()
    ax.set_ylim(len(CHECKS) - 0.5, -0.5)


def _listed(table: pd.DataFrame, column: str) -> str:
    values = sorted({int(v) for v in table[column]})
    return ", ".join(str(v) for v in values)
