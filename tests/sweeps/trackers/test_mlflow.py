"""Runs, read back with MLflow's own client."""

import signal

import numpy as np
import pytest

from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError, StoreError
from gpubn.rows import per_seed
from gpubn.sweeps.trackers import make_tracker
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.mlflow import _database
from gpubn.sweeps.trackers.page import loss_png, tables

pytest.importorskip("mlflow", reason="MLflow is not installed (extra mlflow)")
# MLflow's own models, as SQLAlchemy 2.1 sees them; nothing that a caller of it could do otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The results of this module: a new database takes a second, so tests differ by their cells."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def told(root):
    return make_tracker(TrackerConfig(name="mlflow"), root)


@pytest.fixture(scope="module")
def client(root):
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture
def runs(client):
    """runs(cell): those that MLflow shows for it."""

    def find(cell, client=client):
        experiment = client.get_experiment_by_name(cell.config.name)
        return client.search_runs([experiment.experiment_id], f"tags.`gpubn.cell` = '{cell.id}'")

    return find


def test_what_is_written_can_be_read_back(root, told, client, runs, cell, result):
    told.report(cell(), result())
    (run,) = runs(cell())
    facts = Facts.of(cell(), result().rows)
    assert (run.info.status, run.info.run_name) == ("FINISHED", str(cell()))
    assert run.data.tags["gpubn.digest"] == result().digest
    assert run.data.params == {key: str(value) for key, value in facts.params.items()}
    scalars = [s for s in facts.scalars() if np.isfinite(s.value)]
    for name in {scalar.name for scalar in scalars}:
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted((m.step, m.value) for m in history) == sorted(
            (step, value) for n, step, value in scalars if n == name
        )
    assert np.isnan(run.data.metrics["final/steps_to_loss 0.5"])
    folder = root / "mlflow" / "mnist_init" / run.info.run_id / "artifacts"
    assert (folder / "loss.png").read_bytes() == loss_png(cell(), facts)
    assert (folder / "cell.md").read_text("utf-8") == tables(facts)


def test_more_points_than_one_call_takes_and_a_diverged_seed(told, client, runs, cell, result):
    own, values = cell(first_seed=1), np.arange(3)
    rows = [r for step in range(400) for r in per_seed(range(3), "a", values + step, step=step)]
    for step, bad in enumerate((np.nan, np.inf, -np.inf)):
        rows += per_seed(range(2), "b", np.array([1.0, bad]), step=step)
    told.report(own, result(of=rows))
    (run,) = runs(own)
    history = client.get_metric_history(run.info.run_id, "a/mean")
    assert sorted((m.step, m.value) for m in history) == [(s, s + 1.0) for s in range(400)]
    lost = client.get_metric_history(run.info.run_id, "b/mean")
    np.testing.assert_equal(
        sorted((m.step, m.value) for m in lost), [(s, np.nan) for s in (0, 1, 2)]
    )


def test_the_same_result_is_one_run_and_another_takes_its_place(root, told, runs, cell, result):
    own = cell(first_seed=3)
    told.report(own, result("a"))
    (run,) = runs(own)
    told.report(own, result("a"))
    make_tracker(TrackerConfig(name="mlflow"), root).report(own, result("a"))
    (again,) = runs(own)
    assert again.info.run_id == run.info.run_id
    assert again.info.end_time == run.info.end_time
    told.report(own, result("b"))
    (other,) = runs(own)
    assert other.data.tags["gpubn.digest"] == "b"


def test_killed(root, start, told, client, runs, cell, result):
    own = cell(first_seed=5)
    told.report(cell(first_seed=6), result())
    code = "from mlflow.tracking import MlflowClient; MlflowClient.log_artifacts = die"
    process = start(code, "mlflow", root, [(own, result())])
    assert process.wait(timeout=60) == -signal.SIGKILL
    (half,) = runs(own)
    assert half.info.status == "RUNNING"
    assert half.data.tags["gpubn.digest"] == result().digest
    told.report(own, result())
    (run,) = runs(own)
    assert (run.info.status, len(client.list_artifacts(run.info.run_id))) == ("FINISHED", 2)
    assert len(runs(cell(first_seed=6))) == 1


def test_two_processes_begin_at_once(tmp_path, start, runs, cell, result):
    """On a new database, in a folder of an awkward name, silently and without a network."""
    from mlflow.tracking import MlflowClient

    root = tmp_path / "a b ü#"
    reports = [(cell(), result()), (cell(2), result())]
    both = [start("", "mlflow", root, order) for order in (reports, reports[::-1])]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    for own in (cell(), cell(2)):
        (run,) = runs(own, client)
        assert run.info.status == "FINISHED"
        assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["cell.md", "loss.png"]
    assert sorted(path.name for path in root.iterdir()) == ["mlflow", "mlflow.db", "mlflow.db.lock"]
    assert len(list((root / "mlflow" / "mnist_init").iterdir())) == 2


def test_a_deleted_experiment_is_one_sentence(told, client, cell, result):
    own = cell(name="recipe")
    told.report(own, result())
    client.delete_experiment(client.get_experiment_by_name("recipe").experiment_id)
    with pytest.raises(StoreError, match=r"^the MLflow experiment recipe at [^\n]* is deleted;"):
        told.report(own, result())


def test_a_server_that_is_down_is_one_sentence(tmp_path, cell, result, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # The discard port, where nothing listens.
    config = TrackerConfig(name="mlflow", uri="http://me:secret@127.0.0.1:9")
    with pytest.raises(StoreError) as caught:
        make_tracker(config, tmp_path).report(cell(), result())
    said = str(caught.value)
    assert said.startswith(f"{cell()} cannot be reported to MLflow at http://127.0.0.1:9 (")
    assert "secret" not in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_one_sentence(tmp_path, cell, result):
    (tmp_path / "results").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be locked \([^\n]*$"):
        make_tracker(TrackerConfig(name="mlflow"), tmp_path / "results").report(cell(), result())


def test_a_damaged_database_is_one_sentence_and_kept(tmp_path, cell, result, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("MLflow tries it again"))
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be reported to MLflow at [^\n]*$"):
        make_tracker(TrackerConfig(name="mlflow"), tmp_path).report(cell(), result())
    assert (tmp_path / "mlflow.db").read_bytes() == b"no database" * 1000
    (tmp_path / "folder" / "mlflow.db").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"^[^\n]* \(unable to open database file\); [^\n]*$"):
        make_tracker(TrackerConfig(name="mlflow"), tmp_path / "folder").report(cell(), result())


@pytest.mark.parametrize("name", ["50%20", "what?"])
def test_a_folder_that_no_uri_can_name(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^results is .*; expected a path without % and \?,"):
        make_tracker(TrackerConfig(name="mlflow"), tmp_path / name)


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite+pysqlite:////a/b c.db?timeout=9", "/a/b c.db"),
        ("sqlite:///x/y.db", "here/x/y.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_only_a_file_can_be_locked(uri, file, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert _database(uri) == (None if file is None else tmp_path / file)
