"""Cells whose rows are made by hand, trackers with a way to read them, and processes that report.

Of MLflow a new database takes a second, so there is one a module, and tests differ by their cells.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.config import Config, DataConfig, TrackerConfig
from gpubn.rows import Observation, per_seed
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import Result
from gpubn.sweeps.trackers import make_tracker


@pytest.fixture(scope="session")
def cell():
    """cell(seeds, ...): a cell of `mnist_init` on the digits; nothing of it is run."""

    def make(seeds=3, **other):
        config = {"name": "mnist_init", "data": DataConfig(name="digits"), **other}
        return Cell.of(Config(seeds=seeds, **config))

    return make


@pytest.fixture(scope="session")
def rows():
    """rows(seeds): a curve of the loss, one of two layers, final values, and what seeds pool."""

    def make(seeds=3, steps=(0, 10, 20)):
        rng = np.random.default_rng(0)
        made = []
        for step in steps:
            made += per_seed(range(seeds), "batch_loss", rng.uniform(size=seeds), step=step)
            for layer in (1, 2):
                norm = rng.uniform(size=seeds)
                made += per_seed(range(seeds), "gradient_norm", norm, step=step, layer=layer)
        made += per_seed(range(seeds), "test_accuracy", rng.uniform(size=seeds), step=steps[-1])
        made += per_seed(range(seeds), "steps_to_loss[0.5]", np.full(seeds, np.inf), step=steps[-1])
        return [*made, Observation(None, 0, 1, "post_activation_hist[+0.5]", 0.25)]

    return make


@pytest.fixture(scope="session")
def result(rows):
    """result(digest): a result of three seeds."""

    def make(digest="0123456789abcdef", of=None):
        return Result(rows() if of is None else of, {}, digest)

    return make


CHILD = """
import os, pathlib, signal, socket, sys

def die(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)

def refuse(*arguments, **keywords):
    print("NETWORK", arguments)
    raise OSError("no network is to be had")

socket.socket.connect = socket.getaddrinfo = refuse
name, root, reports = given
from gpubn.config import TrackerConfig
from gpubn.sweeps.trackers import make_tracker
{code}
told = make_tracker(TrackerConfig(name=name), root)
for cell, result in reports:
    told.report(cell, result)
"""


@pytest.fixture
def start(begin, tmp_path):
    """start(code, name, root, reports): a process that runs `code` and then makes the reports.

    It runs in a folder of its own, which nothing should be written to.
    """
    folder = tmp_path / "child"
    folder.mkdir()
    yield lambda code, *given: begin(CHILD.format(code=code), given, cwd=folder)
    assert list(folder.iterdir()) == []


class Board:
    """All that TensorBoard shows of a cell: by its rule, files with "tfevents" in their names.

    reports(cell) is a pair for every piece: the digest, "" where it is not complete, and what
    changes when it is written again.
    """

    convert = np.float32

    def __init__(self, root):
        self.folder = root / "tensorboard" / "mnist_init"

    def reports(self, cell):
        return [
            (path.suffix[1:] * ("tfevents" in path.name), path.stat().st_mtime_ns)
            for path in (self.folder / cell.id).iterdir()
        ]

    def read(self, cell):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams import metadata

        everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
        found = EventAccumulator(str(self.folder / cell.id), size_guidance=everything).Reload()
        # Of one cell: in its presence TensorBoard would look at no other cell's columns.
        assert metadata.EXPERIMENT_TAG not in found.Tags()["tensors"]
        (text,) = found.Tensors("cell/text_summary")
        content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        params = metadata.parse_session_start_info_plugin_data(content).hparams
        return SimpleNamespace(
            scalars={
                name: [(event.step, np.float32(event.value)) for event in found.Scalars(name)]
                for name in found.Tags()["scalars"]
            },
            image=found.Images("loss")[0].encoded_image_string,
            tables=text.tensor_proto.string_val[0].decode(),
            params={key: value.string_value or value.number_value for key, value in params.items()},
        )


class Runs:
    """All that MLflow shows of a cell: runs, found with its own client."""

    @staticmethod
    def convert(value):
        return value if np.isfinite(value) else np.nan

    def __init__(self, root):
        from mlflow.tracking import MlflowClient

        self.folder = root / "mlflow"
        self.client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")

    def of(self, cell):
        experiment = self.client.get_experiment_by_name(cell.config.name)
        found = [experiment.experiment_id]
        return self.client.search_runs(found, f"tags.`gpubn.cell` = '{cell.id}'")

    def reports(self, cell):
        return [
            (run.data.tags["gpubn.digest"] * (run.info.status == "FINISHED"), run.info.end_time)
            for run in self.of(cell)
        ]

    def read(self, cell):
        (run,) = self.of(cell)
        assert run.info.run_name == str(cell)
        folder = self.folder / cell.config.name / run.info.run_id / "artifacts"
        scalars = {}
        for name in run.data.metrics:
            history = self.client.get_metric_history(run.info.run_id, name)
            scalars[name] = sorted((metric.step, metric.value) for metric in history)
        return SimpleNamespace(
            scalars=scalars,
            image=(folder / "loss.png").read_bytes(),
            tables=(folder / "cell.md").read_text("utf-8"),
            params=run.data.params,
        )


@pytest.fixture(scope="module", params=["tensorboard", "mlflow"])
def tracker(request, tmp_path_factory):
    """A tracker of results in `root`, its `name`, and what it shows."""
    name, root = request.param, tmp_path_factory.mktemp("results")
    for package in ("tensorboardX", "tensorboard") if name == "tensorboard" else ("mlflow",):
        pytest.importorskip(package, reason=f"{package} is not installed (extra {name})")
    see = Board if name == "tensorboard" else Runs
    told = make_tracker(TrackerConfig(name=name), root)
    return SimpleNamespace(name=name, root=root, report=told.report, see=see, shown=see(root))
