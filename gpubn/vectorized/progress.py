"""What a sweep says of itself: how many jobs are done now and then, and at the end which failed."""

import logging
import time
from datetime import timedelta

from hydra.core.utils import JobReturn, JobStatus

log = logging.getLogger(__name__)

_FIRST = 2.0
"""Seconds before anything is said; later lines come at a twentieth of the time that went by."""
_SHOWN = 10
"""Failures that are listed at most."""


class Progress:
    """Counts the jobs of a sweep.

    Args:
        jobs: how many there are.
        before: how many of them were done before it began.
    """

    def __init__(self, jobs: int, before: int = 0) -> None:
        self._jobs, self._before, self._done = jobs, before, before
        self._failures: list[str] = []
        self._began = self._said = time.monotonic()

    def add(self, name: str, done: JobReturn) -> None:
        """Count a job that came to its end."""
        self._done += 1
        if done.status == JobStatus.FAILED:
            error = done._return_value
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._failures.append(f"{name}: {text}")
        now = time.monotonic()
        elapsed = now - self._began
        if now - self._said >= max(_FIRST, elapsed / 20) and self._done < self._jobs:
            self._said = now
            per_job = elapsed / (self._done - self._before)
            left = timedelta(seconds=round(per_job * (self._jobs - self._done)))
            log.info("%s, about %s left", self._state(), left)

    def end(self) -> None:
        """Say what became of the sweep, and which jobs failed."""
        log.info("%s", self._state())
        for failure in self._failures[:_SHOWN]:
            log.warning("failed: %s", failure)
        if (more := len(self._failures) - _SHOWN) > 0:
            log.warning("failed: %d more", more)

    def _state(self) -> str:
        parts = [f"{self._done} of {self._jobs} jobs are done"]
        parts += [f"{self._before} were before"] * bool(self._before)
        parts += [f"{len(self._failures)} of them failed"] * bool(self._failures)
        return ", ".join(parts)
