"""What every tracker does with a report, read back with its own reader."""

import contextlib
import signal

import numpy as np
import pytest
from filelock import FileLock, Timeout

import gpubn.sweeps.trackers as tracking
from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError, StoreError
from gpubn.rows import per_seed
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.lock import locked
from gpubn.sweeps.trackers.page import loss_png, tables

# MLflow's own models, as SQLAlchemy 2.1 sees them; nothing that a caller of it could do otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def test_what_is_written_can_be_read_back(tracker, cell, rows, result):
    """More points than one call of MLflow's takes, and seeds that diverged."""
    made, values = rows(), np.arange(3)
    for step in range(400):
        made += per_seed(range(3), "a", values + step, step=step)
    for step, bad in enumerate((np.nan, np.inf, -np.inf)):
        made += per_seed(range(2), "b", np.array([1.0, bad]), step=step)
    tracker.report(cell(), result(of=made))
    facts, found = Facts.of(cell(), made), tracker.shown.read(cell())
    expected = {}
    for name, step, value in facts.scalars():
        expected.setdefault(name, []).append((step, tracker.see.convert(value)))
    np.testing.assert_equal(found.scalars, expected)
    assert found.image == loss_png(cell(), facts)
    assert found.tables == tables(facts)
    assert {"init": "glorot", "optim.rate": "0.1"}.items() <= {
        key: str(value) for key, value in found.params.items()
    }.items()


def test_the_same_result_is_reported_once_and_another_takes_its_place(tracker, cell, result):
    own, other = cell(first_seed=3), cell(first_seed=4)
    tracker.report(own, result("a"))
    tracker.report(other, result("a"))
    before = tracker.shown.reports(own)
    assert [digest for digest, _ in before] == ["a"]
    tracker.report(own, result("a"))
    tracking.make_tracker(TrackerConfig(name=tracker.name), tracker.root).report(own, result("a"))
    assert tracker.shown.reports(own) == before
    tracker.report(own, result("b"))
    assert [digest for digest, _ in tracker.shown.reports(own)] == ["b"]
    assert [digest for digest, _ in tracker.shown.reports(other)] == ["a"]


VARIABLES = {
    "tensorboard": lambda folder: ("TENSORBOARD_LOGDIR", folder / "tensorboard"),
    "mlflow": lambda folder: ("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}"),
}


def test_the_environment_says_where_unless_the_configuration_does(
    tracker, tmp_path, cell, result, monkeypatch
):
    """A second MLflow database would take seconds: the one that there is plays both parts."""
    own = cell(first_seed=7)
    variable, place = VARIABLES[tracker.name](tracker.root)
    monkeypatch.setenv(variable, str(place))
    tracking.make_tracker(TrackerConfig(name=tracker.name), tmp_path).report(own, result("e"))
    assert [digest for digest, _ in tracker.shown.reports(own)] == ["e"]
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    configured = TrackerConfig(name=tracker.name, uri=str(place))
    tracking.make_tracker(configured, tmp_path).report(own, result("f"))
    assert [digest for digest, _ in tracker.shown.reports(own)] == ["f"]
    assert list(tmp_path.iterdir()) == []


DIES = {
    "half way through the records": (
        "tensorboard",
        5,
        "import tensorboardX as x; x.RecordWriter.write = "
        "lambda self, data, left=list(range(5)): self._writer.write(data) if left.pop() else die()",
    ),
    "before it gets its name": ("tensorboard", 6, "pathlib.Path.rename = die"),
    "before its files": (
        "mlflow",
        7,
        "from mlflow.tracking import MlflowClient; MlflowClient.log_artifacts = die",
    ),
}


@pytest.mark.parametrize(
    ("tracker", "seed", "code"), DIES.values(), ids=DIES, indirect=["tracker"], scope="module"
)
def test_what_a_killed_process_left_is_no_report_and_is_replaced(
    tracker, seed, code, start, cell, result
):
    own = cell(first_seed=seed)
    tracker.report(cell(first_seed=9), result())
    process = start(code, tracker.name, tracker.root, [(own, result())])
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert [digest for digest, _ in tracker.shown.reports(own)] == [""]
    tracker.report(own, result())
    assert [digest for digest, _ in tracker.shown.reports(own)] == [result().digest]
    facts = Facts.of(own, result().rows)
    assert set(tracker.shown.read(own).scalars) == {name for name, *_ in facts.scalars()}
    assert len(tracker.shown.reports(cell(first_seed=9))) == 1


def test_two_processes_begin_at_once(tracker, tmp_path, start, cell, result):
    """On nothing, in a folder of an awkward name, silently and without a network."""
    root = tmp_path / "a b ü#"
    reports = [(cell(), result()), (cell(2), result())]
    both = [start("", tracker.name, root, order) for order in (reports, reports[::-1])]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
    shown = tracker.see(root)
    for own in (cell(), cell(2)):
        assert [digest for digest, _ in shown.reports(own)] == [result().digest]
        assert shown.read(own).image
    files = {"mlflow": ["mlflow", "mlflow.db", "mlflow.db.lock"]}.get(tracker.name, [tracker.name])
    assert sorted(path.name for path in root.iterdir()) == files


def test_no_room_is_one_sentence(tracker, tmp_path, cell, result):
    (tmp_path / "results").write_bytes(b"")
    told = tracking.make_tracker(TrackerConfig(name=tracker.name), tmp_path / "results")
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be locked \([^\n]*$"):
        told.report(cell(), result())


def test_one_holds_a_lock_at_a_time_whatever_happens(tmp_path):
    path = tmp_path / "new" / "lock"
    with contextlib.suppress(KeyError), locked(path):
        with pytest.raises(Timeout):
            FileLock(path).acquire(timeout=0)
        raise KeyError
    with locked(path):
        pass


# Which one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "title"), [("tensorboard", "tensorboardX"), ("mlflow", "MLflow")])
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, name, title):
    monkeypatch.setattr(tracking, "find_spec", lambda module: None)
    with pytest.raises(ConfigError) as caught:
        tracking.make_tracker(TrackerConfig(name=name), tmp_path)
    assert str(caught.value) == (
        f"tracker={name} needs {title}, which is not installed; pip install 'gpubn[{name}]'"
    )


def test_packages_are_imported_with_the_first_report(tmp_path, start):
    code = """
tracking = sys.modules["gpubn.sweeps.trackers"]
tracking.find_spec = lambda module: module  # as if both were installed
make_tracker(TrackerConfig(), root)
print([m for m in ("matplotlib", "pandas") if m in sys.modules])
for each in ("tensorboard", "mlflow"):
    make_tracker(TrackerConfig(name=each), root)
print([m for m in ("mlflow", "tensorboardX") if m in sys.modules])
"""
    out, _ = start(code, "none", tmp_path / "results", []).communicate(timeout=60)
    assert out == "[]\n[]\n"
    assert not (tmp_path / "results").exists()


def test_cells_of_one_run_name_are_refused_in_one_sentence(cell):
    alike = [cell(seeds=2), cell(seeds=3)]
    with pytest.raises(ConfigError, match=r"would call two cells of this sweep mnist_init \(data="):
        tracking.check_run_names(TrackerConfig(name="mlflow"), alike)
    tracking.check_run_names(TrackerConfig(name="mlflow"), [alike[0], alike[0]])
    tracking.check_run_names(TrackerConfig(name="tensorboard"), alike)  # named by their ids
    tracking.check_run_names(TrackerConfig(), alike)
