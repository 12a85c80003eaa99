"""What batchnorm costs: times of training steps and kernels on the CPU, raced against each other.

`step_cost.csv` has the form of every table; its axes are `kind` and `shape`, its `seed` the round.
Whatever is compared takes turns: one call of each, again and again, and a value is the median call
of its round. So a machine that slows down slows all of them.
"""

import argparse
import logging
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gpubn.backend import Array, Backend, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset
from gpubn.errors import ArgumentError
from gpubn.experiments.training.trainer import GROUP
from gpubn.files import git_revision
from gpubn.kernels import (
    affine,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
)
from gpubn.nn.model import MLP, build_mlp
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.rng import generator
from gpubn.nn.train import DeviceData, to_device, train
from gpubn.report.tables import write_table
from gpubn.rows import SCHEMA_VERSION, Observation
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

STEM = "step_cost"
DTYPE = "float32"
PLACEMENTS = ("none", "before", "after")


@dataclass(frozen=True)
class Sizes:
    """What is timed. The networks are document D's, on random images of MNIST's size.

    `steps` is the length of one timed training; `work` sets how often a kernel is called in a
    round: so many numbers, but 3 to 101 times.
    """

    images: int = 10_000
    features: int = 784
    classes: int = 10
    width: int = 128
    batch: int = 32
    rate: float = 0.1
    networks: int = 10
    depths: tuple[int, ...] = (1, 5)
    steps: int = 12
    trainings: int = 3
    shapes: tuple[tuple[int, int], ...] = ((32, 128), (256, 512), (1024, 1024))
    work: int = 2**21


Place = tuple[str, str, str]
"""Kind, shape, metric."""
Race = Mapping[Place, Callable[[], object]]


def write_step_cost(folder: Path, *, rounds: int = 15, sizes: Sizes | None = None) -> Path:
    """Time everything for so many rounds and write `step_cost.csv` and its provenance."""
    sizes, backend = sizes or Sizes(), resolve("numpy")
    found: dict[Place, list[float]] = {}
    with threadpool_limits(limits=1, user_api="blas"):
        races = [(_training_race(sizes, backend), sizes.trainings)]
        for shape in sizes.shapes:
            turns = min(max(sizes.work // (shape[0] * shape[1]), 3), 101)
            races += [(race, turns) for race in _kernel_races(shape)]
        for race, _ in races:
            _run(race, 1)
        for _ in range(rounds):
            for race, turns in races:
                for place, value in (*_run(race, turns), *_peaks(race)):
                    found.setdefault(place, []).append(value)
    path = folder / f"{STEM}.csv"
    write_table(path, _parts(found, sizes), _provenance(rounds, sizes, backend))
    return path


def _run(race: Race, turns: int) -> Iterator[tuple[Place, float]]:
    """The median time of a call of each, in milliseconds."""
    times: dict[Place, list[float]] = {place: [] for place in race}
    for _ in range(turns):
        for place, call in race.items():
            start = time.perf_counter()
            call()
            times[place].append(1e3 * (time.perf_counter() - start))
    return ((place, statistics.median(of_place)) for place, of_place in times.items())


def _peaks(race: Race) -> Iterator[tuple[Place, float]]:
    """The most memory that a backward pass held beyond its arguments, results included, in bytes.

    NumPy reports its arrays to tracemalloc, so this is a count and not a measurement.
    """
    for (kind, shape, metric), call in race.items():
        if kind == "backward":
            tracemalloc.start()
            try:
                call()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            yield (kind, shape, metric.replace("_ms", "_peak_bytes")), float(peak)


def _training_race(sizes: Sizes, backend: Backend) -> Race:
    g = generator(0, "images")
    x = g.random((sizes.images, sizes.features), np.float32)
    y = g.integers(0, sizes.classes, sizes.images)
    data = to_device(Dataset("random", x, y, x[:1], y[:1], sizes.classes), backend, DTYPE)
    return {
        ("step", f"{norm}-{depth}", "step_ms"): _trainer(norm, depth, sizes, backend, data)
        for depth in sizes.depths
        for norm in PLACEMENTS
    }


def _trainer(
    norm: str, depth: int, sizes: Sizes, backend: Backend, data: DeviceData
) -> Callable[[], object]:
    """Trains all networks a few steps further, in groups as every experiment does."""

    def build(seeds: Sequence[int]) -> MLP:
        return build_mlp(
            ModelConfig(depth=depth, width=sizes.width),
            NormConfig(name=norm, placement=norm),
            InitConfig(),
            features=sizes.features,
            classes=sizes.classes,
            seeds=seeds,
            backend=backend,
            dtype=DTYPE,
        )

    seeds = range(sizes.networks)
    models = {i: build(seeds[i : i + GROUP]) for i in seeds[::GROUP]}
    sgd = SGD(sizes.rate, constant_rate, 0.0, backend, DTYPE)

    def work(part: Sequence[int], tick: Callable[[int], None]) -> np.ndarray:
        model, steps = models[part[0]], sizes.steps
        return train(model, sgd, data, backend, seeds=part, batch=sizes.batch, steps=steps)

    return partial(backend.map_groups, work, seeds, group=GROUP)


def _kernel_races(shape: tuple[int, int]) -> Iterator[Race]:
    """Backward passes against each other, and inference as it stands against inference folded."""
    n, d = shape
    g, label = generator(0, "kernels"), f"{n}x{d}"
    x, dy = (g.standard_normal((n, d)).astype(DTYPE) for _ in range(2))
    gamma, mean = (g.standard_normal(d).astype(DTYPE) for _ in range(2))
    beta, bias = (g.standard_normal(d).astype(DTYPE) for _ in range(2))
    var = g.random(d, np.float32) + np.float32(0.5)
    weight = (g.standard_normal((d, d)) / d**0.5).astype(DTYPE)
    _, cache = batch_norm(x, gamma, beta)
    scale, shift = fold_batch_norm(mean, var, gamma, beta)
    folded_weight, folded_bias = weight * scale, bias * scale + shift
    norm = partial(batch_norm_inference, mean=mean, var=var, gamma=gamma, beta=beta)
    yield {
        ("backward", label, "closed_ms"): partial(batch_norm_backward, dy, cache),
        ("backward", label, "graph_ms"): partial(batch_norm_backward_graph, dy, cache),
    }
    yield {
        ("inference", label, "inference_ms"): partial(norm, x),
        ("inference", label, "folded_ms"): partial(_scale_shift, x, scale, shift),
    }
    yield {
        ("inference", label, "affine_then_norm_ms"): lambda: norm(affine(x, weight, bias)[0]),
        ("inference", label, "folded_affine_ms"): partial(affine, x, folded_weight, folded_bias),
    }


def _scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    y = x * scale
    y += shift
    return y


def _parts(
    found: Mapping[Place, Sequence[float]], sizes: Sizes
) -> list[tuple[dict[str, str], list[Observation]]]:
    """The rows of each (kind, shape); a training counts as milliseconds a step of one network."""
    rows: dict[tuple[str, str], list[Observation]] = {}
    for (kind, shape, metric), values in found.items():
        each = sizes.steps * sizes.networks if kind == "step" else 1
        rows.setdefault((kind, shape), []).extend(
            Observation(number, None, None, metric, value / each)
            for number, value in enumerate(values)
        )
    return [({"kind": kind, "shape": shape}, part) for (kind, shape), part in rows.items()]


def _provenance(rounds: int, sizes: Sizes, backend: Backend) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "experiment": STEM,
        "revision": git_revision(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        **backend.facts(),
        "data": "random",
        "config": {
            "dtype": DTYPE,
            "backend": backend.name,
            "threads": min(backend.workers, -(-sizes.networks // GROUP)),
            "blas_threads": 1,
            "rounds": rounds,
            "group": GROUP,
            "networks": sizes.networks,
            "model.width": sizes.width,
            "model.activation": ModelConfig().activation,
            "features": sizes.features,
            "classes": sizes.classes,
            "optim.batch": sizes.batch,
            "steps": sizes.steps,
            "trainings": sizes.trainings,
        },
    }


def main() -> None:
    """Time and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--rounds", type=int, default=15, help="rounds, one value each")
    options = parser.parse_args()
    if options.rounds < 1:
        raise ArgumentError(f"--rounds is {options.rounds}; expected at least 1")
    log.info("%s", write_step_cost(options.results / "benchmarks", rounds=options.rounds))


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
