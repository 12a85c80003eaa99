"""The notebooks for teaching: what they are about, and what `make notebooks` has made of them."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from markdown2 import markdown
from markupsafe import Markup

from gpubn.errors import SiteError
from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource

NOTEBOOKS = {
    "the_20_layer_network": (
        "The 20-layer network",
        "Twenty ReLU layers, nothing trained: what is left of a signal on its way up and back?",
    ),
    "batchnorm_on_mnist": (
        "Batchnorm on MNIST",
        "One hidden layer learns to read digits: bad, scaled and Glorot weights, batchnorm or not.",
    ),
}
"""Name -> title, and what it is about."""
_WIDGET = "application/vnd.jupyter.widget-view+json"


def pages(source: SiteSource) -> Iterable[Page]:
    """Yield the list of notebooks, and a page of each that has been executed.

    Raises:
        SiteError: a notebook in the results folder is none.
    """
    folder = source.results / "notebooks"
    made = {name: folder / f"{name}.ipynb" for name in NOTEBOOKS}
    there = {name for name, path in made.items() if path.exists()}
    yield Page(
        "notebooks/index.html",
        "notebooks.html.jinja",
        "Notebooks",
        "Two lessons to project and to play with: a question, a picture, the claim that decides.",
        {"notebooks": NOTEBOOKS, "executed": there},
    )
    for name in sorted(there):
        title, about = NOTEBOOKS[name]
        context = {"cells": [*_cells(made[name])], "name": name}
        yield Page(f"notebooks/{name}.html", "notebook.html.jinja", title, about, context)


def _cells(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the text, or the code and what it shows, of each cell."""
    try:
        cells = json.loads(path.read_bytes())["cells"]
        for cell in cells:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                yield {"text": _html(text), "code": "", "shown": []}
            else:
                shown = [part for output in cell["outputs"] for part in _shown(output)]
                yield {"text": "", "code": text, "shown": shown}
    except (ValueError, KeyError, TypeError) as error:
        raise SiteError(
            f"{path} is no notebook ({error}); expected what make notebooks writes"
        ) from error


def _shown(output: dict[str, Any]) -> Iterator[tuple[str, Markup, str]]:
    """Yield kind, HTML, and for a picture what it says, of an output; of a slider its kind."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        drawing = "".join(data["image/svg+xml"])
        texts = dict.fromkeys(re.findall(r"<text[^>]*>([^<]+)</text>", drawing))
        words = [text for text in texts if not re.match(r"[−\d.]+%?$", text.strip())]
        yield "picture", _inline(drawing), ", ".join(words or texts)
    elif "text/markdown" in data:
        yield "text", _html("".join(data["text/markdown"])), ""
    elif _WIDGET in data:
        yield "slider", Markup(""), ""


def _inline(drawing: str) -> Markup:
    """Return an SVG to stand beside others: identifiers that nothing refers to occur in each."""
    named = {*re.findall(r"#([\w-]+)", drawing)}
    bare = re.sub(r' id="([^"]*)"', lambda id_: id_[0] if id_[1] in named else "", drawing)
    return Markup(bare[bare.index("<svg") :])


def _html(text: str) -> Markup:
    """Return Markdown in HTML, with links to the pages of claims."""
    linked = re.sub(r"\.\./claims\.md#([a-d]\d+)", r"../claims/\1.html", text)
    return Markup(markdown(linked))
