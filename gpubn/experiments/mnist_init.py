"""Document D: one hidden tanh layer on MNIST under several initialisations, and batchnorm."""

from collections.abc import Callable, Sequence

import numpy as np

from gpubn import optim, probes
from gpubn.backend import Backend
from gpubn.data import Dataset, load
from gpubn.experiments.base import Context, Experiment
from gpubn.model import build_mlp
from gpubn.records import Observation, per_seed
from gpubn.schema import Config
from gpubn.train import DeviceData, check_batch_fits, evaluate, to_device, train

PROBES = 6
"""Measurements of the activations after the one before training, evenly spaced."""
PROBE_EXAMPLES = 1000
GROUP = 5
"""Replicas in one program: enough to hide the interpreter, few enough for the cache."""


def run(config: Config, context: Context) -> list[Observation]:
    """Train every seed of the cell; record losses, activations and the final evaluation."""
    dataset = load(config.data.name, config.data.root)
    check_batch_fits(config.optim.batch, dataset)
    data = to_device(dataset, context.backend, config.dtype)
    seeds = range(config.first_seed, config.first_seed + config.seeds)

    def work(group: Sequence[int], tick: Callable[[int], None]) -> list[Observation]:
        return _run_group(config, context.backend, dataset, data, group, tick)

    groups = context.backend.map_groups(work, seeds, group=GROUP, on_progress=context.tick)
    return [row for rows in groups for row in rows]


def _run_group(
    config: Config,
    backend: Backend,
    dataset: Dataset,
    data: DeviceData,
    seeds: Sequence[int],
    tick: Callable[[int], None],
) -> list[Observation]:
    o = config.optim
    model = build_mlp(
        config.model,
        config.norm,
        config.init,
        features=dataset.features,
        classes=dataset.classes,
        seeds=seeds,
        backend=backend,
        dtype=config.dtype,
    )
    schedule = optim.linear(o.steps) if o.schedule == "linear" else optim.constant
    sgd = optim.SGD(o.rate, schedule, o.min_rate, backend, config.dtype)
    rows: list[Observation] = []

    def probe(step: int) -> None:
        _, caches = model.forward(data.x_train[:PROBE_EXAMPLES], training=True, track=False)
        for layer, activation in enumerate(model.activations(caches), start=1):
            for metric, measure in (
                ("saturated_share", probes.saturated_share),
                ("dead_share", probes.dead_share),
            ):
                values = backend.to_host(measure(activation))
                rows.extend(per_seed(seeds, metric, values, step=step, layer=layer))
            if step in (0, o.steps):
                means = backend.to_host(probes.unit_means(activation))
                rows.extend(_unit_rows(seeds, means, step, layer, config.first_seed))

    losses = train(
        model,
        sgd,
        data,
        backend,
        seeds=seeds,
        batch=o.batch,
        steps=o.steps,
        probe_at={o.steps * i // PROBES for i in range(PROBES + 1)},
        probe=probe,
        tick=lambda n: tick(n * len(seeds)),
    )
    rows.extend(_loss_rows(seeds, losses, config.every))
    examples = len(data.x_test)
    for part, x, y in (
        ("train", data.x_train[:examples], data.y_train[:examples]),
        ("test", data.x_test, data.y_test),
    ):
        loss, accuracy = evaluate(model, x, y, backend)
        rows.extend(per_seed(seeds, f"{part}_loss", loss, step=o.steps))
        rows.extend(per_seed(seeds, f"{part}_accuracy", accuracy, step=o.steps))
    return rows


def _loss_rows(seeds: Sequence[int], losses: np.ndarray, every: int) -> list[Observation]:
    """The first mini-batch loss, then the mean over each `every` steps, at the last of them."""
    rows = per_seed(seeds, "batch_loss", losses[0], step=0)
    for end in range(every, len(losses) + 1, every):
        window = losses[end - every : end].mean(axis=0, dtype=np.float64)
        rows += per_seed(seeds, "batch_loss", window, step=end)
    return rows


def _unit_rows(
    seeds: Sequence[int], means: np.ndarray, step: int, layer: int, first_seed: int
) -> list[Observation]:
    """Each unit's mean activation, for the cell's first seed: one network's bar chart."""
    return [
        Observation(seed, step, layer, f"unit_mean[{unit}]", float(value))
        for seed, of_seed in zip(seeds, means, strict=True)
        if seed == first_seed
        for unit, value in enumerate(of_seed)
    ]


EXPERIMENT = Experiment(
    name="mnist_init",
    datasets=("mnist", "digits"),
    axes={"data": "data.name", "init": "init.name", "norm": "norm.name"},
    keys=(
        "data.name",
        "model",
        "norm",
        "init",
        "optim",
        "dtype",
        "seeds",
        "first_seed",
        "every",
    ),
    run=run,
    work=lambda config: config.seeds * config.optim.steps,
    exact=False,
)
