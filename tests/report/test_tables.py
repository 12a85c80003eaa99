"""Tables: fixed columns, fixed bytes, exact reading, and no table that is not one."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from gpubn.errors import StoreError
from gpubn.files import sha256
from gpubn.report.published import digits_range
from gpubn.report.tables import (
    document_bytes,
    provenance_path,
    read_table,
    table_is_current,
    write_table,
)
from gpubn.rows import SCHEMA_VERSION, Observation

PARTS = [
    (
        {"norm": "none", "init": "NA"},
        [Observation(0, 0, None, "loss", 1 / 3), Observation(1, None, 2, "loss", math.nan)],
    ),
    (
        {"norm": "8", "init": "nan"},
        [
            Observation(None, None, 0, "hist[+0.25]", math.inf),
            Observation(2, 3, 4, "loss", -math.inf),
            Observation(2, 3, 5, "loss", 3.46e-44),
        ],
    ),
]
TEXT = """norm,init,seed,step,layer,metric,value
none,NA,0,0,,loss,0.3333333
none,NA,1,,2,loss,nan
8,nan,,,0,hist[+0.25],inf
8,nan,2,3,4,loss,-inf
8,nan,2,3,5,loss,3.46e-44
"""
AXES = ("norm", "init")
MADE_FROM = {"a1": "d1", "b2": "d2"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, PARTS, {"made_from": MADE_FROM, "config": {"seeds": 2}})
    return path


def test_a_table_is_written_and_read_back(table):
    assert table.read_bytes() == TEXT.encode()
    assert json.loads(provenance_path(table).read_text()) == {
        **{"sha256": sha256(TEXT.encode()), "made_from": MADE_FROM, "config": {"seeds": 2}},
    }
    frame = read_table(table)
    assert frame.attrs["config"] == {"seeds": 2}
    assert frame.dtypes[["seed", "step", "layer"]].eq("Int64").all()
    rows = [(axes, row) for axes, rows in PARTS for row in rows]
    for (axes, row), (_, found) in zip(rows, frame.iterrows(), strict=True):
        assert (found["norm"], found["init"], found["metric"]) == (*axes.values(), row.metric)
        for column in ("seed", "step", "layer"):
            value = None if found[column] is pd.NA else int(found[column])
            assert value == getattr(row, column)
        np.testing.assert_allclose(found["value"], row.value, rtol=1e-6)


NO_TABLES = {
    "missing": None,
    "columns in another order": TEXT.replace("seed,step", "step,seed").encode(),
    "garbage": bytes(range(256)) * 8,
    "a row cut short": TEXT.encode()[: TEXT.index("NA,1,") + 3],
    "a row with a field more": TEXT.replace("0.3333333", "0.3333333,1,2").encode(),
    "text as a value": TEXT.replace("0.3333333", "third").encode(),
    "half a seed": TEXT.replace("NA,0,0", "NA,0.5,0").encode(),
}


@pytest.mark.parametrize("kind", NO_TABLES)
def test_what_is_no_table_is_named(tmp_path, kind):
    if kind != "missing":
        (tmp_path / "t.csv").write_bytes(NO_TABLES[kind])
    with pytest.raises(StoreError, match=r"t\.csv .*expected"):
        read_table(tmp_path / "t.csv")


def test_another_schema_is_named(table):
    document = json.loads(provenance_path(table).read_text()) | {"schema": "1"}
    provenance_path(table).write_text(json.dumps(document))
    with pytest.raises(StoreError, match=rf"t\.csv has schema 1; expected {SCHEMA_VERSION}"):
        read_table(table)
    assert not table_is_current(table, AXES, MADE_FROM)  # so that it is written anew


def test_a_provenance_has_a_line_for_each_cell():
    cells = {"a": {"rate": 0.1, "norm": "none"}, "b": {"rate": 1, "norm": "{\n"}}
    document = {"sha256": "x", "cells": cells, "made_from": {"a": "1"}, "seen": {}}
    lines = document_bytes(document).decode().splitlines()
    assert json.loads("\n".join(lines)) == document
    assert '  "a": {"rate": 0.1, "norm": "none"},' in lines
    assert '  "a": "1"' in lines


@pytest.mark.parametrize("content", [None, b"[]", b"{}", b"\xff", b'{"config": 3}'])
def test_a_table_without_sound_provenance_is_read_and_written_anew(table, content):
    provenance_path(table).unlink()
    if content is not None:
        provenance_path(table).write_bytes(content)
    assert read_table(table).attrs["config"] == {}
    assert not table_is_current(table, AXES, MADE_FROM)


def test_rows_that_nothing_tells_apart(tmp_path):
    rows = [Observation(None, 5, None, "loss", value) for value in (1.0, 2.0)]
    write_table(tmp_path / "t.csv", [({"norm": "none"}, rows)], {})
    place = "norm=none, seed=, step=5, layer=, metric=loss"
    with pytest.raises(StoreError, match=rf"t\.csv has rows .* apart \({place}\); expected"):
        read_table(tmp_path / "t.csv")


def test_a_table_is_current_with_its_columns_results_and_bytes_alone(table):
    assert table_is_current(table, AXES, dict(MADE_FROM))
    for keys in (("norm",), (*AXES, "norm.momentum"), AXES[::-1]):
        assert not table_is_current(table, keys, MADE_FROM)
    for other in ({"a1": "d1"}, {**MADE_FROM, "c3": "d3"}, {**MADE_FROM, "a1": "d0"}):
        assert not table_is_current(table, AXES, other)
    table.write_bytes(table.read_bytes().replace(b"0.3333333", b"0.3333334"))
    assert not table_is_current(table, AXES, MADE_FROM)
    table.unlink()
    assert not table_is_current(table, AXES, MADE_FROM)


def test_a_printed_number_stands_for_what_rounds_to_it():
    for printed, *ends in (("16.4", 16.35, 16.45), ("3.46e-44", 3.455e-44, 3.465e-44)):
        assert digits_range(printed) == pytest.approx(ends, rel=1e-12, abs=0)
