"""A sheet: what a figure declares, and the figure with its grid of axes, as page or as slide."""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Self, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.described import Described
from gpubn.report.figures.marks import edge_notes
from gpubn.report.figures.scales import label_grid
from gpubn.report.figures.selection import present
from gpubn.report.figures.style import SLIDE, Style, furnish, keys, published_key, theory_key
from gpubn.report.words import ACTIVATIONS

Labels: TypeAlias = Mapping[Any, str]
Facets: TypeAlias = "int | Sequence[Any] | Labels | Callable[[Sheet], Labels]"
"""How many rows or columns, or what each shows, or that and its label."""
T = TypeVar("T")
Draw: TypeAlias = "Callable[[Sheet], None]"

_ASIDE_INCHES, _LETTERS_AN_INCH = 0.45, 15
"""Of a slide's panel: what its numbers take of the width, and letters of a label."""


class _Part:
    def __call__(self, draw: Draw) -> Draw:
        """Declare this of a drawing function."""
        setattr(draw, type(self).__name__, self)
        return draw

    @classmethod
    def of(cls, draw: Draw) -> Self:
        """Return what is declared of it, or the default."""
        part: Self = getattr(draw, cls.__name__, cls())
        return part


@dataclass(frozen=True)
class Panels(_Part):
    """A grid of panels; labels stand left of its rows and above its columns.

    `x` is below the lowest row, or below all panels of the rows that it names; `heights` are those
    of the rows, relatively; `share` is whether the panels of a row, or all, share their y axis.
    """

    rows: Facets = 1
    columns: Facets = 1
    heights: Sequence[float] | Callable[["Sheet"], Sequence[float]] | None = None
    x: str | Sequence[str] | Mapping[Any, str] = ""
    share: Literal["row", "all"] | None = None


@dataclass(frozen=True)
class Legend(_Part):
    """A legend: its entries, or the looks that it explains, and `more` entries.

    Of `column` of the table the looks whose values it holds alone have an entry; these have a
    `line` and a `marker` or not. `published` values have one where the data are the document's.
    """

    shown: "Mapping[str, Style] | Sequence[Artist] | Callable[[Sheet], Sequence[Artist]]" = ()
    column: str = ""
    more: Sequence[Artist] = ()
    line: bool = True
    marker: bool = True
    theory: bool = False
    published: bool = False

    def entries(self, sheet: "Sheet") -> list[Artist]:
        """Return the entries for the tables of a sheet."""
        shown = self.shown(sheet) if callable(self.shown) else self.shown
        if isinstance(shown, Mapping):
            looks = sheet.present(self.column, shown) if self.column else shown
            shown = keys(looks, line=self.line, marker=self.marker)
        stars = [published_key()] * (self.published and sheet.is_published_data)
        return [*shown, *self.more, *[theory_key()] * self.theory, *stars]


@dataclass(frozen=True)
class Slide(_Part):
    """The panels (row, column) that the slide of a figure shows, and what stands below them."""

    panels: Sequence[tuple[int, int]] = ((0, 0), (0, 1), (0, 2))
    source: str = "{dataset}, {n}, 95% t-intervals"


@dataclass(frozen=True)
class Declaration:
    """A figure before it is drawn: what `figure` and the parts above it say, and `draw(sheet)`."""

    draw: Draw
    words: str
    tables: tuple[str, ...]
    size: tuple[float, float]
    claims: tuple[str, ...]
    grid: Panels
    legend: Legend
    slide: Slide


def figure(
    words: str | None,
    *,
    tables: tuple[str, ...],
    size: tuple[float, float],
    claims: tuple[str, ...] = (),
    from_small: bool = False,
) -> Callable[[Draw], Declaration]:
    """Declare a figure, above all else that is declared of it.

    Args:
        words: paragraphs that `Described` fills in: the title, which is one line; the caption, with
            the verdicts no more than three; all else, for the alternative text.
        tables: the stems of the tables that it reads; the first is the experiment that makes them.
        size: width and height in inches.
        claims: the ids of the claims that it shows.
        from_small: whether the small tables of full grids hold all that it shows.
    """
    text = inspect.cleandoc(words or "")

    def declare(draw: Draw) -> Declaration:
        parts = Panels.of(draw), Legend.of(draw), Slide.of(draw)
        return Declaration(draw, text, tables, size, claims, *parts)

    return declare


def facet(column: str, names: Mapping[str, str] | Mapping[str, Style]) -> Facets:
    """Return rows or columns of a grid: the values of a column that have a name, with their names.

    A name may be a style, whose label it is.
    """

    def of(sheet: "Sheet") -> Labels:
        held = sheet.present(column, names).items()
        return {value: name if isinstance(name, str) else name[0] for value, name in held}

    return of


by_activation = facet("activation", ACTIVATIONS)


class Sheet(Described):
    """A declared figure with its tables; a script draws on its axes.

    Attributes:
        tables: all tables by their stems; `table` is the first.
        rows, columns: what each row and column of the grid shows.
        labels: the labels of the rows, and those of the columns.
        figure: the figure.
        axes: its axes in rows and columns; joined ones stand in all their places.
        joined: axes in the place of several.
    """

    def __init__(
        self, declared: Declaration, tables: Mapping[str, pd.DataFrame], verdicts: str = ""
    ) -> None:
        super().__init__(next(iter(tables.values())), declared.draw.__globals__)
        self.said |= {stem: Described(table) for stem, table in tables.items()}
        self.declared, self.tables, self.verdicts = declared, tables, verdicts
        self.joined: list[Axes] = []
        self.words = [*declared.words.split("\n\n", 2), "", ""]
        grid = declared.grid
        facets = map(self._facets, (grid.rows, grid.columns))
        (self.rows, self.columns), self.labels = zip(*facets, strict=True)
        self.figure = Figure(figsize=declared.size)
        heights = grid.heights(self) if callable(grid.heights) else grid.heights
        self.axes = self.figure.subplots(
            len(self.rows), len(self.columns), squeeze=False, sharey=grid.share or False,
            height_ratios=heights,
        )  # fmt: skip
        label_grid(self.axes, titles=self.labels[1], y=self.labels[0])
        for row, label in self._below().items():
            for ax, text in zip(self.axes[row], label, strict=True):
                ax.set_xlabel(text)

    def present(self, column: str, names: Mapping[str, T]) -> dict[str, T]:
        """Return those of some names whose value a column of the table holds; there is one."""
        return {value: names[value] for value in present(self.table, column, names)}

    def panels(self) -> list[tuple[Any, Any, Axes]]:
        """Return what row and column show, and the axes, of every panel."""
        places = product(self.rows, self.columns)
        return [(*keys, ax) for keys, ax in zip(places, self.axes.flat, strict=True)]

    def join(self, row: int, columns: slice) -> Axes:
        """Return new axes in the place of some that stand side by side."""
        of_row = self.axes[row]
        grid = of_row[0].get_gridspec()
        for ax in of_row[columns]:
            ax.remove()
        joined = of_row[columns] = self.figure.add_subplot(grid[row, columns])
        self.joined.append(joined)
        return joined

    def title(self) -> str:
        """Return the title of what has been drawn."""
        return self.titled(self.fill(self.words[0].rstrip(".")))

    def caption(self) -> str:
        """Return the caption of what has been drawn, with its key to marks and the verdicts."""
        said = (self.fill(self.words[1]), edge_notes(self.figure), self.verdicts)
        return " ".join(filter(None, said))

    def alt(self) -> str:
        """Return all that there is to say in words, for those who do not see the figure."""
        return f"{self.title()}. {self.caption()} {self.fill(self.words[2])}"

    def finish(self, *, slide: bool = False) -> None:
        """Put title, legend and caption around what has been drawn, or make it a slide."""
        caption = self.fill(self.declared.slide.source) if slide else self.caption()
        if slide:
            self._keep([self.axes[at] for at in self.declared.slide.panels if self._holds(at)])
        furnish(self.figure, self.title(), self.declared.legend.entries(self), caption)

    def _facets(self, facets: Facets) -> tuple[list[Any], list[str]]:
        found = facets(self) if callable(facets) else facets
        shown = list(range(found) if isinstance(found, int) else found)
        return shown, list(found.values()) if isinstance(found, Mapping) else [""] * len(shown)

    def _below(self) -> dict[int, list[str]]:
        """Row -> the labels below its panels."""
        x, last, across = self.declared.grid.x, len(self.rows) - 1, len(self.columns)
        if isinstance(x, Mapping):
            return {self.rows.index(row): [label] * across for row, label in x.items()}
        return {last: [x] * across if isinstance(x, str) else list(x)}

    def _holds(self, place: tuple[int, int]) -> bool:
        return all(at < length for at, length in zip(place, self.axes.shape, strict=True))

    def _keep(self, kept: Sequence[Axes]) -> None:
        """Leave some panels alone, side by side, each with the labels of its row and column."""
        self.figure.set_size_inches(*SLIDE)
        grid = self.figure.add_gridspec(1, len(kept))
        letters = int((SLIDE[0] / len(kept) - _ASIDE_INCHES) * _LETTERS_AN_INCH)
        before = -1
        for ax in self.figure.axes:
            ax.set_visible(ax in kept)
        for place, ax in enumerate(kept):
            (row, column), *_ = np.argwhere(self.axes == ax)
            title, first = self.labels[1][column], self.axes[row, 0]
            lower = (other.get_xlabel() for other in self.axes[row:, column])
            ax.set_xlabel(_broken(next(filter(None, lower), ""), letters))
            if title not in ax.get_title() and ax not in self.joined:
                title = f"{title}\n{ax.get_title()}"
            else:
                title = ax.get_title()
            ax.title.set_text(_broken(title.strip(), letters))
            if row != before:
                shares = first.get_shared_y_axes().joined(first, ax)
                of_row = first.get_ylabel() if shares else self.labels[0][row] * (not _named(ax))
                ax.set_ylabel(ax.get_ylabel() or of_row)
                ax.tick_params(labelleft=True)
            ax.tick_params(labelbottom=True)
            ax.set_subplotspec(grid[0, place])
            before = row


def _named(ax: Axes) -> bool:
    """Return whether the y axis of a panel has names, and needs no label."""
    ticks = (tick.get_text() for tick in ax.get_yticklabels())
    return any(re.match(r"[^$]*[a-zA-Z]", tick) for tick in ticks)


def _broken(text: str, letters: int) -> str:
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))
