"""The notebooks for teaching: the list, each as a page with what it shows, and the scripts."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown2 import markdown
from markupsafe import Markup

from gpubn.errors import SiteError
from gpubn.files import shipped
from gpubn.report.site.page import Page
from gpubn.report.site.prose import html_of
from gpubn.report.site.source import SiteSource

_WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class _Notebook:
    """A notebook: its script, its title, how it begins, and where it stands with its pictures."""

    script: Path
    title: str
    begins: str
    executed: Path


def pages(source: SiteSource) -> Iterable[Page | tuple[str, bytes]]:
    """Return the list of the notebooks, if there are any, and their scripts; of those that were
    executed the page with all that they show as well.

    Raises:
        SiteError: a notebook in the results folder is none.
    """
    if found := list(_notebooks(source)):
        yield Page(
            "notebooks/index.html",
            "notebooks.html.jinja",
            "Notebooks",
            "Lessons to project and to play with: a question, a picture, the claim that decides.",
            {"notebooks": found, "html_of": html_of},
        )
    for notebook in found:
        name, executed = notebook.script.stem, notebook.executed
        yield f"notebooks/{name}.py", notebook.script.read_bytes()
        if executed.exists():
            yield Page(
                f"notebooks/{name}.html",
                "notebook.html.jinja",
                notebook.title,
                " ".join(notebook.begins.split("\n\n")[0].split()),
                {"cells": [*_cells(executed)]},
            )


def _notebooks(source: SiteSource) -> Iterator[_Notebook]:
    for script in sorted(shipped("scripts/notebooks").glob("*_*.py"), reverse=True):
        cell = script.read_text("utf-8").partition("# %% [markdown]\n")[2].partition("\n\n")[0]
        lines = [line.removeprefix("#").removeprefix(" ") for line in cell.splitlines()]
        title, _, begins = "\n".join(lines).partition("\n")
        executed = source.results / "notebooks" / f"{script.stem}.ipynb"
        yield _Notebook(script, re.sub("^# ", "", title), begins.strip(), executed)


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
