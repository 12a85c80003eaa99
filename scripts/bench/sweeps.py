"""Time sweeps on this machine: two launchers in turns, and up to 100,000 cells with a stub.

Writes `results/benchmarks/sweep_launchers.csv`: the vectorized launcher beside Hydra's basic one,
with short cells, long cells, and jobs that do nothing, whose time is Hydra's own; and what a
replica's random numbers cost on the host. Needs MNIST, or takes the digits. Then
`sweep_scaling.csv`: milliseconds a cell of every phase and the peak memory of sweeps in which only
the training is a stub, each number of cells in a process of its own. A benchmark, not a test:
nothing fails when it is slow.
"""

import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import harness
import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from gpubn import backend
from gpubn.config import Config, InitConfig
from gpubn.data import load
from gpubn.errors import ArgumentError, DataUnavailableError
from gpubn.experiments import Context, Experiment, catalogue, get
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import batch_order
from gpubn.rows import Observation
from gpubn.sweeps import cli, compose
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, write_tables
from gpubn.sweeps.runner import run_cells
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.vectorized import vectorized
from gpubn.vectorized.loader import FastLoader

log = logging.getLogger("gpubn")

NETWORK = [
    *("experiment=rate_sweep", "norm=before", "model.activation=tanh", "seeds=1"),
    *("model=mnist", "backend=numpy"),
]
LAUNCHERS = ("basic", "vectorized")
RUN = [str(Path(__file__).parents[1] / "run.py"), "-m"]
STUB = [__file__, "--multirun"]
"""The same sweep with a task that does nothing."""
RATES = 1000
ROWS = 20
"""Rows of a simulated cell: the losses and final values of a short training of one seed."""


def main() -> None:
    """Time everything and write both tables."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=32, help="rates of the short sweeps")
    parser.add_argument("--scales", type=int, default=16, help="initial scales of them")
    parser.add_argument("--long", type=int, default=1500, help="steps of the long cells")
    parser.add_argument(
        "--cells", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="simulated"
    )
    options = parser.parse_args()
    for cells in options.cells:
        if cells < 1 or cells % min(RATES, cells):
            raise ArgumentError(f"--cells is {cells}; expected 1 to {RATES}, or thousands")
    data = _data()
    short, few = _grid(options.rates, options.scales), _grid(8, 3)
    cells = options.rates * options.scales
    rows = []
    for work, command, grid, number, steps in (
        (f"{cells} cells of 100 steps", RUN, short, cells, 100),
        (f"24 cells of {options.long} steps", RUN, few, 24, options.long),
        (f"{cells} jobs that do nothing", STUB, short, cells, 0),
    ):
        overrides = [*NETWORK, *grid, f"optim.steps={max(steps, 1)}", f"data={data}"]
        jobs = [
            partial(_sweep, [*command, *overrides, f"hydra/launcher={name}"]) for name in LAUNCHERS
        ]
        times = harness.take_turns(options.rounds, [partial(harness.seconds_of, j) for j in jobs])
        ratio, least, most = (f"{value:.3g}" for value in harness.compare(*times))
        for name, of_launcher in zip(LAUNCHERS, times, strict=True):
            seconds = statistics.median(of_launcher)
            rows.append(
                {
                    "work": work,
                    "launcher": name,
                    "cells": number,
                    "steps": steps,
                    "seconds": f"{seconds:.4g}",
                    "ms_per_cell": f"{1e3 * seconds / number:.4g}",
                    "basic_over_vectorized": ratio,
                    "ratio_min": least,
                    "ratio_max": most,
                    "rounds": options.rounds,
                }
            )
            log.info("%s", rows[-1])
    draws, composed = round(_host_draws(), 3), round(_compose(), 3)
    facts = {"host_draws_ms_per_replica": draws, "compose_ms_per_job": composed}
    harness.write(options.results, "sweep_launchers", rows, data=data, **facts)
    rows = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in pool.map(_simulate, options.cells):
            rows.append(row)
            log.info("%s", row)
    harness.write(options.results, "sweep_scaling", rows)


def _data() -> str:
    try:
        load("mnist")
    except DataUnavailableError:
        return "digits"
    return "mnist"


def _grid(rates: int, scales: int, step: float = 0.02) -> list[str]:
    return [
        f"optim.rate={','.join(f'{step * (i + 1):.3f}' for i in range(rates))}",
        f"init.scale={','.join(f'{10 * step * (i + 1):.2f}' for i in range(scales))}",
    ]


def _sweep(command: Sequence[str]) -> None:
    """A sweep into an empty folder."""
    scripts = str(Path(__file__).parents[1])  # has hydra_plugins
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, *command, f"results={folder}/out"],
            check=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([scripts, *sys.path])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _host_draws(replicas: int = 20) -> float:
    """Milliseconds for the weights and the order of the data of one MNIST network."""

    def draw() -> None:
        for seed in range(replicas):
            batch_order(seed, 60_000, 32, 100)
            for layer, sizes in enumerate(((784, 128), (128, 10))):
                initial_weight(InitConfig(), *sizes, [seed], layer)

    return 1e3 * harness.seconds_of(draw) / replicas


def _compose(jobs: int = 200) -> float:
    """Milliseconds to compose one job of a sweep over numbers."""
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        loader = FastLoader(GlobalHydra.instance().config_loader().get_search_path())
        master = loader.load_configuration("config", NETWORK, RunMode.MULTIRUN)
        loader.load_sweep_config(master, [*NETWORK, "optim.rate=1"])
        rates = [[*NETWORK, f"optim.rate=0.{i + 1}"] for i in range(jobs)]
        seconds = harness.seconds_of(lambda: [loader.load_sweep_config(master, r) for r in rates])
        return 1e3 * seconds / jobs


def _simulate(count: int) -> dict[str, object]:
    """Milliseconds a cell of each phase, and the peak memory, of a sweep of so many cells.

    All but the training is real: Hydra's grammar, planning, the store with its leases, resuming,
    and the tables.
    """
    catalogue.RATE_SWEEP = _with_stub()
    several, where = min(RATES, count), backend.resolve("numpy")
    plan: list[Cell] = []
    kept: dict[str, Kept] = {}
    overrides = [
        *("experiment=rate_sweep", "data=digits", "norm=before", "model.activation=tanh"),
        *("seeds=1", "optim.steps=100"),
        *_grid(several, count // several, 0.001),
    ]
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), CellStore(Path(folder, "cells"))

        def expand() -> None:
            plan[:] = compose.expand(overrides, root / "plans")

        def run() -> None:
            for outcome in run_cells(plan, store, where):
                assert outcome.result is not None
                kept[outcome.cell.id] = Kept.of(outcome.result)

        def collect() -> None:
            write_tables(root / "tables", "rate_sweep", plan, kept, store.get)

        phases = ("plan", expand), ("plan_again", expand), ("run", run), ("resume", run)
        milliseconds = {
            name: 1e3 * harness.seconds_of(phase) / count
            for name, phase in (*phases, ("collect", collect))
        }
    assert len(kept) == count
    total = sum(milliseconds[name] for name in ("plan", "run", "collect"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cells": count,
        **{f"{name}_ms": f"{value:.4f}" for name, value in milliseconds.items()},
        "plan_run_collect_ms": f"{total:.4f}",
        "peak_mib": f"{peak:.0f}",
    }


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


def _nothing_together(configs: Sequence[DictConfig]) -> Iterator[tuple[int, None]]:
    return ((index, None) for index in range(len(configs)))


@vectorized(_nothing_together)
def _nothing(config: DictConfig, share: None = None) -> None:
    """A job without work."""


def _run_stub() -> None:
    compose.prepare_hydra()
    hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="config")(_nothing)()


if __name__ == "__main__":
    if "--multirun" in sys.argv:
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _run_stub()
    else:
        cli.log_to_stderr()
        cli.main(main)
