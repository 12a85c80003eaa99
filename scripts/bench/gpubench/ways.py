"""Two ways to start batch norm of any package: called from Python, and replayed as graphs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from gpubench.clock import Contestant, Rotation, Site, calls_for, sentence
from gpubench.contest import check

GROUP = 128
"""Calls of one captured graph at most."""


class Norm(Protocol):
    """Batch norm in one package, on sets of inputs of its own."""

    def run(self, i: int) -> Any:
        """Enqueue forward and backward of set i; running statistics follow."""

    def host(self, out: Any) -> dict[str, np.ndarray]:
        """y, dx, dgamma and dbeta of what `run` returned."""

    def running(self) -> dict[str, np.ndarray]:
        """The running mean and var."""

    def reset(self) -> None:
        """Put the running statistics back to 0 and 1, and NaN where outputs will be allocated."""

    def wait(self, out: Any) -> None:
        """Wait, where the clock does not see the stream."""

    def capture(self, indices: Sequence[int]) -> tuple[Callable[[], None], Any]:
        """Capture `run` of these sets; return the replay, and where it writes for the first set."""

    def poison(self, out: Any) -> None:
        """Overwrite what a replay must write."""


class Shared:
    """Made once, for both ways of launching; who failed in one is not tried in the other."""

    def __init__(self, make: Callable[[], Norm]) -> None:
        self._make, self._failed = make, ""
        self._norm: Norm | None = None

    def __enter__(self) -> Norm:
        if self._failed:
            raise RuntimeError(f"failed before: {self._failed}")
        if self._norm is None:
            try:
                self._norm = self._make()
            except Exception as error:
                self._failed = sentence(error)
                raise
        return self._norm

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if error is not None:
            self._failed, self._norm = sentence(error), None


def launched(
    name: str, shared: Shared, expected: dict[str, np.ndarray], sets: int, site: Site
) -> Contestant:
    """Called from Python, one set after another."""
    with shared as norm:
        return _launched(name, norm, expected, sets, site)


def _launched(
    name: str, norm: Norm, expected: dict[str, np.ndarray], sets: int, site: Site
) -> Contestant:
    norm.wait(norm.run(sets - 1))
    norm.reset()
    out = norm.run(0)
    norm.wait(out)
    error = check({**norm.host(out), **norm.running()}, expected)
    rotation = Rotation(sets)

    def sample(calls: int) -> Any:
        out = None
        for i in rotation.take(calls):
            out = norm.run(i)
        return out

    trial = min(5, sets)
    norm.wait(sample(trial))
    took = site.clock.seconds(partial(sample, trial), norm.wait) / trial
    calls = calls_for(took, sets)
    return Contestant(name, partial(sample, calls), calls, norm.wait, error)


def captured(
    name: str, shared: Shared, expected: dict[str, np.ndarray], sets: int, site: Site
) -> Contestant:
    """Replayed as graphs, each of which goes through as many sets."""
    with shared as norm:
        return _captured(name, norm, expected, sets, site)


def _captured(
    name: str, norm: Norm, expected: dict[str, np.ndarray], sets: int, site: Site
) -> Contestant:
    groups = list(_groups(sets))
    first, out = norm.capture(groups[0])
    norm.poison(out)
    first()
    site.wait()
    error = check(norm.host(out), expected)
    replays = [first, *(norm.capture(group)[0] for group in groups[1:])]
    rotation = Rotation(len(replays))

    def sample() -> None:
        for i in rotation.take(1):
            replays[i]()

    return Contestant(name, sample, len(groups[0]), norm.wait, error, keep=(norm, out))


def _groups(sets: int) -> Iterator[range]:
    size = min(sets, GROUP)
    for start in range(0, sets, size):
        yield range(start, start + size)
