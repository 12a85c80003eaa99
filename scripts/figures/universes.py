"""How far each verdict carries: every claim in every universe.

Rows are the {count} claims, in each document first those that at least half of the universes
touch, the most robust in front; columns the ways in which the grids differ from the default, the
quick ones. Corner: the default's word, under other conditions. Small: nothing differs that the
claim reads. Bar: the share of the others that agrees, in full (black) or in the word alone (grey).

What the literature predicts stands left, the universes ({universes}) right of the default. {shares}
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from gpubn.report.figures import style
from gpubn.report.figures.selection import distinct, matching, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

PREDICTED, DEFAULT, AGREES = "predicted", "default", "agrees"
AGREEMENT_OF_WORDS = 0.5
"""Of a universe that agrees in the word alone; 1 where it agrees in the conditions, too."""
WORDS = {
    "reproduced": ("● reproduced", style.BLUE, "o", "white"),
    "reproduced other value": ("≈ with another value", style.SKY, r"$\approx$", "black"),
    "holds only when": ("◆ holds only when", style.ORANGE, "D", "black"),
    "not reproduced": ("– not reproduced", style.RED, "_", "white"),
    "contradicted": ("× contradicted", style.BLACK, "x", "white"),
    "undecided": ("? undecided", "white", "$?$", "black"),
    "no verdict": ("! no verdict", "white", "$!$", "black"),
    "no data": ("no data, or not run", "#DDDDDD", "", "black"),
    "not run": ("", "#DDDDDD", "", "black"),
}
"""Verdict -> label, colour of the cell, sign, colour of the sign."""
GAP, CELL, SMALL, LETTERS = 0.35, 0.92, 0.4, 46
BAR = 2.6


def _documents(sheet: Sheet) -> dict[str, str]:
    return dict.fromkeys(sorted({id_[0] for id_ in sheet.table["id"]}), "")


def _heights(sheet: Sheet) -> list[int]:
    ids = sheet.table["id"].unique()
    return [sum(id_[0] == letter for id_ in ids) for letter in sheet.rows]


@figure(__doc__, tables=("universes",), size=(7.3, 10.8))
@Panels(rows=_documents, heights=_heights)
@Legend(
    [
        style.key(label, color=color, marker="s", linestyle="", markeredgecolor=style.FAINT,
                  markeredgewidth=0.4)
        for label, color, *_ in WORDS.values() if label
    ]
)  # fmt: skip
@Slide(((0, 0),), source="Claims of document {first}; bar: share of universes that agree")
def draw(sheet: Sheet) -> None:
    rows = distinct(sheet.table, "universe", "id", "metric")
    titles = {PREDICTED: PREDICTED, DEFAULT: DEFAULT, **sheet.config["universes"]}
    with_data = {*rows.loc[rows["metric"] == AGREES, "universe"]}
    named = [u for u in titles if u in with_data]
    at = {PREDICTED: 0.0, DEFAULT: 1 + GAP}
    at |= {name: 2 + 2 * GAP + place for place, name in enumerate(named)}
    agreement = _agreement(rows, named)
    sheet.said["universes"] = ", ".join(titles[name] for name in named)
    sheet.said["first"] = sheet.rows[0]
    sheet.said["count"] = len(agreement)
    sheet.said["shares"] = _shares(agreement, len(named))
    for letter, _, ax in sheet.panels():
        ids = [id_ for id_ in agreement if id_[0] == letter]
        of_document = select(rows, id=ids)
        _draw_cells(ax, of_document, at, ids)
        _draw_bars(ax, [agreement[id_] for id_ in ids], max(at.values()) + 1 + GAP)
        claims = sheet.config["claims"]
        ax.set_yticks(range(len(ids)), [_short(f"{id_}  {claims[id_]}") for id_ in ids])
        ax.set_ylim(len(ids) - 0.5, -0.5)
        ax.set_xlim(-0.6, max(at.values()) + 1 + GAP + BAR + 1.6)
        ax.set_xticks([])
        ax.tick_params(length=0, labelsize=5.2, pad=1)
        ax.set_ylabel(" ", fontsize=8, labelpad=3)  # small letters take more room than is measured
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    above = {titles[name]: x for name, x in at.items()} | {"agree": max(at.values()) + 2.5 + GAP}
    for title, x in above.items():
        top = sheet.axes[0, 0]
        top.text(x, -0.7, title, rotation=90, fontsize=5.8, ha="center", va="bottom")


def _agreement(rows: pd.DataFrame, universes: list[str]) -> dict[str, np.ndarray]:
    """Return how far each universe agrees that changes what a claim reads, by the claim's id.

    Those come first that at least half of the universes touch, and of these who agree most.
    """
    there = matching(rows, universe=universes)
    told = there[there["metric"] != AGREES]
    applies = told.loc[told["value"] > 0, ["universe", "id"]]
    agrees = matching(there, metric=AGREES).merge(applies, on=["universe", "id"])
    found = {id_: np.array(agrees.loc[agrees["id"] == id_, "value"]) for id_ in rows["id"].unique()}

    def place(pair: tuple[str, np.ndarray]) -> tuple[bool, float]:
        agrees = pair[1]
        return 2 * len(agrees) < len(universes), -agrees.mean() if len(agrees) else 1.0

    return dict(sorted(found.items(), key=place))


def _shares(agreement: dict[str, np.ndarray], universes: int) -> str:
    told = [values for values in agreement.values() if 2 * len(values) >= universes]
    full = sum(bool((values == 1).all()) for values in told)
    word = sum(bool((values > 0).all()) for values in told)
    return (
        f"Of {len(told)} claims that at least half of the universes touch, {full} have the "
        f"default's verdict in all of theirs, {word} its word."
    )


def _draw_cells(ax: Axes, rows: pd.DataFrame, at: dict[str, float], ids: list[str]) -> None:
    down = {id_: place for place, id_ in enumerate(ids)}
    rows = matching(rows, universe=[*at])
    rows = rows.assign(x=rows["universe"].map(at), y=rows["id"].map(down))
    told = rows[rows["metric"] != AGREES]
    for word, (_, color, sign, ink) in WORDS.items():
        of_word = matching(told, metric=word)
        size = np.where(of_word["value"] > 0, CELL, SMALL)
        corners = zip(of_word["x"] - size / 2, of_word["y"] - size / 2, size, size, strict=True)
        _draw_boxes(
            ax, corners, facecolor=color, edgecolor=style.FAINT if color == "white" else color
        )
        whole = of_word[of_word["value"] > 0]
        look: dict[str, Any] = {
            "color": ink,
            "markersize": 3.2,
            "markeredgewidth": 0.7,
            "clip_on": False,
        }
        if len(whole):  # an empty line would take room at the corner of the page
            ax.plot(whole["x"], whole["y"], linestyle="", marker=sign, **look)
    other = matching(rows, metric=AGREES, value=[AGREEMENT_OF_WORDS])
    other = other.merge(told.loc[told["value"] > 0, ["x", "y"]], on=["x", "y"])
    edge = CELL / 2
    notches = [
        [(x + edge, y + edge - 0.4), (x + edge, y + edge), (x + 0.05, y + edge)]
        for x, y in other[["x", "y"]].to_numpy()
    ]
    _draw_polygons(ax, notches, facecolor="black", edgecolor="none", zorder=4)


def _draw_bars(ax: Axes, agreement: Sequence[np.ndarray], left: float) -> None:
    shown = {y: values for y, values in enumerate(agreement) if len(values)}
    for least, color in ((0, "white"), (AGREEMENT_OF_WORDS, style.FAINT), (1, style.INK)):
        boxes = ((left, y - 0.3, (v >= least).mean() * BAR, 0.6) for y, v in shown.items())
        _draw_boxes(ax, boxes, facecolor=color, edgecolor=style.FAINT)
    for y, values in enumerate(agreement):
        said = f"{(values > 0).sum()}/{len(values)}" if len(values) else "–"
        ax.text(left + BAR + 0.2, y, said, fontsize=5, va="center_baseline")


def _draw_boxes(ax: Axes, boxes: Iterable[tuple[float, ...]], **look: Any) -> None:
    """Draw boxes: left, top, width, height."""
    corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
    _draw_polygons(ax, corners, **look)


def _draw_polygons(ax: Axes, polygons: Iterable[list[Any]], **look: Any) -> None:
    """Draw polygons of one look as one path, which is short to write."""
    paths = [Path([*corners, corners[0]], closed=True) for corners in polygons]
    if paths:
        path = Path.make_compound_path(*paths)
        ax.add_patch(PathPatch(path, linewidth=0.4, **look))


def _short(text: str) -> str:
    """A claim in one line; what does not fit stands on the page of the claims."""
    return text if len(text) <= LETTERS else f"{text[:LETTERS].rsplit(' ', 1)[0]} …"
