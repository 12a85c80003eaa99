"""Experiments, and the registry that finds one by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

import numpy as np

from gpubn import extensions
from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.rows import Observation

_CATALOGUE = "gpubn.experiments.catalogue"
_ELSEWHERE = {
    "signal_propagation": "gpubn.experiments.deep.signal_propagation",
    "signal_shape": "gpubn.experiments.deep.signal_shape",
    "signal_batch": "gpubn.experiments.deep.signal_batch",
    "signal_run": "gpubn.experiments.deep.signal_run",
    "signal_grid": "gpubn.experiments.deep.signal_grid",
    "listing_backward": "gpubn.experiments.deep.listing_backward",
    "estimators": "gpubn.experiments.estimators",
    "moving_average": "gpubn.experiments.moving_average",
    "exact": "gpubn.experiments.exact.experiment",
    "shared_scale": "gpubn.experiments.deep.shared_scale",
    "glorot_signal": "gpubn.experiments.deep.glorot_signal",
    "listings": "gpubn.experiments.listings",
    "fixed_identity": "gpubn.experiments.fixed_identity",
    "dropout_noise": "gpubn.experiments.dropout_noise",
    "listing_scale": "gpubn.experiments.deep.listing_scale",
}
"""Modules of the experiments that the catalogue does not declare; each is its name in capitals."""


@dataclass(frozen=True)
class Context:
    """Surroundings of a cell, on which its numbers do not depend.

    Attributes:
        backend: where arrays live.
        tick: called with the number of work units that were finished.

    >>> from gpubn.backend import resolve
    >>> rows = get("estimators").run(Config(name="estimators", seeds=1), Context(resolve("numpy")))
    >>> rows[0].seed, rows[0].metric
    (0, 'var_biased_ratio')
    """

    backend: Backend
    tick: Callable[[int], None] | None = None


T = TypeVar("T")
Tick = Callable[[int], None]


def measure_seeds(
    config: Config,
    context: Context,
    measure: Callable[[Config, Backend, Sequence[int], Tick], T],
    *,
    group: int,
) -> list[T]:
    """Return `measure(config, backend, seeds, tick)` of each group of a cell's seeds, in order.

    Overflow is an outcome, recorded as inf or NaN.

    Args:
        group: seeds that are measured at once on the CPU; a GPU takes all.
    """

    def work(seeds: Sequence[int], tick: Tick) -> T:
        with np.errstate(all="ignore"):
            return measure(config, context.backend, seeds, tick)

    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return context.backend.map_groups(work, seeds, group=group, on_progress=context.tick)


@dataclass(frozen=True)
class Stacking:
    """Measures cells that differ in numbers alone as one replica-batched program.

    Attributes:
        run: measures several cells; what it returns for a cell is what `Experiment.run` returns.
        free: keys in which the cells of a stack may differ, groups of keys included.
        kind: what else has to be the same although its keys are free.
        group: replicas that fill a program on the CPU.
    """

    run: Callable[[Sequence[Config], Context], list[list[Observation]]]
    free: tuple[str, ...]
    kind: Callable[[Config], object]
    group: int


def takes_batch_norm(config: Config) -> None:
    """Refuse other normalisations, and parts of a network: what most experiments lack."""
    if config.norm.kind != "batch":
        raise ConfigError(
            f"norm.kind is {config.norm.kind!r}; expected batch for {config.name}, which measures "
            "batch norm alone"
        )
    refuse_trained_parts(config)


def refuse_trained_parts(config: Config) -> None:
    """Refuse connections around layers, and biases."""
    for key, value, off in (
        ("model.residual", config.model.residual, False),
        ("init.bias", config.init.bias, 0.0),
    ):
        if value != off:
            raise ConfigError(
                f"{key} is {value}; expected {str(off).lower()} for {config.name}, which has none"
            )


@dataclass(frozen=True)
class Experiment:
    """One experiment: what tells its cells apart, and what it measures.

    Attributes:
        datasets: the names of the data it takes, the published one first.
        axes: column of the table -> key of the configuration; the columns come first in a table.
        keys: the configuration that changes a number; a cell is identified by these alone.
        run: measures one cell.
        work: number of `tick` units of one cell.
        exact: float64 arithmetic without feedback, so that rounding stays rounding.
        rounding: what it measures is rounding itself, of which only the size repeats elsewhere.
        stacking: how several cells are measured at once; None where it is one by one.
        chooses: the definitions that a cell finds by name, as in `code`.
        check: refuses, by a ConfigError, what it cannot measure; cells are made of nothing else.
    """

    name: str
    datasets: tuple[str, ...]
    axes: dict[str, str]
    keys: tuple[str, ...]
    run: Callable[[Config, Context], list[Observation]]
    work: Callable[[Config], int]
    exact: bool
    rounding: bool = False
    stacking: Stacking | None = None
    chooses: Callable[[Config], tuple[str, ...]] = lambda config: ()
    check: Callable[[Config], None] = takes_batch_norm

    def code(self, config: Config) -> tuple[str, ...]:
        """Return the definitions, "module:name", on which the numbers of a cell depend.

        >>> get("bessel").code(Config(name="bessel"))[0]
        'gpubn.experiments.catalogue:BESSEL'
        """
        return ":".join(_place(self.name)), *self.chooses(config)


def names(own: extensions.Extension | None = None) -> tuple[str, ...]:
    """Return the names of all experiments, those of the catalogue first, in its order.

    Args:
        own: only those of this extension.

    Raises:
        ExtensionError: one of an extension has the name of another.

    >>> "mnist_init" in names()
    True
    """
    others = _of_extensions()
    if own is None:
        return *_ours(), *others
    start = f"{own.package}."
    return tuple(name for name, (module, _) in others.items() if f"{module}.".startswith(start))


def get(name: str) -> Experiment:
    """Return the experiment called `name`.

    Raises:
        ConfigError: there is none.

    >>> get("mnist_init").axes
    {'data': 'data.name', 'init': 'init.name', 'norm': 'norm.name'}
    """
    if name not in names():
        raise ConfigError(f"experiment is {name!r}; expected one of {', '.join(names())}")
    module, constant = _place(name)
    experiment: Experiment = getattr(import_module(module), constant)
    return experiment


def _place(name: str) -> tuple[str, str]:
    """Return the module and the constant that declare an experiment."""
    if name in _ours():
        return _ELSEWHERE.get(name, _CATALOGUE), name.upper()
    return _of_extensions()[name]


def _ours() -> tuple[str, ...]:
    catalogue = vars(import_module(_CATALOGUE)).values()
    return (*(one.name for one in catalogue if isinstance(one, Experiment)), *_ELSEWHERE)


def _of_extensions() -> dict[str, tuple[str, str]]:
    """Return where each experiment of an extension is declared."""
    found: dict[str, tuple[str, str]] = {}
    ours = _ours()
    for module in extensions.modules():
        for constant, one in list(vars(module).items()):
            if isinstance(one, Experiment):
                known = _place(one.name) if one.name in ours else found.get(one.name)
                if known is None:
                    found[one.name] = (module.__name__, constant)
                elif getattr(import_module(known[0]), known[1]) is not one:  # else it is imported
                    raise extensions.exists("experiment", one.name, module.__file__)
    return found
