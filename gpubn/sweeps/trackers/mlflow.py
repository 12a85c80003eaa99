"""Reports to MLflow: one experiment an experiment, one run a cell.

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
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from gpubn.errors import ConfigError, GpubnError, StoreError
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.lock import locked
from gpubn.sweeps.trackers.page import loss_png, tables

CELL, DIGEST = "gpubn.cell", "gpubn.digest"
"""Tags of a run: the cell and the result that it reports."""
_METRICS, _PARAMS = 1000, 100
"""As many as MLflow takes in one call."""
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
        with self._alone():
            with self._explained(cell):
                self._check_file()
                experiment = self._experiment(cell.config.name)
                runs = self._client.search_runs([experiment], f"tags.`{CELL}` = '{cell.id}'")
            if len(runs) == 1 and _is_whole(runs[0], result.digest):
                return
            facts = Facts.of(cell, result.rows)
            png = loss_png(cell, facts)
            with self._explained(cell):
                for run in runs:
                    self._client.delete_run(run.info.run_id)
                self._write(experiment, cell, result.digest, facts, png)

    def _alone(self) -> AbstractContextManager[None]:
        # MLflow makes and migrates the tables of a new SQLite file without a lock of its own: of
        # two processes that begin at once, one dies on a table that exists.
        if self.database is None:
            return nullcontext()
        return locked(self.database.with_name(f"{self.database.name}.lock"))

    def _check_file(self) -> None:
        # MLflow would try to open what cannot be opened for minutes.
        if self.database is not None:
            with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
                connection.execute("begin immediate")

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
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def _experiment(self, name: str) -> str:
        """The id of the MLflow experiment called `name`, made where there is none."""
        found = self._client.get_experiment_by_name(name) or self._make_experiment(name)
        if found.lifecycle_stage != "active":
            raise StoreError(
                _without_password(
                    f"the MLflow experiment {name} at {self.uri} is deleted; expected one that is "
                    f"not: run `mlflow experiments restore -x {found.experiment_id}`, or "
                    "`mlflow gc`"
                )
            )
        known: str = found.experiment_id
        return known

    def _make_experiment(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        # A server knows where its artifacts go; for a file MLflow would take the folder that the
        # process happens to run in.
        place = None if self.database is None else self.database.with_name("mlflow") / name
        try:
            self._client.create_experiment(name, place and place.as_uri())
        except MlflowException:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found  # another process was first
        return self._client.get_experiment_by_name(name)

    def _write(
        self, experiment: str, cell: Cell, digest: str, facts: Facts, png: bytes | None
    ) -> None:
        from mlflow.entities import Metric, Param

        client = self._client
        tags = {CELL: cell.id, DIGEST: digest}
        run = client.create_run(experiment, run_name=str(cell), tags=tags).info.run_id
        params = [Param(key, str(value)) for key, value in facts.params.items()]
        for at in range(0, len(params), _PARAMS):
            client.log_batch(run, params=params[at : at + _PARAMS])
        now = int(time.time() * 1000)
        metrics = [Metric(name, _known(value), now, step) for name, step, value in facts.scalars()]
        for at in range(0, len(metrics), _METRICS):
            client.log_batch(run, metrics=metrics[at : at + _METRICS])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "cell.md").write_text(tables(facts), encoding="utf-8")
            if png is not None:
                Path(folder, "loss.png").write_bytes(png)
            client.log_artifacts(run, folder)
        client.set_terminated(run)


def _is_whole(run: Any, digest: str) -> bool:
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
    """The file of an SQLite URI; None for a server, or for SQLite in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(found[1]).resolve() if found and found[1] != ":memory:" else None
