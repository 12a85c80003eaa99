"""Tables: fixed columns, fixed bytes, exact reading, and no table that is not one."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from gpubn.errors import StoreError
from gpubn.files import sha256
from gpubn.report.tables import provenance_path, read_table, table_is_current, write_table
from gpubn.rows import SCHEMA_VERSION, Observation

PARTS = [
    (
        {"norm": "none", "init": "NA"},
        [Observation(0, 0, None, "loss", 1 / 3), Observation(1, None, 2, "loss", math.nan)],
    ),
    (
        {"norm": "None", "init": "nan"},
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
None,nan,,,0,hist[+0.25],inf
None,nan,2,3,4,loss,-inf
None,nan,2,3,5,loss,3.46e-44
"""
AXES = ("norm", "init")
MADE_FROM = {"a1": "d1", "b2": "d2"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, PARTS, {"made_from": MADE_FROM})
    return path


def test_bytes(table):
    assert table.read_bytes() == TEXT.encode()
    document = json.loads(provenance_path(table).read_text())
    assert document == {"sha256": sha256(TEXT.encode()), "made_from": MADE_FROM}
    assert provenance_path(table) == table.with_name("t.json")


def test_columns_are_axes_then_observation(table):
    assert list(read_table(table).columns) == [
        *("norm", "init"),
        *("seed", "step", "layer", "metric", "value"),
    ]


def test_made_twice_it_has_the_same_bytes(table, tmp_path):
    again = tmp_path / "again" / "t.csv"
    write_table(again, PARTS, {"made_from": {}, "written": "at another time"})
    assert again.read_bytes() == table.read_bytes()


def test_read_back(table):
    frame = read_table(table)
    assert frame.dtypes[["seed", "step", "layer"]].eq("Int64").all()
    assert frame["value"].dtype == np.float64
    rows = [(axes, row) for axes, rows in PARTS for row in rows]
    assert len(frame) == len(rows)
    for (axes, row), (_, found) in zip(rows, frame.iterrows(), strict=True):
        assert (found["norm"], found["init"], found["metric"]) == (*axes.values(), row.metric)
        for column in ("seed", "step", "layer"):
            value = None if found[column] is pd.NA else int(found[column])
            assert value == getattr(row, column)
        np.testing.assert_allclose(found["value"], row.value, rtol=1e-6)


def test_a_column_without_any_number(tmp_path):
    rows = [Observation(0, None, None, "m", 1.0), Observation(1, None, None, "m", 2.0)]
    write_table(tmp_path / "t.csv", [({"norm": "none"}, rows)], {})
    frame = read_table(tmp_path / "t.csv")
    assert frame["step"].isna().all()
    assert frame["step"].dtype == "Int64"
    assert list(frame["norm"]) == ["none", "none"]


def test_axes_stay_text(tmp_path):
    """An axis that looks like a number is compared with text, as a cell's axes are text."""
    parts = [({"batch": b}, [Observation(0, 0, 0, "m", 1.0)]) for b in ("8", "32")]
    write_table(tmp_path / "t.csv", parts, {})
    assert list(read_table(tmp_path / "t.csv")["batch"]) == ["8", "32"]


def test_missing_table(tmp_path):
    with pytest.raises(StoreError, match=r"t\.csv does not exist; expected a table"):
        read_table(tmp_path / "t.csv")


NO_TABLES = {
    "wrong columns": b"a,b,c\n1,2,3\n",
    "columns in another order": TEXT.replace("seed,step", "step,seed").encode(),
    "empty": b"",
    "garbage": bytes(range(256)) * 8,
    "a row cut short": TEXT.encode()[: TEXT.index("NA,1,") + 3],
    "a row with a field more": TEXT.replace("0.3333333", "0.3333333,1,2").encode(),
    "text as a value": TEXT.replace("0.3333333", "third").encode(),
    "text as a seed": TEXT.replace("NA,0,0", "NA,zero,0").encode(),
    "half a seed": TEXT.replace("NA,0,0", "NA,0.5,0").encode(),
}


@pytest.mark.parametrize("kind", NO_TABLES)
def test_what_is_no_table_is_named(tmp_path, kind):
    (tmp_path / "t.csv").write_bytes(NO_TABLES[kind])
    with pytest.raises(StoreError, match=r"t\.csv .*expected"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_named(table, schema):
    document = json.loads(provenance_path(table).read_text()) | {"schema": schema}
    provenance_path(table).write_text(json.dumps(document))
    with pytest.raises(StoreError, match=rf"t\.csv has schema {schema}; expected {SCHEMA_VERSION}"):
        read_table(table)
    assert not table_is_current(table, AXES, MADE_FROM)  # so that it is written anew


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"\xff", b'{"config": 3}'])
def test_provenance_that_names_no_schema(table, content):
    provenance_path(table).unlink()
    if content is not None:
        provenance_path(table).write_bytes(content)
    assert read_table(table).attrs["config"] == {}


def test_configuration_of_this_schema(table):
    document = {"schema": SCHEMA_VERSION, "config": {"seeds": 2}}
    provenance_path(table).write_text(json.dumps(document))
    assert read_table(table).attrs["config"] == {"seeds": 2}


@pytest.mark.parametrize("seed", [0, None])
def test_rows_that_nothing_tells_apart(tmp_path, seed):
    rows = [Observation(seed, 5, None, "loss", value) for value in (1.0, 2.0)]
    write_table(tmp_path / "t.csv", [({"norm": "none"}, [row]) for row in rows], {})
    place = f"norm=none, seed={'' if seed is None else seed}, step=5, layer=, metric=loss"
    with pytest.raises(StoreError, match=rf"t\.csv has rows .* apart \({place}\); expected"):
        read_table(tmp_path / "t.csv")


def test_is_current(table):
    assert table_is_current(table, AXES, dict(MADE_FROM))


@pytest.mark.parametrize("keys", [(), ("norm",), (*AXES, "norm.momentum"), AXES[::-1]])
def test_other_columns(table, keys):
    assert not table_is_current(table, keys, MADE_FROM)


@pytest.mark.parametrize(
    "other", [{}, {"a1": "d1"}, {**MADE_FROM, "c3": "d3"}, {**MADE_FROM, "a1": "d0"}]
)
def test_made_from_other_results(table, other):
    assert not table_is_current(table, AXES, other)


def test_changed_bytes(table):
    table.write_bytes(table.read_bytes().replace(b"0.3333333", b"0.3333334"))
    assert not table_is_current(table, AXES, MADE_FROM)


@pytest.mark.parametrize("lost", [".csv", ".json"])
def test_half_of_a_table(table, lost):
    table.with_suffix(lost).unlink()
    assert not table_is_current(table, AXES, MADE_FROM)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b"[]", b"null", b"5"])
def test_damaged_provenance(table, content):
    provenance_path(table).write_bytes(content)
    assert not table_is_current(table, AXES, MADE_FROM)


def test_unwritable(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match=r"t\.csv cannot be written"):
        write_table(tmp_path / "file" / "t.csv", PARTS, {})
