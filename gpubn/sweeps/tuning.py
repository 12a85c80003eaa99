"""Tuning as a stage of a grid: each arm finds its rate on seeds of its own, and is held at it."""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from gpubn.config import TuningConfig
from gpubn.errors import ConfigError
from gpubn.files import git_revision, sha256, write_atomic
from gpubn.report.tables import provenance_path
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, distinguishing_keys
from gpubn.vectorized.launcher import limits

log = logging.getLogger(__name__)

_RATE = "optim.rate"


@dataclass(frozen=True)
class Arm:
    """The cells of a grid that differ in their rate alone, two or more, the smallest first."""

    cells: tuple[Cell, ...]

    @property
    def tuning(self) -> TuningConfig:
        """The keys by which the arm finds its rate."""
        return self.cells[0].config.tuning

    @cached_property
    def trials(self) -> tuple[Cell, ...]:
        """The same cells on the seeds of tuning."""
        seeds, first = self.tuning.seeds, self.tuning.first_seed
        configs = (
            replace(cell.config, seeds=seeds, first_seed=first, tuning=TuningConfig())
            for cell in self.cells
        )
        return tuple(Cell.of(config) for config in configs)

    @property
    def overrides(self) -> list[str]:
        """The overrides that make a trial of a cell of the arm, behind those that make the cell."""
        seeds = f"seeds={self.tuning.seeds}", f"first_seed={self.tuning.first_seed}"
        return [*seeds, "tuning.seeds=0"]


@dataclass(frozen=True)
class TunedArm:
    """An arm with the mean of its metric at each rate."""

    arm: Arm
    means: tuple[float, ...]

    @property
    def index(self) -> int:
        """The place of the rate with the smallest mean, of equal ones the smallest rate."""
        return self.means.index(min(self.means))

    @property
    def held(self) -> Cell:
        """The cell of that rate, on the seeds of the grid."""
        return self.arm.cells[self.index]

    @property
    def at_edge(self) -> bool:
        """True where a smaller or a larger rate than any of the grid might have been better."""
        return self.index in (0, len(self.means) - 1)


@dataclass(frozen=True)
class Stages:
    """The two stages of a grid: `plain` cells and the trials of all arms, then those held.

    Attributes:
        plain: cells that tune nothing, or have no other rate to choose from.
    """

    plain: list[Cell]
    arms: list[Arm]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "Stages":
        """Return the stages of a grid."""
        plain: list[Cell] = []
        groups: dict[str, dict[float, Cell]] = {}
        for cell in cells:
            rate = cell.settings.get(_RATE)
            if cell.config.tuning.seeds == 0 or rate is None:
                plain.append(cell)
            else:
                groups.setdefault(_arm(cell), {})[rate] = cell
        plain += [cell for group in groups.values() if len(group) == 1 for cell in group.values()]
        several = (group for group in groups.values() if len(group) > 1)
        return cls(plain, [Arm(tuple(group[rate] for rate in sorted(group))) for group in several])

    def part(self, part: tuple[int, int]) -> "Stages":
        """Return part i of n, in which an arm is whole or is not."""
        plain, arms = (slice(*limits(len(some), part)) for some in (self.plain, self.arms))
        return Stages(self.plain[plain], self.arms[arms])

    @property
    def first(self) -> list[Cell]:
        """The cells of the first stage, arm by arm."""
        trials = {trial.id: trial for arm in self.arms for trial in arm.trials}
        return [*self.plain, *trials.values()]

    def tuned(self, kept: Mapping[str, Kept]) -> list[TunedArm]:
        """Return those arms of which all trials are finished.

        Raises:
            ConfigError: its experiment does not record the metric.
        """
        done = (arm for arm in self.arms if all(trial.id in kept for trial in arm.trials))
        return [
            TunedArm(arm, tuple(_mean(trial, arm, kept) for trial in arm.trials)) for arm in done
        ]


def _arm(cell: Cell) -> str:
    """Return all that tells the arm of a cell from others."""
    settings = {key: value for key, value in cell.settings.items() if key != _RATE}
    axes = {column: cell.axes[column] for column in _other_axes(cell)}
    return json.dumps([cell.config.name, axes, settings, astuple(cell.config.tuning)])


def _other_axes(cell: Cell) -> list[str]:
    return [column for column, key in cell.experiment.axes.items() if key != _RATE]


def _mean(trial: Cell, arm: Arm, kept: Mapping[str, Kept]) -> float:
    ends, metric = kept[trial.id].ends, arm.tuning.metric
    if metric not in ends:
        known = ", ".join(ends) or "no tuning"
        raise ConfigError(f"tuning.metric is {metric!r}; expected {known} for {trial.config.name}")
    return ends[metric]


def write_tuning(
    folder: Path, name: str, tuned: Sequence[TunedArm], kept: Mapping[str, Kept]
) -> None:
    """Write `<name>_tuning.csv`: each arm and rate, its mean, and which one was chosen.

    `at_edge` is 1 where the chosen rate is the smallest or the largest of its arm. Beside it stands
    what it was made from. Nothing is written where that is the same, or no arm is tuned.
    """
    if not tuned:
        return
    cells = [cell for one in tuned for cell in one.arm.cells]
    axes = _other_axes(cells[0])
    keys = [key for key in distinguishing_keys(cells) if key != _RATE]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*axes, *keys, "rate", "metric", "mean", "seeds", "chosen", "at_edge"])
    for one in tuned:
        tuning = one.arm.tuning
        for index, (cell, mean) in enumerate(zip(one.arm.cells, one.means, strict=True)):
            settings, chosen = cell.settings, index == one.index
            place = [cell.axes[column] for column in axes] + [settings[key] for key in keys]
            end = [f"{mean:.7g}", tuning.seeds, int(chosen), int(chosen and one.at_edge)]
            table.writerow([*place, settings[_RATE], tuning.metric, *end])
    path, data = folder / f"{name}_tuning.csv", out.getvalue().encode()
    trials = [trial for one in tuned for trial in one.arm.trials]
    made_from = {trial.id: kept[trial.id].digest for trial in trials}
    if not _is_current(path, data, made_from):
        document = {
            "sha256": sha256(data),
            "experiment": cells[0].config.name,
            "revision": git_revision(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "made_from": made_from,
        }
        write_atomic(path, data)
        write_atomic(provenance_path(path), (json.dumps(document, indent=1) + "\n").encode())
    edge = sum(one.at_edge for one in tuned)
    log.info("rates: %s (%d of %d arms at the edge of their rates)", path, edge, len(tuned))


def _is_current(path: Path, data: bytes, made_from: Mapping[str, str]) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(provenance_path(path).read_bytes())
        return bool(path.read_bytes() == data and document["made_from"] == made_from)
    return False
