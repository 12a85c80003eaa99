"""`scripts/bench/cpu.py` in small, without peers; how fast anything is, is not tested."""

import csv
import json
import os
import subprocess
import sys
from argparse import Namespace

import cpu
import pytest
from race import host
from race.cpu_targets import CPU_TARGETS, decide
from race.timings import (
    ARRAYS,
    CPU_BATCHNORM,
    CPU_TRAINING,
    EAGER,
    JAX,
    OURS,
    Timing,
    write_timings,
)
from race.training import TrainingWork, random_images

from gpubn.backend import resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.errors import ArgumentError
from gpubn.nn.model import build_mlp
from tests.scripts.sweeping import load_script

TINY = TrainingWork(random_images(64, 12, 3), steps=2, width=8, batch=4)


def table(folder, name):
    return list(csv.DictReader((folder / name).read_text().splitlines()))


@pytest.fixture
def tiny(monkeypatch):
    """All works in small, and no peer."""
    monkeypatch.setattr(cpu, "SHAPES", ((8, 4), (2, 4, 8)))
    monkeypatch.setattr(cpu, "SHALLOW", ((1, 2), (3, 1)))
    monkeypatch.setattr(cpu, "DEEP", ((2, 1),))
    monkeypatch.setattr(cpu, "WIDTHS", (6,))
    monkeypatch.setattr(cpu, "mnist_or_random", lambda: TINY.data)
    monkeypatch.setattr(host, "_ROUND_SECONDS", 0.0)
    for missing in ("race.pytorch", "race.jax_jit"):
        monkeypatch.setitem(sys.modules, missing, None)


def test_rows_of_all_parts_by_cores_and_peers_that_are_missing_a_reason(tiny, tmp_path):
    options = Namespace(steps=2, rounds=2, repeats=2)
    cpu.measure(options, tmp_path / "1")
    for name in (CPU_TRAINING, CPU_BATCHNORM):  # as on a machine with so many cores
        text = (tmp_path / "1" / name).with_suffix(".json").read_text()
        rows = [Timing("batchnorm", "8x4", OURS, "python", seconds=1.0, cores=64)]
        write_timings(tmp_path / "64" / name, rows, json.loads(text))
    cpu.merge([tmp_path / count for count in ("1", "64", "never run")], tmp_path)
    for name, works in ((CPU_TRAINING, 2 * 3 + 2), (CPU_BATCHNORM, 2)):
        *rows, last = table(tmp_path, name)
        assert (last["cores"], last["seconds"]) == ("64", "1")
        assert len(rows) == 5 * works
        for row in rows:
            assert row["cores"] == str(resolve("numpy").workers)
            if row["who"] in (OURS, ARRAYS):
                assert float(row["seconds"]) > 0, row["note"]
                assert float(row["limit_share"]) > 0
            else:
                assert "ModuleNotFoundError" in row["note"]
        facts = json.loads((tmp_path / name).with_suffix(".json").read_text())
        assert {"cpu", "versions", "data", "steps", "revision"} <= facts.keys()
        assert {"blas", "started", "load_at_start"} <= facts["on_cores"]["64"].keys()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity of CPUs")
def test_a_process_has_as_many_cores_as_it_is_measured_on():
    show = "import os; print(len(os.sched_getaffinity(0)), os.environ.get('XLA_FLAGS', ''))"
    before = os.sched_getaffinity(0)
    with cpu.only_cores(1) as environment:
        shown = subprocess.check_output([sys.executable, "-c", show], env=environment, text=True)
    assert shown.split()[0] == "1"
    assert "intra_op_parallelism_threads=1" in shown
    assert os.sched_getaffinity(0) == before


def test_more_cores_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cpu.py", "--cores", "100000"])
    with pytest.raises(ArgumentError, match=r"^--cores is \[100000\]"):
        cpu.main()


@pytest.mark.parametrize("norm", ["none", "before"])
def test_what_a_training_costs_at_any_depth(norm):
    work = TrainingWork(TINY.data, steps=2, networks=2, width=8, batch=4, depth=3, norm=norm)
    model = build_mlp(
        *(ModelConfig(depth=3, width=8), NormConfig(name=norm, placement=norm), InitConfig()),
        **{"features": 12, "classes": 3, "seeds": [0], "backend": resolve("numpy")},
        dtype="float32",
    )
    numbers = sum(array.size for layer in model.layers for array in layer.params.values())
    assert work.parameters == numbers == sum(array[0].size for array in work.start.values())
    products = 2 * 12 * 8 + 3 * (8 * 8 + 8 * 8 + 8 * 3)
    assert work.columns["flops"] == 2 * 2 * 4 * products
    assert work.columns["bytes"] == 2 * 4 * (2 * numbers + 4 * 12)
    assert work.columns["shape"] == "2 networks 12-3x8-3, 2 steps of 4, random images"
    assert work.columns["model"] == f"tanh, norm {norm}"


def tables(folder):
    """One training of two on one core, all kernels on both; nothing by JAX on all cores."""
    trained = [Timing("networks", "s", OURS, "train", seconds=1.0, model="tanh", cores=1)]
    trained += [
        Timing("networks", "s", who, "scan", ratio=ratio, model="tanh", cores=1, seconds=ratio)
        for who, ratio in ((JAX, 0.9), (EAGER, 5.0))
    ]
    kernels = [
        Timing("batchnorm", shape, EAGER, "python", ratio=ratio, cores=cores)
        for cores in (1, 2)
        for shape, ratio in (("8x4", 2.0 * cores), ("4x8", 1.0 * cores))
    ]
    write_timings(folder / CPU_TRAINING, trained, {"cpu": "a CPU", "numpy": "2", "versions": {}})
    write_timings(folder / CPU_BATCHNORM, kernels, {})


def test_targets_are_decided_from_the_tables(tmp_path):
    tables(tmp_path)
    decide(tmp_path, {CPU_TRAINING: 2, CPU_BATCHNORM: 2})
    found = {row["target"]: row for row in table(tmp_path, CPU_TARGETS)}
    kernels = f"batchnorm on %s: {EAGER} over ours, %s"
    assert found[kernels % ("one core", "each")]["met"] == "yes"
    assert found[kernels % ("one core", "geometric mean")]["met"] == "no"
    assert found[kernels % ("all cores", "geometric mean")]["measured"] == "2.83 (2 of 2 works)"
    trainings = f"training on %s: {JAX} over ours, %s"
    each = found[trainings % ("one core", "each")]
    assert (each["met"], each["measured"]) == ("no", "0.9 at s, tanh, the least (1 of 2 works)")
    assert found[trainings % ("one core", "geometric mean")]["met"] == "incomplete"
    assert found[trainings % ("all cores", "each")]["met"] == "not measured"


def test_the_readme_shows_targets_and_works(tmp_path):
    folder = tmp_path / "benchmarks"
    tables(folder)
    readme = load_script("readme")
    assert readme.generated("benchmarks", tmp_path) == "The CPU path has not been timed yet.\n"
    decide(folder, {CPU_TRAINING: 2, CPU_BATCHNORM: 2})
    said = readme.generated("benchmarks", tmp_path).splitlines()
    assert "| s, tanh | 1e+03 ms | - | 0.9 | 5 | - | - |" in said
    assert "| batchnorm 4x8 | - | - | - | 1 | - | - |" in said  # on one core
