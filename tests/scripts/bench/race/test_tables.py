"""Rows, what is decided from them, and what is drawn from them; all numbers here are made up."""

import csv
import json
import math
from dataclasses import replace

import pytest
from race import targets
from race.batchnorm import SHAPES
from race.figures import draw_all
from race.timings import BATCHNORM, COLUMNS, TRAINING, Timing, read_timings, write_timings

COPY = 3e12
LABELS = ["x".join(map(str, shape)) for shape in SHAPES]
PEERS = {"PyTorch eager": 2.0, "torch.compile": 1.5, "JAX jit": 1.3}


def made_up(who, launch, shape, ratio):
    numbers = math.prod(map(int, shape.split("x")))
    seconds = 20 * numbers / (0.9 * COPY) * (ratio or 1.0)
    return Timing(
        *("batchnorm", shape, who, launch),
        **{"seconds": seconds, "low": 0.97 * seconds, "high": 1.05 * seconds},
        **{"ratio": ratio, "ratio_min": ratio and 0.8 * ratio, "ratio_max": ratio and 1.3 * ratio},
        rounds=50,
        bytes=20 * numbers,
        copy_share=20 * numbers / COPY / seconds,
        copy_rate=COPY,
        far=int(shape == "65536x1024"),
        device="a made-up device",
    )


@pytest.fixture
def batchnorm():
    entrants = [(who, launch) for who in ("gpubn", *PEERS) for launch in ("python", "graph")]
    entrants.remove(("JAX jit", "graph"))
    return [
        made_up(who, launch, shape, PEERS.get(who)) for shape in LABELS for who, launch in entrants
    ]


@pytest.fixture
def training():
    def row(work, who, launch, seconds, ratio=None, networks=1):
        place = (work, "784-128-10, 1500 steps of 32", who, launch, networks)
        times = {"seconds": seconds, "low": 0.98 * seconds, "high": 1.03 * seconds}
        return Timing(*place, **times, ratio=ratio, rounds=50, device="a made-up device")

    return [
        row("training", "gpubn", "train", 0.06),
        row("training", "PyTorch eager", "python", 0.6, 10.0),
        row("training", "PyTorch eager", "graph", 0.07, 1.17),
        row("training", "JAX jit", "scan", 0.09, 1.5),
        row("networks", "gpubn", "train", 0.0017, None, 256),
        row("networks", "PyTorch eager", "python", 0.6, 353.0),
        replace(row("grid", "gpubn", "process", 58.0), rounds=1),
    ]


def store(folder, name, table):
    write_timings(folder / name, table, {})


def test_a_table_is_written_and_read(tmp_path, batchnorm):
    path = tmp_path / "new" / "gpu_batchnorm.csv"
    assert read_timings(path).empty
    missing = Timing("batchnorm", "8x4", "JAX jit", "python", note='ImportError: "x", gone')
    write_timings(path, [missing, replace(batchnorm[0], seconds=0.125)], {"device": "none"})
    table = read_timings(path)
    assert list(table) == COLUMNS
    assert table["note"][0] == missing.note
    assert table["seconds"].isna().tolist() == [True, False]
    assert table["seconds"][1] == 0.125
    assert json.loads(path.with_suffix(".json").read_text()) == {"device": "none"}


def decided(folder):
    found = {t.target.split(": ", 1)[-1]: t for t in targets.decide(folder)}
    lines = list(csv.DictReader((folder / targets.TARGETS).read_text().splitlines()))
    assert [line["met"] for line in lines] == [t.met for t in found.values()]
    return found


def test_targets_are_decided_from_the_tables(tmp_path, batchnorm, training):
    store(tmp_path, BATCHNORM, batchnorm)
    store(tmp_path, TRAINING, training)
    found = decided(tmp_path)
    assert len(found) == 12
    missed = {name: target.met for name, target in found.items() if target.met != "yes"}
    assert missed == {
        "PyTorch eager over ours, both captured, geometric mean": "",
        "torch.compile over ours, both captured, geometric mean": "",
        "one network: PyTorch captured over ours": "no",
    }
    mean = found["PyTorch eager over ours, geometric mean"]
    assert mean.measured == "2 (9 of 9 shapes)"


def test_a_mean_over_some_shapes_only_is_incomplete(tmp_path, batchnorm):
    table = [row for row in batchnorm if row.shape != "32x128"]
    for row in table:
        if row.who == "JAX jit":
            row.seconds = row.ratio = None
        elif (row.who, row.shape) == ("PyTorch eager", "256x512"):
            row.ratio = 0.9
    store(tmp_path, BATCHNORM, table)
    found = decided(tmp_path)
    assert found["JAX jit over ours, geometric mean"].met == "not measured"
    assert found["torch.compile over ours, geometric mean"].met == "incomplete"
    never = found["never slower than PyTorch eager, at every shape"]
    assert (never.met, never.measured) == ("no", "0.9 at 256x512, the least (8 of 9 shapes)")
    assert found["the whole default grid, seconds"].met == "not measured"


def test_figures_are_drawn_from_the_tables_where_there_are_times(tmp_path, batchnorm, training):
    store(tmp_path, TRAINING, [replace(row, seconds=None) for row in training])
    assert draw_all(tmp_path) == []
    store(tmp_path, BATCHNORM, batchnorm)
    store(tmp_path, TRAINING, training)
    assert sorted(path.name for path in draw_all(tmp_path)) == [
        f"gpu_{name}.{kind}" for name in ("batchnorm", "training") for kind in ("png", "svg")
    ]
