"""Document D: bar charts of each hidden unit's mean activation, and how many stand at 1."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import Line, draw_lines, select
from gpubn.report.figures.style import (
    BLUE,
    FAINT,
    INITS,
    MNIST_INITS,
    ORANGE,
    Style,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)

TABLES = ("mnist_init",)
CLAIMS = ("D4",)

FIRST_INIT = MNIST_INITS[:4]
SCALED = "rand_small"
MEANS: dict[str, Style] = {
    "0.9": ("mean above 0.9", ORANGE, "-", "s"),
    "0.99": ("mean above 0.99", BLUE, "-", "o"),
}
"""What counts as standing at 1: by the eye, and strictly."""
MATTERS = 0.5


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One network's units before and after training; then the shares at 1 of every seed."""
    table = tables["mnist_init"]
    c = config_of(table)
    plain = table[table["norm"] == "none"]
    units = plain[plain["metric"].str.startswith("unit_mean[")]
    last = int(units["step"].max())
    figure, axes = new_figure(
        3,
        len(MNIST_INITS),
        width=7.8,
        height=5.8,
        title=titled(table, "Mean activation of each unit, without batchnorm"),
        legend=[
            Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
            for label, color, _, m in MEANS.values()
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. Bars: mean activation of each of the
            {c["model.width"]} {c["model.activation"]} units over 1,000 training images, no
            batchnorm, in one network (seed {int(units["seed"].min())}), before training and after
            {last:,} steps; dotted: {" and ".join(MEANS)}. Bottom: share of units with a mean above
            these, less the same seed's with {INITS[SCALED][0]}. Dots: n = {seed_count(plain)}
            seeds; marks and bars: mean and its 95% t-interval; dashes: most. Document D shows such
            a chart of one network for its first initialisation, of which these are four readings,
            and one for the scaled weights. {verdicts}
        """,
    )
    for column, init in enumerate(MNIST_INITS):
        for row, step in enumerate((0, last)):
            _draw_bars(axes[row, column], select(units, {"init": init, "step": step}))
            if column:
                axes[row, column].set_yticklabels([])
        axes[0, column].set_title(INITS[init][0])
        axes[1, column].set_xlabel("unit")
        axes[2, column].remove()
    axes[0, 0].set_ylabel("before training\nmean activation")
    axes[1, 0].set_ylabel("after training\nmean activation")
    grid = axes[2, 0].get_gridspec()
    grid.set_height_ratios([1, 1, 1.25])
    half = len(MNIST_INITS) // 2
    for place, step, when in (
        (slice(None, half), 0, "before training"),
        (slice(half, None), last, "after training"),
    ):
        ax = figure.add_subplot(grid[2, place])
        draw_lines(ax, _lines(select(plain, {"step": step, "layer": 1})), marks=(MATTERS,))
        ax.set_xlim(-0.05, 1.05)
        if step:
            ax.set_yticklabels([])
        ax.set_xlabel(f"share of units at 1, less scaled ({when})")
    return figure


def _draw_bars(ax: Axes, bars: pd.DataFrame) -> None:
    order = bars["metric"].str.extract(r"\[(\d+)\]")[0].astype(int).to_numpy()
    ax.bar(order, bars["value"].to_numpy(), width=1.0, color=BLUE, linewidth=0)
    for mean in MEANS:
        ax.axhline(float(mean), color=FAINT, linestyle=":", linewidth=0.8)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xticks([0, len(order) // 2, len(order) - 1])


def _lines(rows: pd.DataFrame) -> list[Line]:
    """Both shares of each reading of the first initialisation, less that of the scaled weights."""
    lines = []
    for init in FIRST_INIT:
        for mean, style in MEANS.items():
            unscaled, scaled = (
                select(rows, {"init": name, "metric": f"pinned_share[{mean}]"})
                .sort_values("seed")["value"]
                .to_numpy(dtype=np.float64)
                for name in (init, SCALED)
            )
            label = INITS[init][0] if mean == "0.9" else ""
            lines.append(Line(label, unscaled - scaled, style))
    return lines
