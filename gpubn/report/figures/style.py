"""The look of every figure: fonts, colours, styles of arms, the page, the bytes of its files."""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import oxipng
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from gpubn.report.figures import svg

mpl.use("Agg")

# Okabe and Ito's palette: told apart by colour-blind readers, and in order of lightness on paper.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PINK = "#0072B2", "#D55E00", "#CC79A7"
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

PAGE_DPI = 200
SLIDE, SLIDE_DPI = (6.4, 3.6), 300
"""Inches: at 300 dots an inch 1920 x 1080, where 6 points are 25 lines high."""
CAPTION_LINES = 3
"""Lines of a caption in print; what does not fit is for the alternative text."""
_CAPTION_POINTS = 6.8
_CHARACTERS_AN_INCH = 19.5
_TITLE_CHARACTERS = 11
_LINE_INCHES = 0.118
_TITLE_INCHES = 0.3
_TITLE_LINE_INCHES = 0.16
_KEY_INCHES, _LABEL_INCHES = 0.56, 0.057
"""Width of a key in a legend, and of a letter of its label."""

Style = tuple[str, str, Any, str]
"""Label, colour, line style, marker."""

THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 4)), "linewidth": 0.9}
BOUND: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 0.8}
"""Lines at the least that matters."""


def style() -> AbstractContextManager[None]:
    """Return the context in which a figure is put together and rendered, whatever a user's is."""
    return matplotlib.style.context(["default", STYLE])


def new_figure(
    rows: int,
    columns: int,
    *,
    width: float,
    height: float,
    title: str,
    caption: str,
    legend: Sequence[Artist] = (),
) -> tuple[Figure, np.ndarray]:
    """Return a figure (inches) with title and legend above and a caption below a grid of axes."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False)
    furnish(figure, title, legend, caption)
    return figure, axes


def furnish(figure: Figure, title: str, legend: Sequence[Artist], caption: str) -> None:
    """Put title and legend above the axes of a figure, a caption below, and the axes between.

    A caption of more than `CAPTION_LINES` adds to the height.
    """
    width, height = figure.get_size_inches()
    title, text = textwrap.fill(title, int(width * _TITLE_CHARACTERS)), wrapped(caption, width)
    height += max(0, text.count("\n") + 1 - CAPTION_LINES) * _LINE_INCHES
    figure.set_size_inches(width, height)
    down = _legend_rows([len(str(entry.get_label())) for entry in legend], width)
    head = _TITLE_INCHES + title.count("\n") * _TITLE_LINE_INCHES
    top = 1 - (head + down * _LINE_INCHES * 1.35) / height
    bottom = (text.count("\n") + 1.6) * _LINE_INCHES / height
    figure.set_layout_engine(
        "constrained", rect=(0, bottom, 1, top - bottom), h_pad=0.05, w_pad=0.05
    )
    figure.text(0.01, 1 - 0.07 / height, title, fontsize=9.5, fontweight="bold", va="top")
    figure.text(0.01, 0.04 / height, text, fontsize=_CAPTION_POINTS, va="bottom", color=INK)
    if legend:
        box = figure.legend(
            handles=legend,
            loc="upper left",
            bbox_to_anchor=(0.003, 1 - (head - 0.07) / height),
            ncols=-(-len(legend) // down),
            borderaxespad=0,
            columnspacing=1.4,
            handlelength=2.4,
        )
        box.set_in_layout(False)


def _legend_rows(letters: Sequence[int], width: float) -> int:
    """Return in how few rows a legend fits; it fills its columns one after the other."""
    for down in range(1, len(letters)):
        columns = [letters[i : i + down] for i in range(0, len(letters), down)]
        if sum(_KEY_INCHES + _LABEL_INCHES * max(column) for column in columns) <= width:
            return down
    return len(letters)


def wrapped(caption: str, width: float) -> str:
    """Return a caption in lines that fit a figure so many inches wide."""
    return textwrap.fill(" ".join(caption.split()), int(width * _CHARACTERS_AN_INCH))


def key(label: str, **look: Any) -> Artist:
    """Return a legend entry of one line or mark."""
    return Line2D([], [], label=label, **look)


def keys(
    styles: Mapping[str, Style] | Iterable[Style], *, line: bool = True, marker: bool = True
) -> list[Artist]:
    """Return legend entries with the lines, the markers or both of some styles."""
    chosen = styles.values() if isinstance(styles, Mapping) else styles
    return [
        key(
            label, color=color, linestyle=dashes if line else "", marker=shape if marker else "",
            markersize=3 if line else 4,
        )
        for label, color, dashes, shape in chosen
    ]  # fmt: skip


def published_key() -> Artist:
    """Return the legend entry of a value that a document prints."""
    return key("published value", color="k", marker="*", linestyle="")


def theory_key() -> Artist:
    """Return the legend entry of lines drawn as `THEORY`."""
    return key("theory", **THEORY)


def shades(count: int) -> list[Any]:
    """Return colours in order, dark to light, that colour-blind readers can order too."""
    return [mpl.colormaps["viridis"](v) for v in np.linspace(0.0, 0.86, max(count, 2))][:count]


def tints(hue: str, count: int) -> list[Any]:
    """Return colours of one of matplotlib's sequential maps in order, light to dark."""
    return [mpl.colormaps[hue](v) for v in np.linspace(0.45, 1.0, max(count, 2))][:count]


def concise(value: float, digits: int = 2) -> str:
    """Return a number for a label: 3.5e-35, 0.998, 16.4."""
    if not np.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e3:
        return f"{value:.{digits}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:.{digits + 1}g}"


def render(
    figure: Figure, title: str = "", described: str = "", dpi: int = PAGE_DPI
) -> dict[str, bytes]:
    """Return the figure as {"svg": bytes, "png": bytes}, the same bytes every time.

    The SVG carries its title, and in words what it shows.
    """
    # The layout's solver varies in the last bits from run to run: fix the axes where they are.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position(tuple(round(side, 5) for side in ax.get_position().bounds))
    out = {}
    for kind, options in (
        ("svg", {"metadata": {"Date": None, "Creator": None}}),
        ("png", {"dpi": dpi, "metadata": {"Software": None}}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
        out[kind] = buffer.getvalue()
    drawing = svg.compact(out["svg"], title, described)
    return {"svg": drawing, "png": oxipng.optimize_from_memory(_in_colours(out["png"]), level=1)}


def _in_colours(png: bytes, most: int = 256) -> bytes:
    """Return the picture in so many colours, which halves it; none is off by what an eye tells."""
    picture, buffer = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    few = picture.quantize(most, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG")
    return buffer.getvalue()
