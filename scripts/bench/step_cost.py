"""The cost of batchnorm: times of training steps and kernels on the CPU, raced against each other.

`step_cost.csv` has the form of every table; its axes are `kind` and `shape`, its `seed` the round.
`step_cost_numba.csv` has the training steps alone, on the compiled path.
Whatever is compared takes turns: one call of each, again and again, and a value is the median call
of its round. So a machine that slows down slows all of them.
"""

import logging
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import harness
import numpy as np
from race.training import TrainingWork, random_images
from threadpoolctl import threadpool_limits

from gpubn.backend import Array, Backend, resolve
from gpubn.config import ModelConfig
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
from gpubn.nn.rng import generator
from gpubn.report.tables import write_table
from gpubn.rows import SCHEMA_VERSION, Observation
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

STEM = "step_cost"
DTYPE = "float32"
PLACEMENTS = ("none", "before", "after")


@dataclass(frozen=True)
class Measurement:
    """The works that are timed, and their rounds.

    Attributes:
        rounds: one value each.
        training: its `steps` are the length of one timed training; each placement takes part.
        numbers: how often a kernel is called in a round: on so many numbers, but 3 to 101 times.
    """

    rounds: int = 15
    training: TrainingWork = field(
        default_factory=lambda: TrainingWork(random_images(10_000), steps=12, networks=10)
    )
    depths: tuple[int, ...] = (1, 5)
    trainings: int = 3
    shapes: tuple[tuple[int, int], ...] = ((32, 128), (256, 512), (1024, 1024))
    numbers: int = 2**21


Place = tuple[str, str, str]
"""Kind, shape, metric."""
Race = Mapping[Place, Callable[[], object]]


STEMS = {"numpy": STEM, "numba": f"{STEM}_numba"}
"""Backend -> the stem of its table; that of array expressions has the kernels, too."""


def write_step_cost(folder: Path, measurement: Measurement, name: str = "numpy") -> Path:
    """Time a backend in so many rounds and write its table and provenance."""
    backend = resolve(name)
    values: defaultdict[Place, list[float]] = defaultdict(list)
    with threadpool_limits(limits=1, user_api="blas"):
        races = [(_training_race(measurement, backend), measurement.trainings)]
        for shape in measurement.shapes if STEMS[name] == STEM else ():
            turns = min(max(measurement.numbers // (shape[0] * shape[1]), 3), 101)
            races += [(race, turns) for race in _kernel_races(shape)]
        for race, _ in races:
            _medians(race, 1)
        for _ in range(measurement.rounds):
            for race, turns in races:
                for place, value in {**_medians(race, turns), **_peaks(race)}.items():
                    values[place].append(value)
    rows: defaultdict[tuple[str, str], list[Observation]] = defaultdict(list)
    # A training counts as milliseconds a step of one network.
    steps = measurement.training.steps * measurement.training.networks
    for (kind, shape_name, metric), of_rounds in values.items():
        for number, value in enumerate(of_rounds):
            value /= steps if kind == "step" else 1
            rows[kind, shape_name].append(Observation(number, None, None, metric, value))
    path = folder / f"{STEMS[name]}.csv"
    tables = [({"kind": kind, "shape": shape}, of) for (kind, shape), of in rows.items()]
    write_table(path, tables, _provenance(measurement, backend))
    return path


def _medians(race: Race, turns: int) -> dict[Place, float]:
    """The median time of a call of each, in milliseconds."""
    times = harness.take_turns(turns, [partial(harness.seconds_of, call) for call in race.values()])
    return dict(zip(race, 1e3 * np.median(times, axis=1), strict=True))


def _peaks(race: Race) -> dict[Place, float]:
    """The most memory that a backward pass held beyond its arguments, results included, in bytes.

    NumPy reports its arrays to tracemalloc, so this is a count and not a measurement.
    """
    peaks = {}
    for (kind, shape, metric), call in race.items():
        if kind == "backward":
            tracemalloc.start()
            try:
                call()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            peaks[kind, shape, metric.replace("_ms", "_peak_bytes")] = float(peak)
    return peaks


def _training_race(measurement: Measurement, backend: Backend) -> Race:
    return {
        ("step", f"{norm}-{depth}", "step_ms"): replace(
            measurement.training, norm=norm, depth=depth
        ).trainer(backend)
        for depth in measurement.depths
        for norm in PLACEMENTS
    }


def _kernel_races(shape: tuple[int, int]) -> Iterator[Race]:
    """Backward passes against each other, and inference as it stands against inference folded."""
    n, d = shape
    g, label = generator(0, "kernels"), f"{n}x{d}"
    x, dy = (g.standard_normal((n, d)).astype(DTYPE) for _ in range(2))
    gamma, mean, beta, bias = (g.standard_normal(d).astype(DTYPE) for _ in range(4))
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


def _provenance(measurement: Measurement, backend: Backend) -> dict[str, object]:
    training = measurement.training
    return {
        "schema": SCHEMA_VERSION,
        "experiment": STEMS[backend.name],
        "revision": git_revision(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        **backend.facts(),
        "data": "random",
        "config": {
            "dtype": DTYPE,
            "backend": backend.name,
            "threads": min(backend.workers, -(-training.networks // GROUP)),
            "blas_threads": 1,
            "rounds": measurement.rounds,
            "group": GROUP,
            "networks": training.networks,
            "model.width": training.width,
            "model.activation": ModelConfig().activation,
            "features": training.data.features,
            "classes": training.data.classes,
            "optim.batch": training.batch,
            "steps": training.steps,
            "trainings": measurement.trainings,
        },
    }


def main() -> None:
    """Time and write the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=Measurement.rounds, help="one value each")
    parser.add_argument("--backend", choices=STEMS, help="only this one's table")
    options = parser.parse_args()
    if options.rounds < 1:
        raise ArgumentError(f"--rounds is {options.rounds}; expected at least 1")
    folder, measurement = options.results / "benchmarks", Measurement(options.rounds)
    for name in [options.backend] if options.backend else STEMS:
        log.info("%s", write_step_cost(folder, measurement, name))


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
