"""Document D: do saturated units learn? Saturation, gradient and change of the first weights."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from gpubn.report.figures.courses import Line, draw_lines, edge_note, of_metrics, select
from gpubn.report.figures.style import (
    INITS,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    geometric,
    new_figure,
    number,
    seed_count,
    titled,
)

TABLES = ("mnist_init",)
CLAIMS = ("D5",)

TREATMENTS = ("none", "before", "after")
SHARES = {
    "saturated_share": "share of saturated\n(image, unit) pairs",
    "dead_share": "share of units\nsaturated on all images",
}
RATIOS = {
    "gradient_norm": "gradient of the first\nweights / Glorot's",
    "weight_change": "relative change of the\nfirst weights / Glorot's",
}
MATTERS = 0.1


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel a quantity, one line of seeds an initialisation and treatment."""
    table = tables["mnist_init"]
    c = config_of(table)
    last = int(table["step"].max())
    shown = of_metrics(table[table["layer"] == 1], [*SHARES, *RATIOS])
    shown = shown[shown["step"] == np.where(shown["metric"] == "weight_change", last, 0)]
    figure, axes = new_figure(
        1,
        len(SHARES) + len(RATIOS),
        width=7.8,
        height=4.8,
        title=titled(table, "Saturated units, their gradient, and how far their weights move"),
        legend=[
            Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
            for label, color, _, m in (NORMS[norm] for norm in TREATMENTS)
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units. Left three panels: before training. Saturated: |tanh| >
            0.99, on 1,000 training images; gradient: Frobenius norm over 256. Right: the Frobenius
            norm of the weights after {last:,} steps of batch {c["optim.batch"]} less the initial
            ones, over that of these. Ratios to the Glorot network of the same seed and treatment,
            on logarithmic axes. Dots: n = {seed_count(table)} seeds; marks and bars: mean (ratios:
            geometric) and its 95% t-interval; dashes: a tenth; numbers: no batchnorm.
            {edge_note(shown, tuple(RATIOS), ("right", "left"))} {verdicts}
        """,
    )
    for ax, (metric, label) in zip(axes[0], {**SHARES, **RATIOS}.items(), strict=True):
        rows = shown[shown["metric"] == metric]
        marks = (MATTERS,) if metric == "weight_change" else ()
        lines = _lines(rows, metric in RATIOS)
        draw_lines(ax, lines, log=metric in RATIOS, marks=marks)
        ax.set_xlabel(label)
        if marks:
            _print_ratios(ax, lines)
        if metric in RATIOS:
            ax.xaxis.set_major_locator(LogLocator(numticks=4))
            ax.xaxis.set_minor_locator(NullLocator())
        else:
            ax.set_xlim(-0.07, 1.07)
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    return figure


def _lines(rows: pd.DataFrame, over_glorot: bool) -> list[Line]:
    """One line a treatment of each initialisation, labelled at the middle one, and gaps."""
    lines = []
    for init in MNIST_INITS:
        for norm in TREATMENTS:
            found, glorot = (
                select(rows, {"init": name, "norm": norm})
                .sort_values("seed")["value"]
                .to_numpy(dtype=np.float64)
                for name in (init, "glorot")
            )
            seeds = found / glorot if over_glorot else found
            lines.append(Line(INITS[init][0] if norm == "before" else "", seeds, NORMS[norm]))
        lines.append(Line(""))
    return lines[:-1]


def _print_ratios(ax: Axes, lines: list[Line]) -> None:
    """The ratios without batchnorm as numbers, at the right: the axis spans too much to read."""
    for y, line in enumerate(lines):
        if line.seeds is not None and line.style == NORMS["none"]:
            mean, low, high = (number(float(part)) for part in geometric(line.seeds))
            ax.text(
                1.03, y + 0.5, f"{mean}\n[{low},\n{high}]", transform=ax.get_yaxis_transform(),
                va="center", fontsize=6.3,
            )  # fmt: skip
