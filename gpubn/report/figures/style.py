"""The look of every figure, and the parts they share."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.statistics import Interval, mean_interval

mpl.use("Agg")

# Okabe and Ito's palette: told apart by colour-blind readers, and in order of lightness on paper.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
INK, FAINT = "#222222", "#8A8A8A"

STYLE: dict[Any, Any] = {
    "font.size": 7.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 7.2,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "figure.dpi": 100,
    "svg.hashsalt": "gpubn",
    "svg.fonttype": "path",
}

_CAPTION_POINTS = 6.8
_CAPTION_LINES = 7
_CHARACTERS_AN_INCH = 19.5
_LINE_INCHES = 0.118
_TITLE_INCHES = 0.3

Style = tuple[str, str, Any, str]
"""Label, colour, line style, marker."""

INITS: dict[str, Style] = {
    name: (words.INITS[name], *style)
    for name, style in {
        "small": (BLUE, "-", "o"),
        "glorot": (RED, "-", "s"),
        "glorot_small": (PINK, "--", "^"),
        "scaled_normal": (GREEN, "-.", "D"),
        "narrow_uniform": (ORANGE, ":", "v"),
        "rand_fan_in": (ORANGE, "-", "v"),
        "rand": (BLACK, "-", "X"),
        "randn_fan_in": (SKY, "--", "P"),
        "randn": (PINK, "-", "^"),
        "rand_small": (GREEN, "-.", "D"),
        "he": (BLUE, "--", "D"),
    }.items()
}
MNIST_INITS = ("rand", "rand_fan_in", "randn", "randn_fan_in", "rand_small", "glorot")
"""Document D's initialisations; the first four are the readings of its first one."""

NORMS: dict[str, Style] = {
    "none": ("no batchnorm", BLACK, "-", "o"),
    "before_naive": ("before tanh, no γ β", SKY, "--", "v"),
    "before": ("before tanh", BLUE, "-", "s"),
    "after_naive": ("after tanh, no γ β", ORANGE, "--", "^"),
    "after": ("after tanh", RED, "-", "D"),
}


def style() -> AbstractContextManager[None]:
    """The context in which a figure is put together and rendered."""
    return mpl.rc_context(STYLE)


def new_figure(
    rows: int,
    columns: int,
    *,
    width: float,
    height: float,
    title: str,
    caption: str,
    legend: Sequence[Artist] = (),
    legend_columns: int = 6,
) -> tuple[Figure, np.ndarray]:
    """A figure (inches) with title and legend above and a caption below a grid of axes.

    `height` has room for a caption of `_CAPTION_LINES`; a longer one adds to it.
    """
    text = textwrap.fill(" ".join(caption.split()), int(width * _CHARACTERS_AN_INCH))
    height += max(0, text.count("\n") + 1 - _CAPTION_LINES) * _LINE_INCHES
    figure = Figure(figsize=(width, height))
    legend_rows = -(-len(legend) // legend_columns)
    top = 1 - (_TITLE_INCHES + legend_rows * _LINE_INCHES * 1.35) / height
    bottom = (text.count("\n") + 1.6) * _LINE_INCHES / height
    figure.set_layout_engine(
        "constrained", rect=(0, bottom, 1, top - bottom), h_pad=0.05, w_pad=0.05
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.text(0.01, 1 - 0.07 / height, title, fontsize=9.5, fontweight="bold", va="top")
    figure.text(0.01, 0.04 / height, text, fontsize=_CAPTION_POINTS, va="bottom", color=INK)
    if legend:
        box = figure.legend(
            handles=legend,
            loc="upper left",
            bbox_to_anchor=(0.003, 1 - (_TITLE_INCHES - 0.07) / height),
            ncols=legend_columns,
            borderaxespad=0,
            columnspacing=1.4,
            handlelength=2.4,
        )
        box.set_in_layout(False)
    return figure, axes


def keys(
    styles: Mapping[str, Style], names: Sequence[str], *, markers: bool = False
) -> list[Artist]:
    """Legend entries of some of `INITS` or `NORMS`."""
    return [
        Line2D([], [], color=c, linestyle=s, marker=m if markers else "", markersize=3, label=label)
        for label, c, s, m in (styles[name] for name in names)
    ]


def by_seed(frame: pd.DataFrame, index: str | Sequence[str]) -> tuple[pd.Index, np.ndarray]:
    """Return the values of `index` in order and the observations as (len(index), seeds)."""
    wide = frame.pivot(index=index, columns="seed", values="value")
    return wide.index, wide.to_numpy(dtype=np.float64)


def band(
    ax: Axes,
    x: Sequence[float],
    interval: Interval,
    *,
    color: str,
    line: str = "-",
    label: str = "",
) -> None:
    """A line at the mean and a band over the interval."""
    xs = np.asarray(x, dtype=np.float64)
    ax.plot(xs, interval.mean, color=color, linestyle=line, label=label)
    ax.fill_between(xs, interval.low, interval.high, color=color, alpha=0.22, linewidth=0)


def geometric(values: np.ndarray) -> Interval:
    """Geometric mean over the last axis and its 95% interval: for values that span decades."""
    with np.errstate(divide="ignore"):
        return Interval(*(10**part for part in mean_interval(np.log10(values))))


def number(value: float, digits: int = 2) -> str:
    """A number for a label: 3.5e-35, 0.998, 16.4."""
    if not np.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e3:
        return f"{value:.{digits}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:.{digits + 1}g}"


def seed_count(frame: pd.DataFrame) -> int:
    """Number of seeds in a table."""
    return int(frame["seed"].nunique())


def config_of(frame: pd.DataFrame) -> dict[str, Any]:
    """The configuration that all cells of a table have in common, by key.

    Raises:
        StoreError: the table has no provenance beside it.
    """
    config: dict[str, Any] = frame.attrs["config"]
    if not config:
        raise StoreError("the table has no provenance; expected its JSON file beside it")
    return config


def dataset_label(frame: pd.DataFrame) -> str:
    """The dataset of a table, in words."""
    return " and ".join(words.DATASETS[name] for name in sorted(frame["data"].unique()))


def is_published_data(frame: pd.DataFrame) -> bool:
    """Whether the table was made from the data of the document, so that its values compare."""
    return set(frame["data"]) == {"mnist"}


def titled(frame: pd.DataFrame, title: str) -> str:
    """A title that says so where the data is not the document's."""
    return title if is_published_data(frame) else f"{title} (digits, not MNIST)"


def render(figure: Figure) -> dict[str, bytes]:
    """The figure as {"svg": bytes, "png": bytes}, the same bytes every time."""
    # The layout's solver varies in the last bits from run to run: fix the axes where they are.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position(tuple(round(side, 5) for side in ax.get_position().bounds))
    out = {}
    for kind, options in (
        ("svg", {"metadata": {"Date": None, "Creator": None}}),
        ("png", {"dpi": 200, "metadata": {"Software": None}}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
        out[kind] = buffer.getvalue()
    return out
