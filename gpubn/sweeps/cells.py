"""A cell: one fully resolved point of a grid, with an id that is the same wherever it runs."""

import dataclasses
import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gpubn.config import Config
from gpubn.experiments import Experiment, get
from gpubn.files import sha256

RUN_OPTIONS = ("backend", "tracker", "results", "force", "retry_failed")
"""Keys of the configuration that say how a cell is run; they change no number."""
GRID_OPTIONS = ("tuning",)
"""Keys that say what becomes of a grid; the cells that come of it are the same without them."""
_LABELS = {"name"}
"""Labels of the configuration's groups name a choice; they change no number."""


@dataclass(frozen=True)
class Cell:
    """One point of an experiment's grid.

    Attributes:
        config: its configuration, validated.
        axes: the experiment's axis columns and their values in this cell.
    """

    config: Config
    axes: dict[str, str]

    @classmethod
    def of(cls, config: Config) -> "Cell":
        """Return the cell of a validated configuration."""
        axes = {column: str(_at(config, key)) for column, key in get(config.name).axes.items()}
        return cls(config, axes)

    @property
    def experiment(self) -> Experiment:
        """The experiment that this cell belongs to."""
        return get(self.config.name)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that changes a number, seeds included, and the labels of the axes."""
        keys = {key: _plain(_at(self.config, key)) for key in self.experiment.keys}
        return {"experiment": self.config.name, "axes": self.axes, "config": keys}

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration in `identity` as one dictionary: {"optim.rate": 0.1, ...}."""
        return flat(self.identity["config"])

    @cached_property
    def id(self) -> str:
        """Short hash of the canonical form of `identity`."""
        canonical = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode())[:12]

    def __str__(self) -> str:
        axes = ", ".join(f"{column}={value}" for column, value in self.axes.items())
        return f"{self.config.name} ({axes})"


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return value
    return {key: v for key, v in vars(value).items() if key not in _LABELS}


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one with dotted keys."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = value
    return out


def differing_keys(
    cells: Iterable[Cell], group: Callable[[Cell], Hashable]
) -> dict[Hashable, list[str]]:
    """Return, for each group of cells, the keys of the configuration in which they differ."""
    first: dict[Hashable, dict[str, Any]] = {}
    differing: dict[Hashable, set[str]] = {}
    for cell in cells:
        settings = cell.settings
        reference = first.setdefault(name := group(cell), settings)
        differing.setdefault(name, set()).update(
            key for key, value in settings.items() if reference[key] != value
        )
    return {name: [key for key in first[name] if key in keys] for name, keys in differing.items()}


class Names:
    """The names of some cells: their axes, and the keys that tell a cell from its namesakes."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._keys = differing_keys(cells, str)

    def __call__(self, cell: Cell) -> str:
        """Return the name of one of them."""
        keys = self._keys.get(str(cell), ())
        settings = cell.settings if keys else {}
        extra = [f"{key}={settings[key]}" for key in keys]
        return f"{str(cell)[:-1]}, {', '.join(extra)})" if extra else str(cell)
