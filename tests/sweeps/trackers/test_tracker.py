"""Which tracker a configuration gets, and that none is paid for before it is used."""

import pytest

import gpubn.sweeps.trackers as tracking
from gpubn.config import TrackerConfig
from gpubn.errors import ConfigError


def test_none_does_nothing(tmp_path, cell, result):
    tracking.tracker(TrackerConfig(), tmp_path).report(cell(), result())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "title"), [("tensorboard", "tensorboardX"), ("mlflow", "MLflow")])
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, name, title):
    monkeypatch.setattr(tracking, "find_spec", lambda module: None)
    with pytest.raises(ConfigError) as caught:
        tracking.tracker(TrackerConfig(name=name), tmp_path)
    assert str(caught.value) == (
        f"tracker={name} needs {title}, which is not installed; pip install '.[{name}]'"
    )
    assert list(tmp_path.iterdir()) == []


def test_packages_are_imported_with_the_first_report(tmp_path, start):
    code = """
tracking = sys.modules["gpubn.sweeps.trackers"]
tracking.find_spec = lambda module: module  # as if both were installed
tracker(TrackerConfig(), root)
print([m for m in ("matplotlib", "pandas") if m in sys.modules])
for each in ("tensorboard", "mlflow"):
    tracker(TrackerConfig(name=each), root)
print([m for m in ("mlflow", "tensorboardX") if m in sys.modules])
"""
    process = start(code, "none", tmp_path / "results")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "[]\n[]\n")
    assert not (tmp_path / "results").exists()
