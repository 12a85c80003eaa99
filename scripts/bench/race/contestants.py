"""Who takes part in which work, and what it must compute right before it is timed."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import cycle, islice
from typing import Any

import numpy as np

from race.batchnorm import CALLS_OF_A_GRAPH, OUTPUTS, BatchnormWork
from race.contest import Entry, Sample
from race.package import Ours, Package
from race.site import Site
from race.timings import COMPILED, EAGER, JAX, OURS
from race.training import TrainingWork

PEERS = ("torch", "compile", "jax")
TOLERANCE = 1e-4
"""Relative error against float64: float32 stays far below, TF32 does not."""
_SAMPLE_SECONDS, _MOST_CALLS = 1e-3, 64
"""A sample lasts about so long, so that what starts and stops it counts little."""

Maker = Callable[[Site], Package]


def batchnorm_entries(work: BatchnormWork, site: Site, peers: Sequence[str]) -> Iterator[Entry]:
    """Yield all contestants; `peers` are those of `PEERS` that take part."""
    replicas = work.x[0].ndim == 3
    forms = (
        {f"{EAGER}, {form}": form for form in ("loop", "vmap")} if replicas else {EAGER: "eager"}
    )
    makers: dict[str, Maker] = {OURS: Ours}
    if "torch" in peers:
        makers |= {who: partial(_pytorch, form=form) for who, form in forms.items()}
    if "compile" in peers:
        makers[COMPILED] = partial(_pytorch, form="compile, vmap" if replicas else "compile")
    if "jax" in peers:
        makers[JAX] = _jax
    inputs = {who: cache(partial(_Inputs, make, site, work)) for who, make in makers.items()}
    for launch, prepare in (("python", _launched), ("graph", _captured)):
        for who, moved in inputs.items():
            if (who, launch) != (JAX, "graph"):
                yield Entry(who, launch, partial(prepare, moved, work))


def training_entries(work: TrainingWork, site: Site, peers: Sequence[str]) -> Iterator[Entry]:
    """Yield all contestants: beside many networks PyTorch alone, which trains one after another."""
    makers: list[tuple[str, str, Maker]] = [(OURS, "train", Ours)]
    if "torch" in peers:
        makers += [(EAGER, "python", _pytorch), (EAGER, "graph", _pytorch)]
    if "jax" in peers:
        makers.append(("JAX", "scan", _jax))
    for who, launch, make in makers:
        if work.sizes.networks == 1 or launch in ("train", "python"):
            networks = work.sizes.networks if who == OURS else 1
            yield Entry(who, launch, partial(_trained, make, site, work, launch), networks)


def _pytorch(site: Site, form: str = "eager") -> Package:
    package: Package = import_module("race.pytorch").PyTorch(site, form)
    return package


def _jax(site: Site) -> Package:
    package: Package = import_module("race.jax_jit").Jax(site)
    return package


class _Inputs:
    """The inputs of batchnorm in a package, made once for both ways of launching."""

    def __init__(self, make: Maker, site: Site, work: BatchnormWork) -> None:
        self.package = make(site)
        self._put, self._unit = self.package.put, work.gamma
        self._x = [self._put(x, variable=True) for x in work.x]
        self._dy = [self._put(dy) for dy in work.dy]
        self._gamma, self._beta = (self._put(a, variable=True) for a in (work.gamma, work.beta))
        self.reset()

    def reset(self) -> None:
        """Begin the running statistics anew."""
        fresh = (np.zeros_like(self._unit), np.ones_like(self._unit))
        self.running = [self._put(array) for array in fresh]

    def run(self, i: int) -> Any:
        """Enqueue both passes of a set."""
        arrays = (self._x[i], self._dy[i], self._gamma, self._beta)
        return self.package.batchnorm(*arrays, self.running)

    def host(self, out: Any) -> dict[str, np.ndarray]:
        """Return what `run` returned by name."""
        return {name: self.package.host(a) for name, a in zip(OUTPUTS, out, strict=True)}


def _launched(moved: Callable[[], _Inputs], work: BatchnormWork) -> Sample:
    """Called from Python, one set after another."""
    inputs = moved()
    package = inputs.package
    package.wait(inputs.run(-1))  # compiles; and what lies in memory is not what set 0 gives
    inputs.reset()
    outputs = inputs.host(inputs.run(0))
    mean, var = (package.host(a) for a in inputs.running)
    error = check({**outputs, "running_mean": mean, "running_var": var}, work.expected)
    sets = cycle(range(len(work.x)))

    def sample(calls: int) -> None:
        for i in islice(sets, calls):
            out = inputs.run(i)
        package.wait(out)

    trial = min(5, len(work.x))
    sample(trial)
    seconds = package.site.seconds(partial(sample, trial)) / trial
    calls = max(1, min(math.ceil(_SAMPLE_SECONDS / seconds), len(work.x), _MOST_CALLS))
    return Sample(partial(sample, calls), error, calls)


def _captured(moved: Callable[[], _Inputs], work: BatchnormWork) -> Sample:
    """Replayed as graphs, each of which goes through as many sets."""
    inputs, sets = moved(), range(len(work.x))
    package = inputs.package
    package.wait(inputs.run(-1))  # compiles, which a capture cannot

    def capture(group: Sequence[int]) -> tuple[Callable[[], object], list[Any]]:
        first: list[Any] = []

        def enqueue() -> None:
            first[:] = inputs.run(group[0])
            for i in group[1:]:
                inputs.run(i)

        return package.capture(enqueue), first

    groups = [sets[i : i + CALLS_OF_A_GRAPH] for i in sets[::CALLS_OF_A_GRAPH]]
    graphs = [capture(group) for group in groups]
    replay, out = graphs[0]
    for array in out:
        package.spoil(array)
    replay()
    package.site.wait()
    error = check(inputs.host(out), work.expected)
    turns = cycle(graphs)  # with the arrays that they write to
    return Sample(lambda: next(turns)[0](), error, len(groups[0]))


def _trained(make: Maker, site: Site, work: TrainingWork, launch: str) -> Sample:
    """Train once and compare the first losses; the rounds go on from there."""
    package = make(site)
    train = package.trainer(work, launch)
    losses = package.host(train()).reshape(work.sizes.steps, -1)
    if not np.isfinite(losses).all():
        raise ValueError("WRONG: a loss is not finite")
    expected = work.expected[:, : losses.shape[1]]
    first = losses[: len(expected), : expected.shape[1]]
    return Sample(train, check({"the first losses": first}, {"the first losses": expected}))


def check(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest relative error, by the norm.

    Raises:
        ValueError: one is beyond `TOLERANCE`, NaN, or of another shape.
    """
    worst = 0.0
    for name, array in found.items():
        error, right = math.inf, expected[name]
        if array.shape == right.shape:
            with np.errstate(all="ignore"):
                error = float(np.linalg.norm(array - right) / np.linalg.norm(right))
        if not error <= TOLERANCE:
            raise ValueError(
                f"WRONG: {name} is off by {error:.2g} (relative norm against float64; expected "
                f"at most {TOLERANCE:g})"
            )
        worst = max(worst, error)
    return worst
