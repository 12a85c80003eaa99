"""Time sweeps: the vectorized launcher beside Hydra's basic one, in turns, on this machine.

Writes `results/benchmarks/sweep_launchers.csv`: short cells, long cells, and jobs that do nothing,
whose time is Hydra's own; and what a replica's random numbers cost on the host. Needs MNIST, or
takes the digits. A benchmark, not a test: nothing fails when it is slow.
"""

import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import harness
import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from gpubn.config import InitConfig
from gpubn.data import load
from gpubn.errors import DataUnavailableError
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import batch_order
from gpubn.sweeps import cli, compose
from gpubn.vectorized import vectorized
from gpubn.vectorized.loader import FastLoader

log = logging.getLogger("gpubn")

NETWORK = [
    *("experiment=rate_sweep", "model=mnist", "norm=before", "model.activation=tanh"),
    *("seeds=1", "backend=numpy"),
]
LAUNCHERS = ("basic", "vectorized")


def main() -> None:
    """Time everything and write the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=32, help="rates of the short sweeps")
    parser.add_argument("--scales", type=int, default=16, help="initial scales of them")
    parser.add_argument("--long", type=int, default=1500, help="steps of the long cells")
    options = parser.parse_args()
    data = _data()
    short, few = _grid(options.rates, options.scales), _grid(8, 3)
    cells = options.rates * options.scales
    rows = []
    for work, run, grid, number, steps in (
        (f"{cells} cells of 100 steps", _sweep, short, cells, 100),
        (f"24 cells of {options.long} steps", _sweep, few, 24, options.long),
        (f"{cells} jobs that do nothing", _stub, short, cells, 0),
    ):
        overrides = [*NETWORK, *grid, f"optim.steps={max(steps, 1)}", f"data={data}"]
        jobs = [partial(run, [*overrides, f"hydra/launcher={name}"]) for name in LAUNCHERS]
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


def _grid(rates: int, scales: int) -> list[str]:
    return [
        f"optim.rate={','.join(f'{0.02 * (i + 1):.2f}' for i in range(rates))}",
        f"init.scale={','.join(f'{0.2 * (i + 1):.1f}' for i in range(scales))}",
    ]


def _sweep(overrides: Sequence[str]) -> None:
    """A sweep into an empty folder."""
    _start([str(Path(__file__).parents[1] / "run.py"), "-m", *overrides])


def _stub(overrides: Sequence[str]) -> None:
    """The same sweep with a task that does nothing."""
    _start([__file__, "--multirun", *overrides])


def _start(command: Sequence[str]) -> None:
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


def _data() -> str:
    try:
        load("mnist")
    except DataUnavailableError:
        return "digits"
    return "mnist"


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
