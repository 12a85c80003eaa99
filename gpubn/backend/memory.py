"""Device memory: how many replicas run at once, and what happens when they were too many."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from gpubn.backend.device import CudaDevice
from gpubn.errors import BackendError

log = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")
Tick = Callable[[int], None]
Work = Callable[[Sequence[S], Tick], T]
Halve = Callable[[Sequence[S]], Sequence[Sequence[S]]]

SHARE = 0.8
"""Of the free memory; the rest is for what an estimate leaves out: kernels, libraries."""


def equal_chunk(replicas: int, bytes_each: int, free: int) -> int:
    """Replicas to run at once, so that the chunks are as few and as equal as fit into memory."""
    fit = max(1, int(SHARE * free) // max(bytes_each, 1))
    chunks = max(1, -(-replicas // fit))
    size = max(1, -(-replicas // chunks))
    log.info(
        "%d replicas at some %.1f MB each, %.1f GB free: %d at once, in %d chunk%s",
        *(replicas, bytes_each / 1e6, free / 1e9, size, chunks, "" if chunks == 1 else "s"),
    )
    return size


def halves(items: Sequence[S]) -> Sequence[Sequence[S]]:
    """The items in two halves, or as they are where there is only one."""
    middle = -(-len(items) // 2)
    return [part for part in (items[:middle], items[middle:]) if len(part)]


def run_or_halve(
    work: Work[S, T], group: Sequence[S], tick: Tick, halve: Halve[S], device: CudaDevice
) -> list[T]:
    """Run `work(group, tick)`; where memory runs out, its halves one after the other.

    Results of other groups are not touched. Work that was reported before memory ran out is not
    reported again.

    Raises:
        BackendError: a group that cannot be halved does not fit.
    """
    reported = 0

    def counted(n: int) -> None:
        nonlocal reported
        reported += n
        tick(n)

    try:
        return [work(group, counted)]
    except Exception as error:
        if not device.is_out_of_memory(error):
            raise
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
    # Only here, when the exception is gone with all that its frames held, is there memory again.
    device.free_cached()
    parts = halve(group)
    if len(parts) < 2:
        raise BackendError(f"one replica does not fit into the device's memory ({said})")
    log.warning("out of memory (%s): going on in two halves", said)
    owed = reported

    def rest(n: int) -> None:
        nonlocal owed
        paid = min(owed, n)
        owed -= paid
        if n > paid:
            tick(n - paid)

    return [result for part in parts for result in run_or_halve(work, part, rest, halve, device)]
