"""What an experiment is, and the registry that finds one by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

import numpy as np

from gpubn.backend import Backend
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.rows import Observation

_NAMES = (
    "depth_grid",
    "mnist_init",
    "gamma_beta",
    "diagnostics",
    "diagnostics_deep",
    "inference",
    "rate_sweep",
    "scale_sweep",
    "batch_sweep",
    "dropout",
    "dropout_shift",
    "recipe",
    "bessel",
    "initial_beta",
    "signal_propagation",
    "signal_batch",
    "listing_backward",
    "estimators",
    "moving_average",
    "exact",
    "shared_scale",
)


@dataclass(frozen=True)
class Context:
    """What a cell runs with but does not depend on.

    Attributes:
        backend: where arrays live.
        tick: called with the number of work units that were finished.
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
    """How cells that differ in numbers alone are measured as one replica-batched program.

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

    def code(self, config: Config) -> tuple[str, ...]:
        """Return the definitions, "module:name", on which the numbers of a cell depend."""
        return (f"gpubn.experiments.{self.name}:EXPERIMENT", *self.chooses(config))


def names() -> tuple[str, ...]:
    """The names of all experiments."""
    return _NAMES


def get(name: str) -> Experiment:
    """Return the experiment called `name`.

    Raises:
        ConfigError: there is none.
    """
    if name not in _NAMES:
        raise ConfigError(f"experiment is {name!r}; expected one of {', '.join(_NAMES)}")
    experiment: Experiment = import_module(f"gpubn.experiments.{name}").EXPERIMENT
    return experiment
