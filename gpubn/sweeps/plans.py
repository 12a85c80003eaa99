"""Plans: which cells a sweep has, remembered below `<results>/plans`. Only a cache: any may go."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpubn import config as schema
from gpubn.experiments import names
from gpubn.files import sha256, write_atomic
from gpubn.sweeps.cells import Cell, flat


@dataclass(frozen=True)
class SweepPlan:
    """The cells of a sweep.

    Attributes:
        overrides: what chose them.
        sources: where configuration files were looked for, as `file://folder` or `pkg://package`.
    """

    overrides: list[str]
    sources: list[str]
    cells: list[Cell]


def plan_path(folder: Path, *choice: object) -> Path:
    """Return the file of the plan for this choice of overrides and search path."""
    return folder / f"{_digest(choice)}.json"


def read_plans(folder: Path) -> Iterator[SweepPlan]:
    """Yield all plans in a folder that are intact and still right."""
    for path in sorted(folder.glob("*.json")):
        if (plan := read_plan(path)) is not None:
            yield plan


def unknown_experiments(folder: Path) -> list[str]:
    """Return the experiments in the plans of a folder that are not known: an extension's."""
    found = set()
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.add(str(json.loads(path.read_bytes())["base"]["name"]))
    return sorted(found - {*names()})


def read_plan(path: Path) -> SweepPlan | None:
    """Return a plan, or None where the file is missing, damaged or older than what it is made of.

    That is: its configuration files, the schema and Hydra.
    """
    try:
        document = json.loads(path.read_bytes())
        sources = document["sources"]
        if document["digest"] != _digest([document["base"], document["changes"]]):
            return None
        if document["key"] != _key(sources):
            return None
        base = flat(document["base"])
        documents = (_nested(base | changed) for changed in document["changes"])
        cells = [Cell.of(schema.from_dict(config)) for config in documents]
        return SweepPlan(document["overrides"], sources, cells)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_plan(path: Path, plan: SweepPlan) -> None:
    """Remember a plan in place of the last one there."""
    first, *_ = configs = [asdict(cell.config) for cell in plan.cells]
    base = flat(first)
    changes = [
        {key: value for key, value in flat(config).items() if repr(value) != repr(base[key])}
        for config in configs  # 0 equals -0.0 and False, but not in a cell's id
    ]
    document = {
        "overrides": plan.overrides,
        "sources": plan.sources,
        "key": _key(plan.sources),
        "digest": _digest([first, changes]),
        "base": first,
        "changes": changes,
    }
    write_atomic(path, json.dumps(document).encode())


def _key(sources: Sequence[str]) -> str:
    """Return a hash of all that makes cells of overrides."""
    folders = [folder for source in sources for folder in _folders(source)]
    found = (path for folder in folders for path in sorted(folder.rglob("*.yaml")))
    files = [(str(path), sha256(path.read_bytes())) for path in found]
    code = sha256(Path(schema.__file__).read_bytes())
    return _digest([sources, files, code, version("hydra-core")])


def _folders(source: str) -> list[Path]:
    scheme, _, place = source.partition("://")
    if scheme == "file":
        return [Path(place)]
    spec = find_spec(place.replace("/", ".")) if scheme == "pkg" and place else None
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _digest(content: object) -> str:
    return sha256(json.dumps(content).encode())[:16]


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary with dotted keys as nested ones."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        node = nested
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = value
    return nested
