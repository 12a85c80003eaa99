"""The state of the sweeps of a results folder: finished, running, failed and missing cells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from gpubn.backend import cores
from gpubn.errors import ConfigError
from gpubn.experiments import names
from gpubn.rows import Failure
from gpubn.sweeps.cells import Cell, Names
from gpubn.sweeps.collect import Kept
from gpubn.sweeps.plans import read_plans
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.store.leases import Holder, holder
from gpubn.sweeps.tuning import Stages


@dataclass
class State:
    """The cells of one sweep, by what is known of them.

    Attributes:
        name: what to call a cell among the others.
        arms: how many there are to be tuned, `tuned` of them so far. One that is not counts as a
            missing cell beside the cells that tune it.
        seconds_left: of one process, judged by the finished cells; None where none is finished.
    """

    title: str
    experiments: set[str]
    name: Callable[[Cell], str]
    done: int = 0
    missing: int = 0
    running: list[tuple[Cell, Holder]] = field(default_factory=list)
    failed: list[tuple[Cell, Failure]] = field(default_factory=list)
    arms: int = 0
    tuned: int = 0
    seconds_left: float | None = None

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.done + self.missing + len(self.running) + len(self.failed)


def inspect(title: str, cells: Sequence[Cell], store: CellStore) -> State:
    """Look at the store for every cell of a sweep."""
    stages = Stages.of(cells)
    names = Names([*stages.first, *cells] if stages.arms else cells)
    state = State(title, {cell.config.name for cell in cells}, names, arms=len(stages.arms))
    seconds, measured, left = 0.0, 0, 0
    kept: dict[str, Kept] = {}

    def look(cell: Cell) -> None:
        nonlocal seconds, measured, left
        work = cell.experiment.work(cell.config)
        if (result := store.load(cell)) is not None:
            kept[cell.id] = Kept.of(result)
            state.done += 1
            seconds += result.provenance["seconds"]
            measured += work
        elif (who := holder(store, cell)) is not None:
            state.running.append((cell, who))
            left += work
        elif (failure := store.failure(cell)) is not None:
            state.failed.append((cell, failure))
        else:
            state.missing += 1
            left += work

    for cell in stages.first:
        look(cell)
    held = _held(stages, kept)
    for cell in held:
        look(cell)
    state.tuned = len(held)
    waiting = len(stages.arms) - state.tuned
    state.missing += waiting
    if waiting:
        cell = stages.arms[0].cells[0]
        left += waiting * cell.experiment.work(cell.config)
    if measured:
        state.seconds_left = seconds / measured * left
    return state


def _held(stages: Stages, kept: Mapping[str, Kept]) -> list[Cell]:
    with suppress(ConfigError):  # of a metric that is not recorded the sweep itself says so
        return [arm.held for arm in stages.tuned(kept)]
    return []


def _title(overrides: Sequence[str]) -> str:
    """A sweep in a line: of many values only the first and the last."""
    shown = []
    for override in overrides:
        key, _, values = override.partition("=")
        parts = values.split(",")
        few = values if len(parts) <= 8 else f"{parts[0]},...,{parts[-1]} ({len(parts)} values)"
        shown.append(f"{key}={few}")
    return " ".join(shown)


def inspect_all(results: Path) -> list[State]:
    """The state of every sweep that was begun in a results folder."""
    store = CellStore(results / "cells")
    plans = {  # one sweep has several, where other folders were searched for it
        (*plan.overrides, *(cell.id for cell in plan.cells)): plan
        for plan in read_plans(results / "plans")
    }
    return [inspect(_title(plan.overrides), plan.cells, store) for plan in plans.values()]


def report(states: Sequence[State], store: CellStore) -> Iterator[str]:
    """The lines that a person reads."""
    if not states:
        yield "no sweep was begun here"
        return
    yield f"{'done':>11} {'running':>8} {'failed':>7} {'missing':>8} {'left':>9}  sweep"
    for state in states:
        counts = f"{f'{state.done}/{state.cells}':>11} {len(state.running):>8} "
        counts += f"{len(state.failed):>7} {state.missing:>8} {_left(state):>9}"
        yield f"{counts}  {state.title}"
        if state.arms:
            yield f"{'':>13}tuning: {state.tuned} of {state.arms} arms have found their rate"
        for who in sorted({str(who) for _, who in state.running}):
            yield f"{'':>13}running: {who}"
        for cell, failure in state.failed:
            yield f"{'':>13}failed: {state.name(cell)}: {failure.sentence}"
            yield f"{'':>13}        traceback in {store.failure_path(cell)}"
    begun = {name for state in states for name in state.experiments}
    rest = [name for name in names() if name not in begun]
    if rest:
        yield f"not begun: {', '.join(rest)}"
    if any(state.failed for state in states):
        yield "retry_failed=true runs what failed again; a sweep goes past it otherwise"


def _left(state: State) -> str:
    if not state.missing and not state.running:
        return "-"
    if state.seconds_left is None:
        return "unknown"
    return f"~{tqdm.format_interval(round(state.seconds_left / cores()))}"
