"""The contestants of each work, checked before they are timed."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import cycle, islice
from typing import Any

import numpy as np

from gpubn.backend import Backend, resolve
from race.batchnorm import CALLS_OF_A_GRAPH, OUTPUTS, BatchnormWork
from race.contest import Contest, Entry, Sample
from race.package import ArrayExpressions, Ours, Package
from race.timings import ARRAYS, COMPILED, EAGER, JAX, OURS
from race.training import TrainingWork

PEERS = {"torch": EAGER, "compile": COMPILED, "jax": JAX}
HOST_PEERS = {"arrays": ARRAYS, **PEERS}
"""On the host, ours without compiled kernels is one more."""
TOLERANCE = 1e-4
"""Relative error against float64: float32 stays far below, TF32 does not."""
_SAMPLE_SECONDS, _MOST_CALLS = 1e-3, 64
"""A sample lasts about so long, so that what starts and stops it counts little."""


def batchnorm_entries(work: BatchnormWork, contest: Contest, peers: Iterable[str]) -> list[Entry]:
    """Return all contestants; `peers` are those of `HOST_PEERS` that take part."""
    contestants = (OURS, *(HOST_PEERS[peer] for peer in peers))
    inputs = {who: cache(partial(_Inputs, who, contest, work)) for who in contestants}
    launched = [Entry(who, "python", partial(_launched, moved)) for who, moved in inputs.items()]
    inputs.pop(JAX, None)  # it has no graphs that are replayed
    captured = [Entry(who, "graph", partial(_captured, moved)) for who, moved in inputs.items()]
    return launched + captured


def training_entries(work: TrainingWork, backend: Backend, peers: Iterable[str]) -> list[Entry]:
    """Return all contestants: beside many networks PyTorch alone, which trains one by one."""
    launches = [(OURS, "train", work.networks)]
    if not backend.on_host:
        launches.append((OURS, "launch", work.networks))
    if "torch" in peers:
        launches += [(EAGER, "python", 1), (EAGER, "graph", 1)]
    if "jax" in peers:
        launches += [(JAX, "scan", 1)]
    return [
        Entry(who, launch, partial(_trained, who, backend, work, launch), networks)
        for who, launch, networks in launches
        if work.networks == 1 or launch in ("train", "launch", "python")
    ]


def host_training_entries(
    work: TrainingWork, backend: Backend, peers: Iterable[str]
) -> list[Entry]:
    """Return all contestants on the host: JAX trains all networks at once, PyTorch one by one."""
    launches = {
        ARRAYS: ("train", work.networks),
        JAX: ("scan", work.networks),
        EAGER: ("python", 1),
        COMPILED: ("python", 1),
    }
    taking_part = {HOST_PEERS[peer] for peer in peers}
    launches = {OURS: ("train", work.networks)} | {
        who: launch for who, launch in launches.items() if who in taking_part
    }
    return [
        Entry(who, launch, partial(_trained, who, backend, work, launch), networks)
        for who, (launch, networks) in launches.items()
    ]


def _package(who: str, backend: Backend) -> Package:
    if who == ARRAYS or (who == OURS and backend.name == "numpy"):
        return ArrayExpressions(resolve("numpy"))
    if who == OURS:
        return Ours(backend)
    if who == JAX:
        from race.jax_jit import Jax

        return Jax(backend)
    from race.pytorch import PyTorch

    return PyTorch(backend, compiled=who == COMPILED)


class _Inputs:
    """The inputs of batchnorm in a package, made once for both ways of launching."""

    def __init__(self, who: str, contest: Contest, work: BatchnormWork) -> None:
        self.contest, self.work = contest, work
        self.package = _package(who, contest.backend)
        put = self.package.put
        self._x = [put(x, variable=True) for x in work.x]
        self._dy = [put(dy) for dy in work.dy]
        self._gamma, self._beta = (put(a, variable=True) for a in (work.gamma, work.beta))
        self.reset()

    def reset(self) -> None:
        """Begin the running statistics anew."""
        fresh = (np.zeros_like(self.work.gamma), np.ones_like(self.work.gamma))
        self.running = [self.package.put(array) for array in fresh]

    def run(self, i: int) -> Any:
        """Enqueue both passes of a set."""
        arrays = (self._x[i], self._dy[i], self._gamma, self._beta)
        return self.package.batchnorm(*arrays, self.running)

    def error(self, out: Any, *running: Any) -> float:
        """Return the error of what set 0 gave, and of the running statistics, if given."""
        names = (*OUTPUTS, "running_mean", "running_var")
        return check(
            {name: self.package.host(a) for name, a in zip(names, (*out, *running), strict=False)},
            self.work.expected,
        )


def _launched(moved: Callable[[], _Inputs]) -> Sample:
    """Called from Python, one set after another."""
    inputs = moved()
    package, many = inputs.package, len(inputs.work.x)
    package.wait(inputs.run(-1))  # compiles; and what lies in memory is not what set 0 gives
    inputs.reset()
    error = inputs.error(inputs.run(0), *inputs.running)
    sets = cycle(range(many))

    def sample(calls: int) -> None:
        for i in islice(sets, calls):
            out = inputs.run(i)
        package.wait(out)

    trial = min(5, many)
    sample(trial)
    seconds = inputs.contest.seconds(partial(sample, trial)) / trial
    calls = max(1, min(math.ceil(_SAMPLE_SECONDS / seconds), many, _MOST_CALLS))
    return Sample(partial(sample, calls), error, calls)


def _captured(moved: Callable[[], _Inputs]) -> Sample:
    """Replayed as graphs, each of which goes through as many sets."""
    inputs = moved()
    package, sets = inputs.package, range(len(inputs.work.x))
    package.wait(inputs.run(-1))  # as above; a capture cannot compile

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
    replay()
    inputs.contest.wait()
    error = inputs.error(out)
    turns = cycle(graphs)  # with the arrays that they write to
    return Sample(lambda: next(turns)[0](), error, len(groups[0]))


def _trained(who: str, backend: Backend, work: TrainingWork, launch: str) -> Sample:
    """Train once and compare the first losses; the rounds go on from there."""
    package = _package(who, backend)
    train = package.trainer(work, launch)
    losses = package.host(train()).reshape(work.steps, -1)
    if not np.isfinite(losses).all():
        raise ValueError("WRONG: a loss is not finite")
    expected = work.expected[:, : losses.shape[1]]
    first = losses[: len(expected), : expected.shape[1]]
    name, (_, tolerance) = "the first losses", work.checked
    return Sample(train, check({name: first}, {name: expected}, tolerance))


def check(
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest relative error, by the norm.

    Raises:
        ValueError: one is beyond `tolerance`, NaN, or of another shape.
    """
    worst = 0.0
    for name, array in arrays.items():
        error, right = math.inf, expected[name]
        if array.shape == right.shape:
            with np.errstate(all="ignore"):
                error = float(np.linalg.norm(array - right) / np.linalg.norm(right))
        if not error <= tolerance:
            raise ValueError(
                f"WRONG: {name} is off by {error:.2g} (relative norm against float64; expected "
                f"at most {tolerance:g})"
            )
        worst = max(worst, error)
    return worst
