"""Figures: one script `scripts/figures/<name>.py` makes the one figure of that name.

A script declares `TABLES`, the stems of the tables that it reads (the first is the experiment that
makes them), and `draw(tables) -> Figure`.
"""

import ast
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from gpubn.errors import ConfigError, StoreError
from gpubn.files import sha256, write_atomic
from gpubn.fingerprint import fingerprint
from gpubn.tables import read_bytes, read_table

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts" / "figures"


@dataclass(frozen=True)
class FigureScript:
    """One figure: its name, its script, the stems of its tables."""

    name: str
    path: Path
    tables: tuple[str, ...]

    @property
    def experiment(self) -> str:
        """The experiment whose tables it reads."""
        return self.tables[0]


def find(names: Iterable[str] = ()) -> list[FigureScript]:
    """Return the figures called `names`, or all.

    Raises:
        ConfigError: there is no figure of that name.
    """
    available = sorted(path.stem for path in SCRIPTS.glob("*.py"))
    wanted = list(names) or available
    for name in wanted:
        if name not in available:
            raise ConfigError(f"figure is {name!r}; expected one of {', '.join(available)}")
    paths = [SCRIPTS / f"{name}.py" for name in wanted]
    return [FigureScript(path.stem, path, _declared_tables(path)) for path in paths]


def is_current(script: FigureScript, results: Path) -> bool:
    """Whether the figure stands in `results/figures`, intact, from these tables and this code."""
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
        StoreError: a table is missing or damaged, or the folder cannot be written.
    """
    from gpubn.plotting import render, style  # slow to import, and not always needed

    frames = {stem: read_table(path) for stem, path in _tables(script, results).items()}
    with style():
        files = render(_load(script).draw(frames))
    base = results / "figures" / script.name
    for kind, data in files.items():
        write_atomic(base.with_suffix(f".{kind}"), data)
    document = {
        "made_from": _made_from(script, results),
        "files": {kind: sha256(data) for kind, data in files.items()},
    }
    write_atomic(base.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())


def _tables(script: FigureScript, results: Path) -> dict[str, Path]:
    return {stem: results / "tables" / f"{stem}.csv" for stem in script.tables}


def _made_from(script: FigureScript, results: Path) -> dict[str, object]:
    digests = {stem: sha256(read_bytes(path)) for stem, path in _tables(script, results).items()}
    return {"tables": digests, "code": fingerprint(script.path)}


def _declared_tables(path: Path) -> tuple[str, ...]:
    """Read `TABLES` without running the script, which would import matplotlib."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TABLES":
            return tuple(ast.literal_eval(node.value))
    raise ConfigError(f"{path.name} declares no TABLES; expected the stems of the tables it reads")


def _load(script: FigureScript) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpubn_figure_{script.name}", script.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
