"""Which tracker a configuration gets, and that none is paid for before it is used."""

import pytest

import gpubn.sweeps.trackers as tracking
from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError


@pytest.mark.parametrize(("name", "title"), [("tensorboard", "tensorboardX"), ("mlflow", "MLflow")])
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, name, title):
    monkeypatch.setattr(tracking, "find_spec", lambda module: None)
    with pytest.raises(ConfigError) as caught:
        tracking.make_tracker(TrackerConfig(name=name), tmp_path)
    assert str(caught.value) == (
        f"tracker={name} needs {title}, which is not installed; pip install '.[{name}]'"
    )
    assert list(tmp_path.iterdir()) == []


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
    process = start(code, "none", tmp_path / "results")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "[]\n[]\n")
    assert not (tmp_path / "results").exists()


def test_cells_of_one_run_name_are_refused_in_one_sentence(cell):
    alike = [cell(seeds=2), cell(seeds=3)]
    with pytest.raises(ConfigError) as caught:
        tracking.check_run_names(TrackerConfig(name="mlflow"), alike)
    assert str(caught.value) == (
        f"tracker=mlflow would call two cells of this sweep {alike[0]}; expected cells that differ "
        f"in {' or '.join(alike[0].axes)}, or tracker=tensorboard"
    )
    tracking.check_run_names(TrackerConfig(name="mlflow"), [alike[0], alike[0]])
    tracking.check_run_names(TrackerConfig(name="tensorboard"), alike)  # named by their ids
    tracking.check_run_names(TrackerConfig(), alike)
