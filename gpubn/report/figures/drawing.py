"""Figures: one script `scripts/figures/<name>.py`, or of an extension, makes the one of that name.

Its `draw(sheet)` draws on the axes of a `Sheet` that holds the tables, and is declared by `figure`:
words, tables, claims and size; and by `Panels`, `Legend` and `Slide` where there is more to say.
"""

import ast
import csv
import json
import runpy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gpubn.errors import ConfigError, StoreError
from gpubn.extensions import Extension, exists, extensions
from gpubn.files import sha256, shipped, write_atomic
from gpubn.fingerprint import script_fingerprint
from gpubn.report.tables import read_bytes, read_table

if TYPE_CHECKING:
    import pandas as pd

    from gpubn.report.figures.sheets import Sheet

SCRIPTS = shipped("scripts/figures")
FOLDERS = {"page": "figures", "slides": "slides"}
"""Style of drawing -> the folder of the results in which its files stand."""
_WORDS = {
    "reproduced, other value": "partly",
    "holds only when": "conditional",
    "not reproduced": "unreproduced",
}
"""Verdict -> the one word that a caption has for it, where it is not one already."""

_PARTS: Mapping[str, object] = {"claims": (), "from_small": False}
"""Parts of a declaration beside the tables -> the value where it is not there."""

Kind = Literal["page", "slides"]


@dataclass(frozen=True)
class FigureScript:
    """One figure: its name, its script, the stems of its tables, the ids of its claims.

    Attributes:
        from_small: whether the small tables of full grids hold all that it shows, so that it is
            drawn from them.
        extension: whose it is, None where it is ours.
    """

    name: str
    path: Path
    tables: tuple[str, ...]
    claims: tuple[str, ...]
    extension: Extension | None = None
    from_small: bool = False

    @property
    def experiment(self) -> str:
        """The experiment whose tables it reads."""
        return self.tables[0]


def find(names: Iterable[str] = ()) -> list[FigureScript]:
    """Return the figures called `names`, or all.

    Raises:
        ConfigError: there is no figure of that name.
        ExtensionError: one of an extension has the name of another.
    """
    available: dict[str, tuple[Path, Extension | None]] = {
        path.stem: (path, None) for path in sorted(SCRIPTS.glob("*.py"))
    }
    for extension in extensions():
        for path in extension.files("figures/*.py"):
            if path.stem in available:
                raise exists("figure", path.stem, extension.folder)
            available[path.stem] = path, extension
    wanted = list(names) or list(available)
    for name in wanted:
        if name not in available:
            raise ConfigError(f"figure is {name!r}; expected one of {', '.join(available)}")
    return [_declared(*available[name]) for name in wanted]


def is_current(
    script: FigureScript, results: Path, kind: Kind = "page", sources: Sequence[Path] = ()
) -> bool:
    """Return True if the figure stands there, intact, from these tables and this code."""
    base = results / FOLDERS[kind] / script.name
    try:
        document = json.loads(base.with_suffix(".json").read_bytes())
        return bool(document["made_from"] == _made_from(script, results, sources)) and all(
            sha256(base.with_suffix(f".{ending}").read_bytes()) == digest
            for ending, digest in document["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return False


def draw(
    script: FigureScript, results: Path, kind: Kind = "page", sources: Sequence[Path] = ()
) -> None:
    """Draw a figure from `results/tables` into a folder of `results`, with its provenance.

    That is a JSON file beside SVG and PNG, which holds its title and its words, too: the caption,
    and all that there is to say as alternative text.

    Args:
        sources: the results folders in which its tables are looked for instead.

    Raises:
        StoreError: a table is missing, damaged, or lacks what the figure shows, or the folder
            cannot be written.
    """
    from gpubn.report.figures import style  # slow to import, and not always needed

    frames = {stem: read_table(path) for stem, path in _tables(script, results, sources).items()}
    with style.style():
        sheet = compose(script, frames, verdicts(script, results))
        said = {"title": sheet.title(), "caption": sheet.caption(), "alt": sheet.alt()}
        sheet.finish(slide=kind == "slides")
        dpi = style.SLIDE_DPI if kind == "slides" else style.PAGE_DPI
        files = style.render(sheet.figure, said["title"], said["alt"], dpi)
    base = results / FOLDERS[kind] / script.name
    for ending, data in files.items():
        write_atomic(base.with_suffix(f".{ending}"), data)
    document = {
        **said,
        "made_from": _made_from(script, results, sources),
        "files": {ending: sha256(data) for ending, data in files.items()},
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_atomic(base.with_suffix(".json"), f"{text}\n".encode())


def compose(
    script: FigureScript, tables: "Mapping[str, pd.DataFrame]", verdicts: str = ""
) -> "Sheet":
    """Return a sheet on which a script has drawn tables, for `Sheet.finish`.

    Raises:
        StoreError: they lack what it shows, or hold rows that it does not tell apart.
    """
    from gpubn.report.figures.sheets import Sheet  # slow to import

    try:
        declared = runpy.run_path(str(script.path))["draw"]
        sheet = Sheet(declared, tables, verdicts)
        declared.draw(sheet)
        sheet.alt()
    except StoreError as error:
        raise StoreError(f"the figure {script.name} cannot be drawn: {error}") from error
    return sheet


def verdicts(script: FigureScript, results: Path) -> str:
    """Return a figure's claims and their verdicts in a word each; empty where none has any yet.

    Raises:
        StoreError: the table of verdicts is no text.
    """
    folder = results / (f"extensions/{script.extension.name}" if script.extension else "")
    path = folder / "claims.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            decided = {row["id"]: row["verdict"] for row in csv.DictReader(file) if row["verdict"]}
    except (FileNotFoundError, KeyError):
        return ""
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path} is no table of verdicts ({error}); expected one, which `gpubn claims` writes"
        ) from error
    found = [(id_, _word(decided[id_])) for id_ in script.claims if id_ in decided]
    alike = groupby(sorted(found, key=lambda pair: pair[1]), key=lambda pair: pair[1])
    said = "; ".join(f"{', '.join(id_ for id_, _ in pairs)} {word}" for word, pairs in alike)
    return f"{said}." if said else ""


def _word(verdict: str) -> str:
    """A verdict without its conditions, which stand on the page of the claims."""
    whole = (word for start, word in _WORDS.items() if verdict.startswith(start))
    return next(whole, verdict.split(":")[0])


def _tables(script: FigureScript, results: Path, sources: Sequence[Path]) -> dict[str, Path]:
    """Return the path of each table; a benchmark, measured anew each time, is elsewhere.

    What takes no images lies above the results that were made from the digits.
    """
    folders = sources or (results, *([results.parent] * (results.name == "digits")))
    found = {}
    for stem in script.tables:
        places = [f / kind / f"{stem}.csv" for f in folders for kind in ("tables", "benchmarks")]
        found[stem] = next((place for place in places if place.exists()), places[0])
    return found


def _made_from(script: FigureScript, results: Path, sources: Sequence[Path]) -> dict[str, object]:
    places = _tables(script, results, sources)
    digests = {stem: sha256(read_bytes(path)) for stem, path in places.items()}
    return {
        "tables": digests,
        "code": script_fingerprint(script.path, "gpubn.report.figures.style:render"),
        "verdicts": verdicts(script, results),
    }


def _declared(path: Path, extension: Extension | None) -> FigureScript:
    """Read tables and claims without running the script, which would import matplotlib."""
    try:
        (call,) = (
            decorator
            for node in ast.parse(path.read_bytes()).body
            if isinstance(node, ast.FunctionDef) and node.name == "draw"
            for decorator in node.decorator_list
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "figure"
        )
        read = {"tables", *_PARTS}
        given = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg in read}
        tables, claims, small = (given.get(part, _PARTS.get(part)) for part in ("tables", *_PARTS))
        return FigureScript(path.stem, path, tuple(tables), tuple(claims), extension, small)
    except (KeyError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path.name} has no draw that is declared with @figure(__doc__, tables=(...), ...); "
            "expected one, with the stems of the tables and the ids of the claims written out"
        ) from error
