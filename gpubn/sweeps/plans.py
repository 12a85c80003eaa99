"""Plans: which cells a sweep has, remembered below `<results>/plans`. Only a cache: any may go."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpubn import config as schema
from gpubn.files import sha256, write_atomic
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.variants import Variants


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep.

    Attributes:
        overrides: what chose them.
        key: a hash of all else that did: configuration files, schema, Hydra.
    """

    overrides: list[str]
    key: str
    cells: list[Cell]


def digest(content: object) -> str:
    """Short hash of what can be written as JSON."""
    return sha256(json.dumps(content).encode())[:16]


def plan_path(folder: Path, overrides: Sequence[str]) -> Path:
    """Where the plan of these overrides stands."""
    return folder / f"{digest(list(overrides))}.json"


def read_plans(folder: Path, key: str) -> Iterator[Plan]:
    """All plans in a folder that are intact and still right."""
    for path in sorted(folder.glob("*.json")):
        if (plan := read_plan(path)) is not None and plan.key == key:
            yield plan


def read_plan(path: Path) -> Plan | None:
    """Return a plan, or None where the file is missing or damaged."""
    try:
        document = json.loads(path.read_bytes())
        if document["digest"] != digest([document["base"], document["changes"]]):
            return None
        variants = Variants(schema.from_dict(document["base"]))
        cells = [Cell.of(variants.make(values)) for values in document["changes"]]
        return Plan(document["overrides"], document["key"], cells)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_plan(folder: Path, plan: Plan) -> None:
    """Remember a plan in place of the last one of these overrides."""
    variants = Variants(plan.cells[0].config)
    changes = [variants.differences(cell.config) for cell in plan.cells]
    base: dict[str, Any] = asdict(variants.base)
    document = {
        "overrides": plan.overrides,
        "key": plan.key,
        "digest": digest([base, changes]),
        "base": base,
        "changes": changes,
    }
    write_atomic(plan_path(folder, plan.overrides), json.dumps(document).encode())
