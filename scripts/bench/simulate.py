"""Simulate sweeps of up to 100,000 cells with a stub in the place of training.

Everything else is real: Hydra's grammar, planning, the store with its leases, resuming, and the
tables. Writes `results/benchmarks/sweep_scaling.csv`: milliseconds a cell of every phase and the
peak memory of the process, each number of cells in a process of its own.
"""

import logging
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import harness

from gpubn import backend
from gpubn.config import Config
from gpubn.errors import ArgumentError
from gpubn.experiments import Context, Experiment, catalogue, get
from gpubn.rows import Observation
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

RATES = 1000
ROWS = 20
"""Rows of a simulated cell: the losses and final values of a short training of one seed."""


def main() -> None:
    """Simulate every number of cells and write the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--cells", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    for cells in options.cells:
        if cells < 1 or cells % min(RATES, cells):
            raise ArgumentError(f"--cells is {cells}; expected 1 to {RATES}, or thousands")
    rows = []
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=cli.log_to_stderr, max_tasks_per_child=1
    ) as pool:
        for row in pool.map(_simulate, options.cells):
            rows.append(row)
            log.info("%s", row)
    harness.write(options.results, "sweep_scaling", rows)


def _simulate(count: int) -> dict[str, object]:
    """Milliseconds a cell of each phase, and the peak memory, of a sweep of so many cells."""
    from gpubn.sweeps.collect import Kept, write_tables
    from gpubn.sweeps.compose import expand
    from gpubn.sweeps.runner import run_cells
    from gpubn.sweeps.store.cell_store import CellStore

    catalogue.RATE_SWEEP = _with_stub()
    phases: dict[str, float] = {}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        phases[name] = 1e3 * (time.perf_counter() - start) / count

    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), CellStore(Path(folder, "cells"))
        where = backend.resolve("numpy")
        with phase("plan"):
            plan = expand(_overrides(count), root / "plans")
        assert len({cell.id for cell in plan}) == count
        with phase("plan_again"):
            expand(_overrides(count), root / "plans")
        for name in ("run", "resume"):
            kept = {}
            with phase(name):
                for outcome in run_cells(plan, store, where):
                    assert outcome.result is not None
                    kept[outcome.cell.id] = Kept.of(outcome.result)
        with phase("collect"):
            write_tables(root / "tables", "rate_sweep", plan, kept, store.get)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = phases["plan"] + phases["run"] + phases["collect"]
    return {
        "cells": count,
        **{f"{name}_ms": f"{value:.4f}" for name, value in phases.items()},
        "plan_run_collect_ms": f"{total:.4f}",
        "peak_mib": f"{peak:.0f}",
    }


def _overrides(count: int) -> list[str]:
    several = min(RATES, count)
    rates = ",".join(f"{0.001 * (i + 1):.3f}" for i in range(several))
    scales = ",".join(f"{0.01 * (i + 1):.2f}" for i in range(count // several))
    return [
        *("experiment=rate_sweep", "data=digits", "norm=before", "model.activation=tanh"),
        *("seeds=1", "optim.steps=100", f"optim.rate={rates}", f"init.scale={scales}"),
    ]


def _with_stub() -> Experiment:
    """The experiment with a stub that trains nothing."""
    real = get("rate_sweep")
    assert real.stacking is not None

    def run(config: Config, context: Context) -> list[Observation]:
        value = config.optim.rate * config.init.scale
        return [Observation(0, 5 * i, None, "batch_loss", value + i) for i in range(ROWS)]

    def stacked(configs: Sequence[Config], context: Context) -> list[list[Observation]]:
        return [run(config, context) for config in configs]

    return replace(real, run=run, stacking=replace(real.stacking, run=stacked))


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
