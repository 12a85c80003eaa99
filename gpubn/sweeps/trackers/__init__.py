"""Finished cells, reported to TensorBoard or MLflow beside the store. Off unless asked for."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result

_NEEDS = {"tensorboard": ("tensorboardX", "tensorboardX"), "mlflow": ("mlflow", "MLflow")}
"""Tracker -> the module that it needs, and its title."""
_URI = {"tensorboard": "TENSORBOARD_LOGDIR", "mlflow": "MLFLOW_TRACKING_URI"}
"""Tracker -> the environment variable that says where, unless `tracker.uri` does."""


class Tracker(Protocol):
    """A place to report finished cells to."""

    def report(self, cell: Cell, result: Result) -> None:
        """Report a finished cell; nothing happens where the same result was reported before.

        Another result of the same cell, or a report that was killed, is replaced.

        Raises:
            StoreError: the tracker cannot be reached or written, or cannot tell rows of the cell
                apart; what it held is still there or will be replaced by the next report.
        """


class _Silent:
    def report(self, cell: Cell, result: Result) -> None:
        """Report nothing."""


def make_tracker(config: TrackerConfig, results: Path) -> Tracker:
    """Return the tracker of a configuration.

    Where no `uri` is configured the tracker's own environment variable says where, and where that
    is not set, `results`. Its package is looked for here, before any work, and imported with the
    first report.

    Raises:
        ConfigError: the package is not installed, or `results` has a name that MLflow cannot use.
    """
    if config.name == "none":
        return _Silent()
    module, title = _NEEDS[config.name]
    if find_spec(module) is None:
        raise ConfigError(
            f"tracker={config.name} needs {title}, which is not installed; "
            f"pip install 'gpubn[{config.name}]'"
        )
    uri = config.uri or os.environ.get(_URI[config.name])
    # Imported here: both draw, and what draws takes a second to import.
    if config.name == "tensorboard":
        from gpubn.sweeps.trackers.tensorboard import TensorBoard

        return TensorBoard(Path(uri).expanduser() if uri else results / "tensorboard")
    from gpubn.sweeps.trackers.mlflow import MLflow

    return MLflow(uri, results)


def check_run_names(config: TrackerConfig, cells: Iterable[Cell]) -> None:
    """Refuse cells of one sweep whose runs in MLflow would have the same name.

    Raises:
        ConfigError: two cells agree in the experiment's axes. TensorBoard names runs by their id.
    """
    if config.name != "mlflow":
        return
    named: dict[str, Cell] = {}
    for cell in cells:
        if named.setdefault(str(cell), cell).id != cell.id:
            raise ConfigError(
                f"tracker=mlflow would call two cells of this sweep {cell}; expected cells that "
                f"differ in {' or '.join(cell.axes) or 'their experiment'}, or tracker=tensorboard"
            )
