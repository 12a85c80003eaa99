"""`scripts/bench/cpu.py` runs end to end; what it measures is not tested."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--steps", "5", "--rounds", "2", "--repeats", "2"]


def bench(results: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench" / "cpu.py", "--results", results, *TINY],
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_tables_name_the_peer_beside_ours(tmp_path):
    pytest.importorskip("torch", reason="PyTorch, the peer, is not installed")
    done = bench(tmp_path)
    assert done.returncode == 0, done.stderr
    for name, count in (("cpu_training", 2), ("cpu_batchnorm", 5)):
        path = tmp_path / "benchmarks" / f"{name}.csv"
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len(rows) == count
        for row in rows:
            assert float(row["ours_seconds"]) > 0
            assert float(row["peer_seconds"]) > 0
            low, ratio, high = (float(row[k]) for k in ("ratio_min", "ratio", "ratio_max"))
            assert low <= ratio <= high
        facts = json.loads(path.with_suffix(".json").read_text())
        assert {"device", "numpy", "torch", "threads"} <= facts.keys()


def test_without_the_peer_the_error_says_how_to_get_it(tmp_path, without):
    done = without("torch", script="cpu.py", arguments=["--results", tmp_path])
    assert done.returncode == 1
    assert done.stderr.startswith("error: PyTorch")
    assert "pip install torch" in done.stderr
