"""Reports to TensorBoard: one event file a cell, below `<root>/<experiment>/<cell id>`.

`tensorboard --logdir results/tensorboard` shows them.

The file carries the digest of the result in its name and appears there in one step. It is written
by records rather than by tensorboardX's SummaryWriter, which starts a thread and holds memory
until the process ends for every cell, and changes names that have a space.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpubn.files import cannot_write
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.lock import locked
from gpubn.sweeps.trackers.page import loss_png, tables

_EVENTS = "events.out.tfevents"
"""TensorBoard reads each file that has "tfevents" in its name, in hidden folders too."""
_UNFINISHED = ".unfinished"


class TensorBoard:
    """The tracker of `tracker=tensorboard`; `root` is the folder to start TensorBoard on."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def report(self, cell: Cell, result: Result) -> None:
        """Write the cell's event file, unless it stands there; see `Tracker.report`."""
        folder = self.root / cell.config.name / cell.id
        if _is_reported(folder, result.digest):
            return
        facts = Facts.of(cell, result.rows)
        summaries = [*_pages(facts, loss_png(cell, facts)), *_scalars(facts)]
        with locked(self.root / ".lock"):
            if _is_reported(folder, result.digest):  # by another process meanwhile
                return
            try:
                _write(folder, result.digest, summaries)
            except OSError as error:
                raise cannot_write(folder, error) from error


def _is_reported(folder: Path, digest: str) -> bool:
    names = [path.name for path in folder.glob(f"{_EVENTS}*")]
    return len(names) == 1 and names[0].endswith(f".{digest}")


def _write(folder: Path, digest: str, summaries: Iterable[tuple[int, Any]]) -> None:
    """Write the event file under another name, then put it in the place of any before it."""
    from tensorboardX import RecordWriter
    from tensorboardX.proto.event_pb2 import Event

    now = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / _UNFINISHED  # what a killed process left there is overwritten
    writer = RecordWriter(str(unfinished))
    try:
        writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for step, summary in summaries:
            event = Event(wall_time=now, step=step, summary=summary)
            writer.write(event.SerializeToString())
        writer.flush()
    finally:
        writer.close()
    for old in folder.glob(f"{_EVENTS}*"):
        old.unlink()
    # The time comes first: a TensorBoard that is running goes on with the file of the last name.
    unfinished.rename(folder / f"{_EVENTS}.{int(now)}.{digest}")


def _pages(facts: Facts, png: bytes | None) -> Iterator[tuple[int, Any]]:
    """Yield (step, summary): hyperparameters, tables, charts with intervals, the figure."""
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import custom_scalars, hparams, text

    # Without the first part, a list of all columns: TensorBoard would take that of one cell for
    # all, where it otherwise puts together those of all cells.
    _, start, end = hparams(facts.params, {})
    yield 0, start
    yield 0, end
    yield 0, text("cell", tables(facts))
    charts = {
        name: ["Margin", [f"{name}/mean", f"{name}/low", f"{name}/high"]] for name in facts.curves
    }
    if charts:
        yield 0, custom_scalars({"mean and 95% interval": charts})
    if png is not None:
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # its header
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        yield 0, Summary(value=[Summary.Value(tag="loss", image=image)])


def _scalars(facts: Facts) -> Iterator[tuple[int, Any]]:
    """Yield (step, summary) of all that was measured at a step, in single precision."""
    from tensorboardX.proto.summary_pb2 import Summary

    by_step: dict[int, list[Any]] = defaultdict(list)
    for name, step, value in facts.scalars():
        by_step[step].append(Summary.Value(tag=name, simple_value=value))
    for step, values in sorted(by_step.items()):
        yield step, Summary(value=values)
