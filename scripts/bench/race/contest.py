"""One work, its contestants, and the rows that come out: prepare, check, take turns, compare."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import cycle, islice
from types import FrameType
from typing import Any

import numpy as np
from harness import compare, take_turns
from scipy.stats import quantile_test

from race.batchnorm import CALLS_OF_A_GRAPH, OUTPUTS, Batchnorm
from race.package import Ours, Package
from race.rows import MADE_DRY, MADE_ON_DEVICE, OURS, Row
from race.site import Ceilings, Site, sentence
from race.training import Training

log = logging.getLogger("gpubn")

EAGER, JAX = "PyTorch eager", "JAX jit"
PEERS = ("torch", "compile", "jax")
TOLERANCE = 1e-4
"""Relative error against float64: float32 stays far below, TF32 does not."""
_SAMPLE_SECONDS, _MOST_CALLS = 1e-3, 64
"""A sample lasts about so long, so that what starts and stops it counts little."""
_PREPARE_SECONDS, _WORK_SECONDS = 120.0, 120.0


@dataclass
class Contestant:
    """Who is ready to be timed.

    Attributes:
        sample: does the work `calls` times; waits only where the clock does not see it.
        error: the largest relative error, of what was checked before.
        failure: why it is out.
    """

    sample: Callable[[], object]
    error: float
    calls: int = 1
    failure: str = ""
    rounds: int = 0

    def seconds(self, site: Site) -> float:
        """Return the seconds of a call; NaN once it has failed."""
        if self.failure:
            return math.nan
        self.rounds += 1
        try:
            return site.seconds(self.sample) / self.calls
        except Exception as error:  # one failing peer must not end the run
            self.failure = f"failed in round {self.rounds}: {sentence(error)}"
            return math.nan


@dataclass(frozen=True)
class Entry:
    """Who takes part.

    Attributes:
        make: prepares and checks it; whatever it raises is the reason why there is no time.
        networks: how many it trains together.
    """

    who: str
    launch: str
    make: Callable[[], Contestant]
    networks: int = 1


@dataclass
class Course:
    """What all works of a run have in common.

    Attributes:
        until: no further round begins after this `time.monotonic()`.
        too_slow: who was not ready in time once, and is not tried again.
    """

    site: Site
    rounds: int
    until: float = math.inf
    ceilings: Ceilings = field(default_factory=Ceilings)
    too_slow: set[str] = field(default_factory=set)

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.until - time.monotonic()

    def row(self, **columns: Any) -> Row:
        """Return a row without a time."""
        return Row(
            **columns,
            copy_rate=self.ceilings.copy_rate,
            matrix_rate=self.ceilings.matrix_rate,
            device=self.site.backend.device,
            made=MADE_ON_DEVICE if self.site.gpu else MADE_DRY,
        )


def hold(work: Batchnorm | Training, entries: Iterable[Entry], course: Course) -> Iterator[Row]:
    """Prepare all, let those that are right take turns, and yield a row of each."""
    ready: list[tuple[Row, Contestant]] = []
    for entry in entries:
        row = course.row(
            **work.columns, who=entry.who, launch=entry.launch, networks=entry.networks
        )
        if entry.who in course.too_slow:
            yield replace(row, note="not tried: it was not ready in time before")
            continue
        started = time.monotonic()
        try:
            with time_limit(min(_PREPARE_SECONDS, max(course.left, 1.0))):
                contestant = entry.make()
                contestant.sample()
                course.site.wait()
        except Exception as error:  # a peer that is missing or wrong is a row with a reason
            if isinstance(error, TimeoutError) and entry.who != OURS:
                course.too_slow.add(entry.who)
            yield replace(row, note=sentence(error))
            continue
        took = time.monotonic() - started
        log.info("  %s, %s ready after %.1f s", entry.who, entry.launch, took)
        ready.append((row, contestant))
    until = min(course.until, time.monotonic() + _WORK_SECONDS)
    clocks = [partial(contestant.seconds, course.site) for _, contestant in ready]
    times = take_turns(course.rounds, clocks, lambda: time.monotonic() < until)
    each = [seconds / row.networks for (row, _), seconds in zip(ready, times, strict=True)]
    ours = {
        row.launch: seconds
        for (row, contestant), seconds in zip(ready, each, strict=True)
        if row.who == OURS and not contestant.failure
    }
    for (row, contestant), seconds in zip(ready, each, strict=True):
        row = replace(row, calls=contestant.calls, error=contestant.error)
        if contestant.failure:
            yield replace(row, note=contestant.failure)
            continue
        if row.who != OURS and (base := ours.get(row.launch, ours.get("train"))) is not None:
            ratio, least, most = compare(seconds, base)
            row = replace(row, ratio=ratio, ratio_min=least, ratio_max=most)
        if len(seconds) < course.rounds:
            stopped = f"stopped after {len(seconds)} of {course.rounds} rounds: out of time"
            row = replace(row, note=stopped)
        yield _timed(row, seconds)


def _timed(row: Row, seconds: np.ndarray) -> Row:
    median, (low, high) = float(np.median(seconds)), median_interval(seconds)
    share = row.bytes / row.copy_rate / median if row.copy_rate else None
    matrix = row.flops / row.matrix_rate / median if row.matrix_rate else None
    return replace(
        *(row,),
        seconds=median,
        low=low,
        high=high,
        rounds=len(seconds),
        copy_share=share,
        matrix_share=matrix,
    )


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of a median from order statistics; the extremes of few values."""
    interval = quantile_test(values, p=0.5).confidence_interval(0.95)
    if np.isnan([interval.low, interval.high]).any():
        return float(min(values)), float(max(values))
    return float(interval.low), float(interval.high)


def batchnorm_entries(work: Batchnorm, site: Site, peers: Sequence[str]) -> Iterator[Entry]:
    """Yield all contestants; `peers` are those of `PEERS` that take part."""
    replicas = work.x[0].ndim == 3
    packages: dict[str, Callable[[Site], Package]] = {OURS: Ours}
    if "torch" in peers and replicas:
        packages |= {f"{EAGER}, {form}": partial(_pytorch, form=form) for form in ("loop", "vmap")}
    elif "torch" in peers:
        packages[EAGER] = _pytorch
    if "compile" in peers:
        form = "compile, vmap" if replicas else "compile"
        packages["torch.compile"] = partial(_pytorch, form=form)
    if "jax" in peers:
        packages[JAX] = _jax
    moved = {who: cache(partial(_Moved, package, site, work)) for who, package in packages.items()}
    for who, inputs in moved.items():
        yield Entry(who, "python", partial(_launched, inputs, site, work))
    for who, inputs in moved.items():
        if who != JAX:
            yield Entry(who, "graph", partial(_captured, inputs, site, work))


def training_entries(work: Training, site: Site, peers: Sequence[str]) -> Iterator[Entry]:
    """Yield all contestants: beside many networks PyTorch alone, which trains one after another."""
    packages: list[tuple[str, str, Callable[[Site], Package]]] = [(OURS, "train", Ours)]
    if "torch" in peers:
        packages.append((EAGER, "python", _pytorch))
    if "torch" in peers and work.sizes.networks == 1:
        packages.append((EAGER, "graph", _pytorch))
    if "jax" in peers and work.sizes.networks == 1:
        packages.append(("JAX", "scan", _jax))
    for who, launch, package in packages:
        make = partial(_trained, package, site, work, launch)
        yield Entry(who, launch, make, work.sizes.networks if who == OURS else 1)


def _pytorch(site: Site, form: str = "eager") -> Package:
    from race.pytorch import PyTorch

    return PyTorch(site, form)


def _jax(site: Site) -> Package:
    from race.jax_jit import Jax

    return Jax(site)


class _Moved:
    """The inputs of batchnorm in a package, made once for both ways of launching."""

    def __init__(self, package: Callable[[Site], Package], site: Site, work: Batchnorm) -> None:
        self.package, self._unit = package(site), work.gamma
        put = self.package.put
        self.sets = [
            (put(x, variable=True), put(dy)) for x, dy in zip(work.x, work.dy, strict=True)
        ]
        self.gamma, self.beta = (put(a, variable=True) for a in (work.gamma, work.beta))
        self.running: list[Any] = []
        self.reset()

    def reset(self) -> None:
        """Begin the running statistics anew."""
        fresh = (np.zeros_like(self._unit), np.ones_like(self._unit))
        self.running[:] = map(self.package.put, fresh)

    def run(self, i: int) -> Any:
        x, dy = self.sets[i]
        return self.package.batchnorm(x, dy, self.gamma, self.beta, self.running)

    def host(self, out: Any) -> dict[str, np.ndarray]:
        return {name: self.package.host(a) for name, a in zip(OUTPUTS, out, strict=True)}


def _launched(inputs: Callable[[], _Moved], site: Site, work: Batchnorm) -> Contestant:
    """Called from Python, one set after another."""
    moved = inputs()
    package = moved.package
    package.wait(moved.run(-1))  # compiles; and what lies in memory is not what set 0 gives
    moved.reset()
    out = moved.host(moved.run(0))
    mean, var = (package.host(a) for a in moved.running)
    error = check({**out, "running_mean": mean, "running_var": var}, work.expected)
    sets = cycle(range(len(work.x)))

    def sample(calls: int) -> None:
        for i in islice(sets, calls):
            out = moved.run(i)
        package.wait(out)

    trial = min(5, len(work.x))
    sample(trial)
    took = site.seconds(partial(sample, trial)) / trial
    calls = max(1, min(math.ceil(_SAMPLE_SECONDS / took), len(work.x), _MOST_CALLS))
    return Contestant(partial(sample, calls), error, calls)


def _captured(inputs: Callable[[], _Moved], site: Site, work: Batchnorm) -> Contestant:
    """Replayed as graphs, each of which goes through as many sets."""
    moved, sets = inputs(), range(len(work.x))
    package, graphs = moved.package, []
    for group in (sets[i : i + CALLS_OF_A_GRAPH] for i in sets[::CALLS_OF_A_GRAPH]):
        first: list[Any] = []

        def enqueue(group: range = group, first: list[Any] = first) -> None:
            first[:] = moved.run(group[0])
            for i in group[1:]:
                moved.run(i)

        graphs.append((package.capture(enqueue), first, len(group)))
    replay, out, calls = graphs[0]
    for array in out:
        package.spoil(array)
    replay()
    site.wait()
    error = check(moved.host(out), work.expected)
    turns = cycle(graphs)  # with the arrays that they write to
    return Contestant(lambda: next(turns)[0](), error, calls)


def _trained(
    make: Callable[[Site], Package], site: Site, work: Training, launch: str
) -> Contestant:
    """Train once and compare the first losses; the rounds go on from there."""
    package = make(site)
    train = package.trainer(work, launch)
    losses = package.host(train()).reshape(work.sizes.steps, -1)
    if not np.isfinite(losses).all():
        raise ValueError("WRONG: a loss is not finite")
    expected = work.expected[:, : losses.shape[1]]
    first = losses[: len(expected), : expected.shape[1]]
    return Contestant(train, check({"the first losses": first}, {"the first losses": expected}))


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
                difference = np.linalg.norm((array - right).ravel())
            error = float(difference / np.linalg.norm(right.ravel()))
        if not error <= TOLERANCE:
            raise ValueError(
                f"WRONG: {name} is off by {error:.2g} (relative norm against float64; expected "
                f"at most {TOLERANCE:g})"
            )
        worst = max(worst, error)
    return worst


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, as soon as it comes back to Python."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ready after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
