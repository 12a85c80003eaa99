"""`scripts/verify.py`: what was committed is reproduced, or named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpubn import backend
from gpubn.sweeps.pipeline import make_tables

ROOT = Path(__file__).resolve().parents[2]
TINY = ["seeds=2", "model.depth=2", "model.width=6", "data.examples=12"]


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A small table of signal_propagation, as if it were committed."""
    results = tmp_path_factory.mktemp("committed")
    make_tables(
        {"signal_propagation": ["experiment=signal_propagation", *TINY]},
        results,
        backend.resolve("numpy"),
    )
    return results


def verify(results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    options = [*more, *(part for o in TINY for part in ("--override", o))]
    options += ["--backend", "numpy", "--results", str(results)]
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "verify.py", "signal_propagation", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_numbers_are_reproduced(committed, tmp_path):
    report = tmp_path / "report.csv"
    done = verify(committed, "--report", str(report))
    assert done.returncode == 0, done.stderr
    head, *rows = report.read_text().splitlines()
    assert head.startswith("table,metric,compared,worst,")
    assert rows
    assert all(row.startswith("signal_propagation") and row.endswith(",1") for row in rows)
    assert json.loads(report.with_suffix(".json").read_text())["backend"] == "numpy"
    assert "weight_grad_var " in done.stdout
    assert "100.0%" in done.stdout
    assert "reproduced: " in done.stdout


def test_a_changed_number_is_named(committed, tmp_path):
    table = committed / "tables" / "signal_propagation.csv"
    lines = table.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if ",signal_var," in line)
    lines[row] = lines[row].rsplit(",", 1)[0] + ",123"
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "signal_propagation.csv").write_text("\n".join(lines) + "\n")
    pooled = committed / "tables" / "signal_propagation_pooled.csv"
    (tmp_path / "tables" / pooled.name).write_bytes(pooled.read_bytes())
    done = verify(tmp_path)
    assert done.returncode == 1
    assert "signal_propagation:signal_var differ" in done.stderr
    assert "DIFFERS" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_missing_table_is_named(tmp_path):
    done = verify(tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "tables" / "signal_propagation.csv") in done.stderr
    assert "Traceback" not in done.stderr
