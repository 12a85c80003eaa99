"""The rows of an experiment that its tables hold."""

from pathlib import Path

import pytest

from gpubn import experiments
from gpubn.experiments import tabulated as declared
from gpubn.experiments.tabulated import LAST, PARTS, Part, tabulated
from gpubn.report.tables import read_table
from gpubn.rows import Observation

TABLES = Path(__file__).parents[2] / "results" / "tables"
ROWS = [
    Observation(0, step, layer, metric, 1.0)
    for step in (0, 5, 10)
    for layer in (1, 2)
    for metric in ("loss", "hist[+0.5]", "hist[+1]")
]


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (Part(("loss",), {}, (), ()), {("loss", s, n) for s in (0, 5, 10) for n in (1, 2)}),
        (Part(("loss",), {}, (0, LAST), (2,)), {("loss", 0, 2), ("loss", 10, 2)}),
        (Part(("loss",), {}, (5,), (LAST,)), {("loss", 5, 2)}),
        (Part(("hist",), {}, (5,), (1,)), {("hist[+0.5]", 5, 1), ("hist[+1]", 5, 1)}),
        (Part(("hist[+1]",), {"norm": ["after"]}, (5,), (1,)), {("hist[+1]", 5, 1)}),
        (Part(("loss",), {"norm": ["none", "before"]}, (), ()), set()),
    ],
)
def test_a_part_takes_the_rows_it_names(part, kept, monkeypatch):
    monkeypatch.setattr(declared, "PARTS", {"recipe": (part,)})
    rows = tabulated("recipe", {"norm": "after", "depth": "2"}, ROWS)
    assert {(row.metric, row.step, row.layer) for row in rows} == kept
    assert tabulated("exact", {"norm": "after"}, ROWS) == ROWS


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_rows_and_every_metric_of_it(name):
    assert name in experiments.names()
    paths = [TABLES / f"{name}.csv", TABLES / f"{name}_pooled.csv"]
    frames = [read_table(path) for path in paths if path.exists()]
    for part in PARTS[name]:
        held = set()
        for frame in frames:
            for axis, values in part.where.items():
                assert set(values) <= {*frame[axis]} or frame is not frames[0]
                frame = frame[frame[axis].isin(values)]
            held |= {*frame["metric"], *frame["metric"].str.split("[").str[0]}
        assert {*part.metrics} <= held
