"""The page of the notebooks for teaching, and the notebooks themselves."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpubn.files import shipped
from gpubn.report.site.page import Page
from gpubn.report.site.prose import html_of
from gpubn.report.site.source import SiteSource


@dataclass(frozen=True)
class _Notebook:
    """A notebook: its script, its title, how it begins, and where it stands with its pictures."""

    script: Path
    title: str
    begins: str
    executed: Path


def pages(source: SiteSource) -> Iterable[Page | tuple[str, bytes]]:
    """Return the page of the notebooks, if there are any, and the notebooks: their scripts, and
    with all that they show where they were executed."""
    if found := list(_notebooks(source)):
        yield Page(
            "notebooks/index.html",
            "notebooks.html.jinja",
            "Notebooks",
            "Notebooks for a class: a question, a slider, a picture that the back row can read.",
            {"notebooks": found, "html_of": html_of},
        )
    for notebook in found:
        yield f"notebooks/{notebook.script.name}", notebook.script.read_bytes()
        if notebook.executed.exists():
            yield f"notebooks/{notebook.executed.name}", notebook.executed.read_bytes()


def _notebooks(source: SiteSource) -> Iterator[_Notebook]:
    for script in sorted(shipped("scripts/notebooks").glob("*_*.py")):
        cell = script.read_text("utf-8").partition("# %% [markdown]\n")[2].partition("\n\n")[0]
        lines = [line.removeprefix("#").removeprefix(" ") for line in cell.splitlines()]
        title, _, begins = "\n".join(lines).partition("\n")
        executed = source.results / "notebooks" / f"{script.stem}.ipynb"
        yield _Notebook(script, re.sub("^# ", "", title), begins, executed)
