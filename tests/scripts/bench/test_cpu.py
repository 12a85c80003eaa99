"""`scripts/bench/cpu.py` runs end to end in small; what it measures is not tested."""

import csv
import json
import sys

import cpu
import pytest
from race.timings import EAGER, OURS, Timing
from race.training import random_images

from gpubn.errors import GpubnError


def test_both_tables_name_the_peer_beside_ours(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch, the peer, is not installed")
    monkeypatch.setattr(cpu, "SHAPES", ((8, 4), (4, 8)))
    monkeypatch.setattr(cpu, "mnist_or_random", lambda: random_images(64, 12, 3))
    tiny = ["--steps", "5", "--rounds", "2", "--repeats", "2", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["cpu.py", *tiny])
    cpu.main()
    for name in ("cpu_training", "cpu_batchnorm"):
        path = tmp_path / "benchmarks" / f"{name}.csv"
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len(rows) == 2
        for row in rows:
            assert min(float(row["ours_seconds"]), float(row["peer_seconds"])) > 0
            assert float(row["ratio_min"]) <= float(row["ratio"]) <= float(row["ratio_max"])
        facts = json.loads(path.with_suffix(".json").read_text())
        assert {"device", "numpy", "torch", "threads"} <= facts.keys()


def test_seconds_are_of_all_networks_and_a_time_that_is_missing_is_said():
    ours = Timing("training", "s", OURS, "train", seconds=0.5, rounds=3)
    peer = Timing("training", "s", EAGER, "python", seconds=1.0)
    peer.ratio, peer.ratio_min, peer.ratio_max = 2.0, 1.5, 2.5
    row = cpu._beside_torch([ours, peer], 10)
    assert [row[f"{who}_seconds"] for who in ("ours", "peer")] == ["5", "10"]
    assert [row["ratio"], row["ratio_min"], row["ratio_max"]] == ["2", "1.5", "2.5"]
    peer.seconds, peer.note = None, "WRONG"
    with pytest.raises(GpubnError, match=rf"training by {EAGER} gave no time \(WRONG\)"):
        cpu._beside_torch([ours, peer])


def test_without_the_peer_the_error_says_how_to_get_it(tmp_path, without):
    done = without("torch", script="cpu.py", arguments=["--results", tmp_path])
    assert done.returncode == 1
    assert done.stderr.startswith("error: PyTorch")
    assert "pip install torch" in done.stderr
