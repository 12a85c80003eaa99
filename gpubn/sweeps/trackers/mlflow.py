"""Reports to MLflow: one experiment an experiment, or MLFLOW_EXPERIMENT_NAME; one run a cell.

Without a tracking URI the store is an SQLite file, `mlflow.db` in the results folder, with the
figures below `mlflow` beside it; `mlflow ui --backend-store-uri sqlite:///results/mlflow.db`
shows it.
"""

import math
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from gpubn.errors import ConfigError, GpubnError, StoreError
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.lock import locked
from gpubn.sweeps.trackers.page import loss_png, tables

_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
CELL, DIGEST = "gpubn.cell", "gpubn.digest"
"""Tags of a run: the cell and the result that it reports."""
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # By default a server that is down holds every cell up for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's own settings, where the environment has none: no telemetry, no chatter."""


class MLflow:
    """The tracker of `tracker=mlflow`; `uri` is a tracking URI, a local SQLite file where None."""

    def __init__(self, uri: str | None, results: Path) -> None:
        """Reach nothing yet. A folder whose name a URI cannot hold raises ConfigError."""
        self.uri = uri or _default(results)
        self.database = _database(self.uri)

    def report(self, cell: Cell, result: Result) -> None:
        """Write the cell's run, unless there is one of this result; see `Tracker.report`.

        A server gives no lock: two processes that report one cell to it at the same time can
        replace each other's run.
        """
        # MLflow makes and migrates the tables of a new SQLite file without a lock of its own: of
        # two processes that begin at once, one dies on a table that exists.
        file = self.database
        with locked(file.with_name(f"{file.name}.lock")) if file is not None else nullcontext():
            with self._explained(cell):
                if file is not None:  # what cannot be opened MLflow would try to open for minutes
                    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                        connection.execute("begin immediate")
                experiment = self._experiment(os.environ.get(_EXPERIMENT) or cell.config.name)
                runs = self._client.search_runs([experiment], f"tags.`{CELL}` = '{cell.id}'")
            if len(runs) == 1 and _is_complete(runs[0], result.digest):
                return
            facts = Facts.of(cell, result.rows)
            png = loss_png(cell, facts)
            with self._explained(cell):
                for run in runs:
                    self._client.delete_run(run.info.run_id)
                self._write(experiment, cell, result.digest, facts, png)

    @contextmanager
    def _explained(self, cell: Cell) -> Iterator[None]:
        """Turn whatever MLflow, SQLAlchemy, or the network raises into one sentence."""
        try:
            yield
        except GpubnError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise StoreError(
                _without_password(
                    f"{cell} cannot be reported to MLflow at {self.uri} ({reason}); expected a "
                    "server that answers, or a file in a folder that can be written"
                )
            ) from error

    @cached_property
    def _client(self) -> Any:
        """The client, and not the functions of `mlflow` itself.

        Those keep the URI and the run in progress in this process and its environment, where a
        caller may have a run in progress, and write a point a call.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def _experiment(self, name: str) -> str:
        """Return the id of the MLflow experiment called `name`, made where there is none."""
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            # A server knows where its artifacts go; for a file MLflow would take the folder that
            # the process happens to run in.
            place = None if self.database is None else self.database.with_name("mlflow") / name
            try:
                self._client.create_experiment(name, place and place.as_uri())
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise  # else another process was first
            experiment = self._client.get_experiment_by_name(name)
        if experiment.lifecycle_stage != "active":
            raise StoreError(
                _without_password(
                    f"the MLflow experiment {name} at {self.uri} is deleted; expected one that is "
                    f"not: run `mlflow experiments restore -x {experiment.experiment_id}`, or "
                    "`mlflow gc`"
                )
            )
        return str(experiment.experiment_id)

    def _write(
        self, experiment: str, cell: Cell, digest: str, facts: Facts, png: bytes | None
    ) -> None:
        from mlflow.entities import Metric, Param

        tags = {CELL: cell.id, DIGEST: digest}
        run = self._client.create_run(experiment, run_name=str(cell), tags=tags).info.run_id
        now = int(time.time() * 1000)
        self._client.log_batch(
            run,
            [Metric(name, _known(value), now, step) for name, step, value in facts.scalars()],
            [Param(key, str(value)) for key, value in facts.params.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "cell.md").write_text(tables(facts), encoding="utf-8")
            if png is not None:
                Path(folder, "loss.png").write_bytes(png)
            self._client.log_artifacts(run, folder)
        self._client.set_terminated(run)


def _is_complete(run: Any, digest: str) -> bool:
    return run.info.status == "FINISHED" and run.data.tags.get(DIGEST) == digest


def _known(value: float) -> float:
    # MLflow keeps NaN, but writes infinity as the largest number, as if that had been measured.
    return value if math.isfinite(value) else math.nan


def _without_password(text: str) -> str:
    return re.sub(r"//[^/\s]+@", "//", text)


def _default(results: Path) -> str:
    file = results.resolve() / "mlflow.db"
    if set("%?") & set(str(file)):
        raise ConfigError(
            f"results is {str(results)!r}; expected a path without % and ?, which mean something "
            "else in MLflow's tracking URI"
        )
    return f"sqlite:///{file}"


def _database(uri: str) -> Path | None:
    """Return the file of an SQLite URI; None for a server, or for SQLite in memory."""
    sqlite = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(sqlite[1]).resolve() if sqlite and sqlite[1] != ":memory:" else None
