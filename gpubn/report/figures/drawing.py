"""Figures: one script `scripts/figures/<name>.py`, or of an extension, makes the one of that name.

A script declares `TABLES`, the stems of the tables that it reads (the first is the experiment that
makes them), and `draw(sheet)`, which draws on a `Sheet` that holds them. It may declare `CLAIMS`,
the ids of the claims that it shows; a sentence about their verdicts ends the caption.
"""

import ast
import csv
import json
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpubn.errors import ConfigError, StoreError
from gpubn.extensions import Extension, exists, extensions
from gpubn.files import sha256, shipped, write_atomic
from gpubn.fingerprint import script_fingerprint
from gpubn.report.tables import read_bytes, read_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCRIPTS = shipped("scripts/figures")


@dataclass(frozen=True)
class FigureScript:
    """One figure: its name, its script, the stems of its tables, the ids of its claims.

    `extension` is whose it is, None where it is ours.
    """

    name: str
    path: Path
    tables: tuple[str, ...]
    claims: tuple[str, ...]
    extension: Extension | None = None

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


def is_current(script: FigureScript, results: Path) -> bool:
    """Return True if the figure stands there, intact, from these tables and this code."""
    base = results / "figures" / script.name
    try:
        document = json.loads(base.with_suffix(".json").read_text())
        return bool(document["made_from"] == _made_from(script, results)) and all(
            sha256(base.with_suffix(f".{kind}").read_bytes()) == digest
            for kind, digest in document["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return False


def draw(script: FigureScript, results: Path) -> None:
    """Draw a figure from `results/tables` into `results/figures`, as SVG, PNG and provenance.

    Raises:
        StoreError: a table is missing, damaged, or lacks what the figure shows, or the folder
            cannot be written.
    """
    from gpubn.report.figures.style import render, style  # slow to import, and not always needed

    frames = {stem: read_table(path) for stem, path in _tables(script, results).items()}
    with style():
        files = render(compose(script, frames, verdicts(script, results)))
    base = results / "figures" / script.name
    for kind, data in files.items():
        write_atomic(base.with_suffix(f".{kind}"), data)
    document = {
        "made_from": _made_from(script, results),
        "files": {kind: sha256(data) for kind, data in files.items()},
    }
    write_atomic(base.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())


def compose(
    script: FigureScript, tables: "Mapping[str, pd.DataFrame]", verdicts: str = ""
) -> "Figure":
    """Return the figure that a script makes of tables.

    Raises:
        StoreError: they lack what it shows, or hold rows that it does not tell apart.
    """
    from gpubn.report.figures.sheets import Sheet  # slow to import

    sheet = Sheet(tables, verdicts)
    try:
        runpy.run_path(str(script.path))["draw"](sheet)
    except StoreError as error:
        raise StoreError(f"the figure {script.name} cannot be drawn: {error}") from error
    return sheet.figure


def verdicts(script: FigureScript, results: Path) -> str:
    """Return one sentence with the verdicts on a figure's claims; empty where none has any yet."""
    folder = results / (f"extensions/{script.extension.name}" if script.extension else "")
    try:
        with (folder / "claims.csv").open(newline="") as file:
            decided = {row["id"]: row["verdict"] for row in csv.DictReader(file) if row["verdict"]}
    except (FileNotFoundError, KeyError):
        return ""
    said = "; ".join(f"{id_} {_shortened(decided[id_])}" for id_ in script.claims if id_ in decided)
    return f"Verdicts: {said}." if said else ""


def _shortened(verdict: str) -> str:
    """A verdict without its conditions, which stand on the page of the claims."""
    if verdict.startswith("holds only when"):
        return "holds under a condition"
    return verdict.split(":")[0]


def _tables(script: FigureScript, results: Path) -> dict[str, Path]:
    """Return the path of each table; a benchmark, measured anew each time, is elsewhere."""
    paths = {stem: results / "tables" / f"{stem}.csv" for stem in script.tables}
    benchmarks = {stem: results / "benchmarks" / f"{stem}.csv" for stem in script.tables}
    return {
        stem: benchmarks[stem] if benchmarks[stem].exists() and not path.exists() else path
        for stem, path in paths.items()
    }


def _made_from(script: FigureScript, results: Path) -> dict[str, object]:
    digests = {stem: sha256(read_bytes(path)) for stem, path in _tables(script, results).items()}
    return {
        "tables": digests,
        "code": script_fingerprint(script.path),
        "verdicts": verdicts(script, results),
    }


def _declared(path: Path, extension: Extension | None) -> FigureScript:
    """Read `TABLES` and `CLAIMS` without running the script, which would import matplotlib."""
    given: dict[str, tuple[str, ...]] = {"CLAIMS": ()}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("TABLES", "CLAIMS"):
            given[ast.unparse(node.targets[0])] = tuple(ast.literal_eval(node.value))
    if "TABLES" not in given:
        raise ConfigError(
            f"{path.name} declares no TABLES; expected the stems of the tables it reads"
        )
    return FigureScript(path.stem, path, given["TABLES"], given["CLAIMS"], extension)
