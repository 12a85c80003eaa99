"""Experiments that train the network of a configuration and look at it on the way.

An experiment is a list of probes. Every training records its losses, what became of it, and the
final evaluation; a probe adds what it measures at the steps it names.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.data import Dataset, dataset_definition, dataset_names, load
from gpubn.errors import ConfigError
from gpubn.experiments.base import Context, Experiment, Stacking
from gpubn.experiments.probes.base import Network, Probe, Reading, fetch_readings
from gpubn.experiments.training.programs import (
    LOOKED_AT,
    CellReplicas,
    fill_programs,
    halve,
    replica_bytes,
)
from gpubn.experiments.training.records import evaluation_rows, loss_rows, pool_rows
from gpubn.nn import optim
from gpubn.nn.model import build_mlp, select_from_cache
from gpubn.nn.norms import check_norm, norm_definition
from gpubn.nn.train import DeviceData, check_batch_fits, to_device, train
from gpubn.rows import Observation

GROUP = 5
"""Replicas of 128 units in one program: enough to hide the interpreter, few enough for the cache.
Narrower networks take more."""
EVALUATED = 2000
"""At most so many examples of each split are evaluated at the end, unless an experiment asks for
more: in a short sweep evaluation would cost more than training."""
FREE = (
    "init",
    "optim.rate",
    "optim.min_rate",
    "norm.name",
    "norm.eps",
    "norm.momentum",
    "norm.initial_spread",
    "norm.initial_beta",
    "norm.noise_shift",
    "norm.noise_scale",
    "model.name",
    "model.dropout",
    "seeds",
    "first_seed",
)
"""Keys in which the replicas of one program may differ: numbers and names."""
KEYS = (
    "data.name",
    "data.train_examples",
    "model",
    "norm",
    "init",
    "optim",
    "dtype",
    "seeds",
    "first_seed",
    "every",
)

ReplicaRows = list[tuple[CellReplicas, list[Observation]]]


def training_experiment(
    name: str,
    axes: dict[str, str],
    *,
    probes: Callable[[Config], Sequence[Probe]] = lambda config: (),
    group: int = GROUP,
    evaluated: int = EVALUATED,
    whole_set: bool = False,
    inputs: bool = False,
) -> Experiment:
    """Return the experiment that trains every cell and measures with fresh `probes`.

    Args:
        axes: beside the data, as in `Experiment`.
        inputs: that it takes `data.inputs` other than raw.
        group: replicas in one program on the CPU.
        evaluated: at most so many examples of each split count in the final evaluation.
        whole_set: that its probes look at the whole training set at once.

    >>> training_experiment("own", {"rate": "optim.rate"}).axes
    {'data': 'data.name', 'rate': 'optim.rate'}
    """
    together = partial(
        train_cells, probes=probes, group=group, evaluated=evaluated, whole_set=whole_set
    )
    return Experiment(
        name=name,
        datasets=dataset_names(),
        axes={"data": "data.name", **axes},
        keys=(*KEYS, "data.inputs") if inputs else KEYS,
        run=lambda config, context: together([config], context)[0],
        work=lambda config: config.seeds * config.optim.steps,
        exact=False,
        stacking=Stacking(together, FREE, lambda config: config.model.dropout > 0, group),
        chooses=_definitions,
        check=partial(_check, probes=probes, inputs=inputs),
    )


def _definitions(config: Config) -> tuple[str, ...]:
    return dataset_definition(config.data.name), norm_definition(config.norm)


def _check(
    config: Config, probes: Callable[[Config], Sequence[Probe]], *, inputs: bool = True
) -> None:
    """Refuse what the normalisation or a probe cannot take, and inputs that nobody asks about."""
    check_norm(config.norm, config.optim.batch)
    for probe in probes(config):
        probe.check(config)
    if config.data.inputs != "raw" and not inputs:
        raise ConfigError(
            f"data.inputs is {config.data.inputs!r}; expected raw for {config.name}, which takes "
            "them as they are"
        )
    if config.data.inputs != "raw" and config.data.train_examples:
        raise ConfigError(
            f"data.inputs is {config.data.inputs!r} and data.train_examples "
            f"{config.data.train_examples}; expected raw or 0, as the statistics are those of all "
            "training examples"
        )


def train_cells(
    configs: Sequence[Config],
    context: Context,
    *,
    probes: Callable[[Config], Sequence[Probe]],
    group: int,
    evaluated: int,
    whole_set: bool = False,
) -> list[list[Observation]]:
    """Train every seed of cells that differ in `FREE` alone, and return the rows of each.

    Raises:
        ConfigError: the normalisation, a probe or the data cannot take a configuration.
        DataError: the data are missing or damaged.

    >>> from gpubn.backend import resolve
    >>> from gpubn.config import DataConfig, OptimConfig
    >>> rates = [OptimConfig(rate=rate, steps=100) for rate in (0.001, 0.3)]
    >>> cells = [Config(data=DataConfig("digits"), optim=optim, seeds=1) for optim in rates]
    >>> context = Context(resolve("numpy"))
    >>> slow, fast = train_cells(cells, context, probes=lambda c: (), group=5, evaluated=100)
    >>> losses = [[r.value for r in rows if r.metric == "test_loss"][0] for rows in (slow, fast)]
    >>> losses[0] > losses[1]
    True
    """
    shared, backend = configs[0], context.backend
    _check(shared, probes)
    dataset = load(shared.data.name, shared.data.root)
    check_batch_fits(shared.optim.batch, dataset, shared.data.train_examples)
    data = to_device(dataset, backend, shared.dtype, shared.data.inputs)

    def work(parts: Sequence[CellReplicas], tick: Callable[[int], None]) -> ReplicaRows:
        network = _build(parts, backend, dataset, data)
        networks = _of_parts(network, parts)
        during = _train(network, networks, probes, tick)
        final = evaluation_rows(network, networks, evaluated)
        return [(part, [*a, *b]) for part, a, b in zip(parts, during, final, strict=True)]

    examples = min(shared.data.train_examples or len(dataset.x_train), len(dataset.x_train))
    looked_at = max(examples, LOOKED_AT) if whole_set else LOOKED_AT
    bytes_each = replica_bytes(shared, dataset.features, dataset.classes, looked_at)
    programs = fill_programs(configs, backend, group, bytes_each)
    rows: list[list[Observation]] = [[] for _ in configs]
    for measured in backend.run_groups(work, programs, halve=halve, on_progress=context.tick):
        for part, of_part in measured:
            rows[part.cell] += of_part
    return [pool_rows(of_cell) for of_cell in rows]


def _build(
    parts: Sequence[CellReplicas], backend: Backend, dataset: Dataset, data: DeviceData
) -> Network:
    configs = [part.config for part in parts for _ in part.seeds]
    seeds = [seed for part in parts for seed in part.seeds]
    shared = configs[0]
    model = build_mlp(
        [c.model for c in configs],
        [c.norm for c in configs],
        [c.init for c in configs],
        features=dataset.features,
        classes=dataset.classes,
        seeds=seeds,
        backend=backend,
        dtype=shared.dtype,
    )
    o = shared.optim
    schedule = optim.linear_decay(o.steps) if o.schedule == "linear" else optim.constant_rate
    rates, least = [c.optim.rate for c in configs], [c.optim.min_rate for c in configs]
    sgd = optim.SGD(rates, schedule, least, backend, shared.dtype, o.momentum)
    return Network(shared, backend, dataset, data, model, sgd, seeds)


def _of_parts(network: Network, parts: Sequence[CellReplicas]) -> list[tuple[slice, Network]]:
    """The replicas of each part, and the network of these alone, as views."""
    if len(parts) == 1:
        return [(slice(None), network)]
    views, start = [], 0
    for part in parts:
        replicas = slice(start, start + len(part.seeds))
        start = replicas.stop
        model, sgd = network.model.select(replicas), network.sgd.select(replicas)
        view = replace(network, config=part.config, model=model, sgd=sgd, seeds=part.seeds)
        views.append((replicas, view))
    return views


def _train(
    network: Network,
    parts: Sequence[tuple[slice, Network]],
    probes: Callable[[Config], Sequence[Probe]],
    tick: Callable[[int], None],
) -> list[list[Observation]]:
    config, seeds = network.config, network.seeds
    rows: list[list[Reading]] = [[] for _ in parts]
    due = [
        (probe, frozenset(probe.at(config.optim)), view, of_part)
        for (_, view), of_part in zip(parts, rows, strict=True)
        for probe in probes(view.config)
    ]
    observers = [
        (probe, replicas, view)
        for replicas, view in parts
        for probe, _, of_probe, _ in due
        if of_probe is view and _observes(probe)
    ]

    def measure(step: int) -> None:
        for probe, steps, view, of_part in due:
            if step in steps:
                of_part.extend(probe.measure(view, step))

    def observe(caches: list[Any]) -> None:
        for probe, replicas, view in observers:
            probe.observe(view, [select_from_cache(cache, replicas) for cache in caches])

    losses = train(
        network.model,
        network.sgd,
        network.data,
        network.backend,
        seeds=seeds,
        batch=config.optim.batch,
        steps=config.optim.steps,
        sample=config.data.train_examples,
        probe_at=frozenset().union(*(steps for _, steps, _, _ in due)),
        probe=measure,
        observe=observe if observers else None,
        tick=lambda n: tick(n * len(seeds)),
    )
    fetched = fetch_readings(rows, network.backend)
    for (replicas, view), of_part in zip(parts, fetched, strict=True):
        of_part += loss_rows(view.seeds, losses[:, replicas], config.every)
    return fetched


def _observes(probe: Probe) -> bool:
    return type(probe).observe is not Probe.observe
