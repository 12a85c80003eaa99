"""Progress for a person: one live bar on a terminal, plain lines anywhere else."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, redirect_stderr
from typing import Self, TextIO, cast

from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

from gpubn.rows import Observation
from gpubn.sweeps.cells import Cell, Names

log = logging.getLogger(__name__)

_LINES_PER_SECOND = 2.0
_OWNER = "GPUBN_DISPLAY"
"""The environment variable with the id of the process whose display shows this sweep."""


# Not tqdm's logging_redirect_tqdm: that changes the handlers there are when the bar appears, and
# Hydra makes new ones with each job.
class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes log lines, above the bar if there is one, to a stream or else to stdout.

    In a job of a sweep that another process shows, only warnings come through: the job's own log
    file has the rest.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stdout)
        if shown_elsewhere():
            self.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Be silent where nobody reads any more (`| head`); the run goes on."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def shown_elsewhere() -> bool:
    """Return whether another process shows the progress of what this one does."""
    return os.environ.get(_OWNER, "") not in ("", str(os.getpid()))


class Display:
    """The progress of some cells; a context manager.

    Args:
        cells: those there are to do.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells, self._done, self._failed, self._note = len(cells), 0, 0, ""
        self._name = Names(cells)
        names = {cell.config.name for cell in cells}
        self._what = min(names) if len(names) == 1 else f"{len(names)} experiments"
        self._lock = threading.Lock()
        self._quiet = shown_elsewhere()
        self._owner = not os.environ.get(_OWNER)
        self._above_bar = ExitStack()
        self._started = self._last_line = time.perf_counter()
        self._bar = tqdm(
            total=sum(cell.experiment.work(cell.config) for cell in cells),
            desc=self._what,
            unit="step",
            unit_scale=True,
            smoothing=0.05,
            disable=self._quiet or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> Self:
        if self._owner:
            os.environ[_OWNER] = str(os.getpid())
        if not self._bar.disable:
            self._above_bar.enter_context(redirect_stderr(cast(TextIO, DummyTqdmFile(sys.stderr))))
        self._show()
        if self._bar.disable and not self._quiet:
            log.info("running %s: %d cell%s", self._what, self._cells, "s" * (self._cells > 1))
        return self

    def __exit__(self, *_: object) -> None:
        self._above_bar.close()
        self._bar.close()
        if self._owner:
            os.environ.pop(_OWNER, None)

    def tick(self, work: int) -> None:
        """Count so many units of work as done."""
        with self._lock:
            self._bar.update(work)

    def finished(self, cell: Cell, rows: Iterable[Observation], seconds: float) -> None:
        """Count a cell that was measured in so many seconds."""
        self._done += 1
        loss = last_loss(rows)
        self._note = "" if loss is None else f", loss {loss:.3g}"
        self._show()
        if self._bar.disable and not self._quiet:
            self._line(f"{self._name(cell)}: {seconds:.1f} s{self._note}")

    def failed(self, cell: Cell, sentence: str) -> None:
        """Count a cell that failed, and say why."""
        self._done += 1
        self._failed += 1
        level = logging.INFO if self._quiet else logging.WARNING
        log.log(level, "%s failed: %s", self._name(cell), sentence)
        self._show()

    def _show(self) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        text = f"{self._done}/{self._cells} cells{failed}{self._speed()}{self._note}"
        self._bar.set_postfix_str(text)

    def _speed(self) -> str:
        elapsed = time.perf_counter() - self._started
        return f", {self._done / elapsed:.3g} cells/s" if self._done > 1 and elapsed > 1 else ""

    def _line(self, text: str) -> None:
        """One line for a finished cell, but no flood: thousands of cells share some lines."""
        now = time.perf_counter()
        last = self._done == self._cells
        if self._done > 100 and now - self._last_line < 1 / _LINES_PER_SECOND and not last:
            return
        self._last_line = now
        left = self._left(now) if self._done > 1 and not last else ""
        log.info("%d/%d %s%s", self._done, self._cells, text, left)

    def _left(self, now: float) -> str:
        seconds = (now - self._started) / self._done * (self._cells - self._done)
        return f", about {tqdm.format_interval(round(seconds))} left" if seconds >= 10 else ""


def last_loss(rows: Iterable[Observation]) -> float | None:
    """Return the mean over the seeds of the last training loss; None where nothing was trained.

    That is the loss of the final evaluation, or else of the last mini-batches.
    """
    series: dict[str, dict[int, list[float]]] = {"train_loss": {}, "batch_loss": {}}
    for row in rows:
        if row.metric in series and row.seed is not None and row.step is not None:
            series[row.metric].setdefault(row.step, []).append(row.value)
    for by_step in series.values():
        if by_step:
            values = by_step[max(by_step)]
            return sum(value / len(values) for value in values)
    return None
