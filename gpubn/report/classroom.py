"""For notebooks in class: pictures that the back row can read, and the verdict on a claim."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from gpubn.errors import ArgumentError
from gpubn.files import shipped
from gpubn.report.claims.rules import verdict_word

LOOK: dict[Any, Any] = {
    "font.size": 20,
    "axes.titlesize": 22,
    "axes.titlelocation": "left",
    "axes.labelsize": 20,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "lines.linewidth": 4,
    "figure.figsize": (13, 6.5),
    "figure.dpi": 72,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
}
"""Letters of 20 points on a picture of 13 inches: on a screen 2 m wide they are 4 cm high."""
_APART = 0.075
"""Distance of two labels, as a share of the panel."""


def look() -> None:
    """Let matplotlib draw for the back row from now on.

    >>> with mpl.rc_context():
    ...     look()
    ...     mpl.rcParams["font.size"]
    20.0
    """
    mpl.rcParams.update(LOOK)


def label_ends(ax: Axes) -> None:
    """Write the label of each line at its right end, in its colour, none over another.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = ax.plot([0, 1], [0, 1], label="up"), ax.plot([0, 1], [0, 1], label="as well")
    >>> label_ends(ax)
    >>> [text.get_text() for text in ax.texts]
    ['up', 'as well']
    """
    ax.autoscale_view()  # what the limits are is not known before
    to_panel = ax.transData + ax.transAxes.inverted()
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    ends = [to_panel.transform(line.get_xydata()[-1]) for line in lines]  # type: ignore[index]
    least = -1.0
    for (x, y), line in sorted(zip(ends, lines, strict=True), key=lambda pair: pair[0][1]):
        least = max(y, least + _APART)
        ax.text(
            x + 0.015, least, str(line.get_label()), color=line.get_color(), va="center",
            transform=ax.transAxes, fontweight="bold", clip_on=False,
        )  # fmt: skip


@dataclass(frozen=True)
class DecidedClaims:
    """Claims and their verdicts, in Markdown, which a notebook shows formatted."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


def decided(*claims: str) -> DecidedClaims:
    """Return some claims with their verdicts, from full grids where there are any.

    Links lead from `results/notebooks` to what each verdict rests on.

    Args:
        claims: such as "D5".

    Raises:
        ArgumentError: there is no such claim.

    >>> decided("D6").text.splitlines()[0]
    '**D6.** The ideal first loss is ln(classes) = 2.303; scaled weights start near it.'
    """
    results = shipped("results")
    tables = [results / "full" / "claims.csv", results / "claims.csv"]
    with next(path for path in tables if path.exists()).open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    if unknown := [claim for claim in claims if claim not in rows]:
        raise ArgumentError(f"the claim is {unknown[0]!r}; expected one such as {next(iter(rows))}")
    return DecidedClaims("\n\n".join(_decided(rows[claim]) for claim in claims))


def _decided(row: Mapping[str, str]) -> str:
    """Return one claim in Markdown: what is claimed, the verdict, and about which network."""
    word = verdict_word(row["verdict"])
    row = {name: re.sub(r"([_*])", r"\\\1", text) for name, text in row.items()}
    return (
        f"**{row['id']}.** {row['claim']}\n"
        f"<br>**{word.capitalize()}**{row['verdict'].removeprefix(word)}. "
        f"[What decides it](../claims.md#{row['id'].lower()})\n"
        f"<br><small>{row['scope']}</small>"
    )
