"""What is MLflow's own: what it cannot be told, and that it is said in one sentence."""

import pytest

from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError, StoreError
from gpubn.sweeps.trackers import make_tracker
from gpubn.sweeps.trackers.mlflow import _database

pytest.importorskip("mlflow", reason="MLflow is not installed (extra mlflow)")


def make(folder, uri=None):
    return make_tracker(TrackerConfig(name="mlflow", uri=uri), folder)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
@pytest.mark.parametrize("tracker", ["mlflow"], indirect=True, scope="module")
def test_a_deleted_experiment_is_one_sentence(tracker, cell, result):
    own, client = cell(name="recipe"), tracker.shown.client
    tracker.report(own, result())
    client.delete_experiment(client.get_experiment_by_name("recipe").experiment_id)
    with pytest.raises(StoreError, match=r"^the MLflow experiment recipe at [^\n]* is deleted;"):
        tracker.report(own, result())


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
@pytest.mark.parametrize("tracker", ["mlflow"], indirect=True, scope="module")
def test_the_environment_names_the_experiment(tracker, cell, result, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    tracker.report(cell(first_seed=11), result())
    client = tracker.shown.client
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.run_name == str(cell(first_seed=11))


def test_a_server_that_is_down_is_one_sentence(tmp_path, cell, result, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError) as caught:
        make(tmp_path, "http://user:secret@127.0.0.1:9").report(cell(), result())
    said = str(caught.value)
    assert said.startswith(f"{cell()} cannot be reported to MLflow at http://127.0.0.1:9 (")
    assert "secret" not in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_one_sentence_and_kept(tmp_path, cell, result, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("MLflow tries it again"))
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be reported to MLflow at [^\n]*$"):
        make(tmp_path).report(cell(), result())
    assert (tmp_path / "mlflow.db").read_bytes() == b"no database" * 1000
    (tmp_path / "folder" / "mlflow.db").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"^[^\n]* \(unable to open database file\); [^\n]*$"):
        make(tmp_path / "folder").report(cell(), result())


@pytest.mark.parametrize("name", ["50%20", "what?"])
def test_a_folder_that_no_uri_can_name(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^results is .*; expected a path without % and \?,"):
        make(tmp_path / name)


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite+pysqlite:////a/b c.db?timeout=9", "/a/b c.db"),
        ("sqlite:///x/y.db", "here/x/y.db"),
        ("sqlite:///:memory:", None),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_only_a_file_can_be_locked(uri, file, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert _database(uri) == (None if file is None else tmp_path / file)
