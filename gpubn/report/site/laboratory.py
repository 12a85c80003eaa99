"""The laboratory: exhibits to choose in, each on a page of its own, and what draws them.

A chart is a picture in the page already; where scripts run it is drawn anew with its controls.
Specification and numbers are scripts too, since a page from disk may not read other files.
"""

import json
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import vl_convert

from gpubn.report.site.exhibits import ROWS, Control, Exhibit, signals, trainability, training
from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource, kept

log = logging.getLogger("gpubn")

FOLDER = "laboratory"
_CODE = sorted(Path(__file__).parents[1].rglob("*.py"))
RUNTIME = f"{FOLDER}/vega.js"
"""Vega, Vega-Lite and Vega-Embed in one script."""
_NOTICE = (
    "/* Vega, Vega-Lite, Vega-Embed: (c) University of Washington Interactive Data Lab and "
    "contributors, BSD-3-Clause, https://github.com/vega */\n"
)
EXHIBITS: Mapping[Callable[[Path], Exhibit], Sequence[str]] = {
    signals.layer_by_layer: ("tables/signal_grid", "tables/signal_grid_pooled"),
    signals.by_layer: ("tables/signal_grid",),
    training.curves: ("tables/mnist_init",),
    training.by_depth: ("tables/depth_grid",),
    training.by_depth_in_full: ("full/tables/depth_grid", "full/tables/depth_grid_tuning"),
    trainability.trainability_map: ("tables/trainability",),
    training.by_step: ("tables/trainability",),
    training.distributions: ("tables/mnist_init_pooled",),
}
"""The maker of an exhibit -> the tables in one folder of the results that it reads."""
WIDTH = 640
"""Of the pictures that stand in for charts."""
_LIKE = {"signal_grid": ("signal_propagation", "signal_shape")}
"""Table of an exhibit -> others of the same networks."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"
_INK = {"labelColor": "var(--ink)", "titleColor": "var(--ink)"}
_SIZES = {"labelFontSize": 15, "titleFontSize": 15, "titleFontWeight": "normal"}
CONFIG: dict[str, Any] = {
    "aria": False,  # the whole is described, and its numbers stand in a table beside it
    "background": None,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        **(_INK | _SIZES),
        "domainColor": "var(--soft)",
        "tickColor": "var(--soft)",
        "gridColor": "var(--line)",
        "labelOverlap": "greedy",
    },
    "axisY": {"minExtent": 52},
    "legend": {**(_INK | _SIZES), "labelLimit": 0, "offset": 12},
    "title": {"anchor": "start", "fontSize": 17, "fontWeight": 600, "color": "var(--ink)"},
    "concat": {"spacing": 24},
}
"""Colours are those of the style sheet, so that one picture is right in light, dark and print."""


class Drawn(NamedTuple):
    """An exhibit as its page needs it: its words and choices, and what is made of its chart.

    Attributes:
        pictured: the values of the controls in the picture.
        picture: an SVG that stands in for the chart.
        shown: the rows of the table beside it.
        script: what draws the chart.
        tables: those that it is made from, in the results.
    """

    name: str
    title: str
    says: str
    made: str
    controls: Sequence[Control]
    headings: Mapping[str, str]
    pictured: Mapping[str, str]
    picture: str
    shown: Sequence[Mapping[Hashable, Any]]
    script: bytes
    tables: Sequence[str]


def pages(source: SiteSource) -> Iterable[Page | tuple[str, bytes]]:
    """Return the pages of the laboratory, the scripts of their charts, and what draws them.

    An exhibit of which a table is missing is left out, and said so.
    """
    results = source.results
    tables = [
        results / f"{table}{kind}"
        for tables in EXHIBITS.values()
        for table in tables
        for kind in (".csv", ".json")
    ]
    exhibits = kept(
        source.cache / "laboratory.pickle", [*tables, *_CODE], lambda: [*_drawn(results)]
    )
    if not exhibits:
        return
    yield Page(
        f"{FOLDER}/index.html",
        "laboratory.html.jinja",
        "Laboratory",
        "Charts to choose in: depth, initial weights, normalisation, activation, rate, step.",
        {"exhibits": exhibits},
    )
    for exhibit, before, after in zip(
        exhibits, [None, *exhibits], [*exhibits[1:], None], strict=False
    ):
        yield Page(
            f"{FOLDER}/{exhibit.name}.html",
            "exhibit.html.jinja",
            exhibit.title,
            exhibit.says,
            {
                "exhibit": exhibit,
                "downloads": [source.downloads[results / f"{t}.csv"] for t in exhibit.tables],
                "before": before,
                "after": after,
            },
        )
        yield f"{FOLDER}/{exhibit.name}.js", exhibit.script
    yield RUNTIME, kept(source.cache / "vega.pickle", [Path(vl_convert.__file__)], _runtime)


def exhibits_of(pages: Iterable[Page]) -> dict[str, list[Page]]:
    """Return the pages of exhibits among some, by the stem of each table that they show."""
    found: dict[str, list[Page]] = {}
    for page in pages:
        if page.path.startswith(f"{FOLDER}/"):
            for download in page.context.get("downloads", ()):
                for stem in (download.file.stem, *_LIKE.get(download.file.stem, ())):
                    found.setdefault(stem, []).append(page)
    return found


def _runtime() -> bytes:
    return (_NOTICE + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).encode()


def _drawn(results: Path) -> Iterator[Drawn]:
    for make, tables in EXHIBITS.items():
        paths = [results / f"{table}.csv" for table in tables]
        missing = [path for path in paths if not path.exists()]
        if missing:
            log.warning("%s does not exist: the laboratory lacks an exhibit", missing[0])
            continue
        exhibit = make(paths[0].parent)
        spec = exhibit.chart.to_dict() | {"config": CONFIG}
        yield Drawn(
            *(exhibit.name, exhibit.title, exhibit.says, exhibit.made),
            *(exhibit.controls, exhibit.headings, exhibit.pictured),
            picture=still(spec, exhibit),
            shown=exhibit.shown().to_dict("records"),
            script=script(exhibit, spec),
            tables=tables,
        )


def still(spec: dict[str, Any], exhibit: Exhibit) -> str:
    """Return a chart as an SVG, which stands in for it."""
    rows = exhibit.rows.astype(object).where(exhibit.rows.notna(), None).to_dict("records")
    whole = _sized(spec) | {"datasets": {**spec.get("datasets", {}), ROWS: rows}}
    whole["params"] = [
        param | {"value": exhibit.still[param["name"]]} if param["name"] in exhibit.still else param
        for param in spec["params"]
    ]
    svg = vl_convert.vegalite_to_svg(whole)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _sized(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a specification with the width of every panel."""
    if "vconcat" in spec:
        return spec | {"vconcat": [_sized(panel) for panel in spec["vconcat"]]}
    return spec | {"width": WIDTH}


def script(exhibit: Exhibit, spec: dict[str, Any]) -> bytes:
    """Return the script that hands a chart and its numbers to the laboratory."""
    given = {
        "name": exhibit.name,
        "spec": spec,
        "rows": _columns(exhibit.rows),
        "facts": None if exhibit.facts is None else _columns(exhibit.facts),
        "headings": [*exhibit.headings],
        "filters": exhibit.filtering,
    }
    text = json.dumps(given, separators=(",", ":"), ensure_ascii=False)
    return f"laboratory({text});\n".encode()


def _columns(rows: pd.DataFrame) -> dict[str, Any]:
    """Return columns, texts as numbers of their levels: the same in a third of the bytes."""
    found: dict[str, Any] = {}
    for name in rows:
        column = rows[name]
        if pd.api.types.is_numeric_dtype(column):
            found[str(name)] = [None if pd.isna(value) else value for value in column.tolist()]
        else:
            codes, levels = pd.factorize(column)
            found[str(name)] = {"levels": [*levels], "codes": codes.tolist()}
    return found
