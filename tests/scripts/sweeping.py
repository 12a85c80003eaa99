"""Scripts as modules; small sweeps of run.py, and what they leave behind."""

import importlib.util
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpubn.backend import resolve
from gpubn.files import sha256
from gpubn.sweeps.compose import expand
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *("experiment=mnist_init", "data=digits", "backend=numpy", "results=out"),
    *("seeds=2", "optim.steps=4", "every=2", "model.width=4"),
]
CELL = [*TINY, "init=rand", "norm=before"]
BAD_BATCH = "optim.batch is 100000; expected at most 1437"


def load_script(name):
    """A module of its own made of scripts/<name>.py."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_installed(plugin):
    """Whether a launcher of Hydra's is there."""
    try:
        return importlib.util.find_spec(f"hydra_plugins.hydra_{plugin}_launcher") is not None
    except ModuleNotFoundError:  # there is no plugin at all
        return False


LAUNCHERS = {"basic": "", "vectorized": "", "pool": "joblib", "local": "submitit"}
HERE = [name for name, plugin in LAUNCHERS.items() if not plugin or is_installed(plugin)]
EACH_LAUNCHER = [
    pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason="it is not installed"))
    for name in LAUNCHERS
]


def two_at_a_time(function, items):
    """item -> what the function returns for it."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(items, pool.map(function, items), strict=True))


def undisturbed(overrides, folder):
    """What `finished` is after a sweep that nothing of Hydra's jobs or another process touched."""
    store = CellStore(folder / "out" / "cells")
    assert all(o.result for o in run_cells(expand(overrides), store, resolve("numpy")))
    return finished(folder)


def cells_in(folder):
    """The files of finished cells."""
    return sorted((folder / "out" / "cells").rglob("*.json"))


def finished(folder):
    """File name -> digest and columns; every file is whole and valid."""
    found = {}
    for path in cells_in(folder):
        document = json.loads(path.read_bytes())
        columns = json.dumps(document["columns"], sort_keys=True)
        assert document["digest"] == sha256(columns.encode())[:16]
        found[path.name] = document["digest"], columns
    return found


def states(folder):
    """The file of every finished cell, with its age, by name."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in cells_in(folder)}


def leases(folder):
    """The files that say that a cell is being measured."""
    return list((folder / "out" / "cells").rglob("*.running"))


def leftovers(folder):
    """Files of the store that are neither a cell nor a known failure."""
    names = [p.name for p in (folder / "out" / "cells").rglob("*") if p.is_file()]
    return [name for name in names if not re.fullmatch(r"[0-9a-f]{12}\.(json|failed)", name)]


def one_sentence(process, *parts):
    """The last line on stderr is the only error, and no traceback is to be seen."""
    assert process.code == 1
    assert "Traceback" not in process.err + process.out
    *_, last = process.err.splitlines()
    assert last.startswith("error: ")
    assert process.err.count("error: ") == 1
    for part in parts:
        assert part in last


def nothing_but_a_sentence(process, *parts):
    """Stderr holds one line, the error."""
    one_sentence(process, *parts)
    assert process.err.count("\n") == 1, process.err
