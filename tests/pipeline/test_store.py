"""The store gives back exactly what was put in, or says that the cell has to be run."""

import json
import logging
import math
import re

import pytest

from gpubn import store as module
from gpubn.errors import StoreError
from gpubn.records import Observation
from gpubn.store import CellStore

ROWS = [
    Observation(0, 0, 1, "loss", 1 / 3),
    Observation(3, None, None, "loss", -0.0),
    Observation(None, None, 20, "hist[-0.25]", 5e-324),
    Observation(1, 1500, 0, "loss", math.nan),
    Observation(1, 1500, 0, "loss", math.inf),
    Observation(1, 1500, 0, "loss", -math.inf),
]
PROVENANCE = {"seconds": 1.5, "backend": "numpy", "data": {"images": "abc"}}


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture
def saved(store, fake):
    cell = fake.cell()
    store.save(cell, ROWS, PROVENANCE)
    return cell


def test_round_trip(store, saved):
    result = store.load(saved)
    assert repr(result.rows) == repr(ROWS)  # NaN does not equal itself
    assert result.provenance == PROVENANCE
    assert [p.name for p in store.path(saved).parent.iterdir()] == [f"{saved.id}.json"]
    assert store.path(saved).parent == store.root / "fake"


def test_save_returns_what_load_does(store, fake):
    cell = fake.cell()
    result, again = store.save(cell, ROWS, PROVENANCE), store.load(cell)
    assert (repr(result.rows), result.digest) == (repr(again.rows), again.digest)


def test_the_digest_is_of_the_rows_alone(store, fake):
    first = store.save(fake.cell("a"), ROWS, PROVENANCE)
    second = store.save(fake.cell("b"), ROWS, {**PROVENANCE, "seconds": 9.0})
    third = store.save(fake.cell("a"), ROWS[:-1], PROVENANCE)
    assert first.digest == second.digest != third.digest


def test_nothing_there(store, fake, caplog):
    assert store.load(fake.cell()) is None
    assert caplog.text == ""


def test_results_of_other_code_are_run_again_without_a_warning(store, saved, monkeypatch, caplog):
    monkeypatch.setattr(module, "fingerprint", lambda _code: "other")
    assert store.load(saved) is None
    assert caplog.text == ""


def test_other_schema(store, saved, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    assert store.load(saved) is None
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == f"{store.path(saved)} has schema 1; this is 2"


def edit(change):
    """Damage that leaves valid JSON."""

    def damage(data, _other):
        document = json.loads(data)
        return json.dumps(change(document)).encode()

    return damage


def without(key):
    return edit(lambda document: {k: v for k, v in document.items() if k != key})


def flip(data, _other):
    place = data.index(b"0.333") + 4
    return data[:place] + b"4" + data[place + 1 :]


DAMAGE = {
    "truncated": (lambda data, _: data[: len(data) // 2], "Expecting|Unterminated"),
    "last byte lost": (lambda data, _: data[:-1], "Expecting"),
    "empty": (lambda data, _: b"", "Expecting value"),
    "garbage": (lambda data, _: bytes(range(256)) * 4, "utf-|decode|Expecting"),
    "NUL bytes": (lambda data, _: bytes(len(data)), "Expecting|utf"),
    "digit of a value": (flip, "digest"),
    "another cell's content": (lambda _, other: other, "another cell"),
    "a list": (edit(lambda document: [document]), "."),
    "a number": (lambda data, _: b"5", "."),
    "null": (lambda data, _: b"null", "."),
    "columns of a wrong type": (edit(lambda d: d | {"columns": "text"}), "digest"),
    "columns lost": (edit(lambda d: d | {"columns": None}), "digest"),
    "row lost": (
        edit(lambda d: d | {"columns": {k: v[1:] for k, v in d["columns"].items()}}),
        "digest",
    ),
    **{f"no {key}": (without(key), key) for key in ("schema", "cell", "digest", "columns")},
    **{f"no {key}": (without(key), key) for key in ("fingerprint", "provenance")},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_repaired(store, fake, caplog, damage, finish):
    spoil, reason = DAMAGE[damage]
    cell, other = fake.cell("a"), fake.cell("b")
    first, _ = finish([cell, other], store)
    path = store.path(cell)
    path.write_bytes(spoil(path.read_bytes(), store.path(other).read_bytes()))
    fake.calls.clear()
    assert store.load(cell) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith("; the cell will be run again")
    assert re.search(reason, message[len(str(path)) :])
    again, _ = finish([cell, other], store)
    assert fake.calls == ["a"]
    assert (again.rows, again.digest) == (first.rows, first.digest)
    assert store.load(cell).rows == first.rows


@pytest.mark.parametrize("key", ["seconds", "data"])
def test_damaged_provenance_is_named_too(store, fake, finish, caplog, key):
    """Tables quote it, and would fail on it far from here."""
    finish([fake.cell()], store)
    path = store.path(fake.cell())
    document = json.loads(path.read_text())
    document["provenance"][f"{key}z"] = document["provenance"].pop(key)
    path.write_text(json.dumps(document))
    assert store.load(fake.cell()) is None
    assert "is damaged" in caplog.text


def test_a_folder_in_the_place_of_a_cell(store, fake, caplog, finish):
    store.path(fake.cell()).mkdir(parents=True)
    assert store.load(fake.cell()) is None
    assert "is damaged (" in caplog.text
    with pytest.raises(StoreError, match="cannot be written"):
        finish([fake.cell()], store)


def test_check_writable_leaves_nothing(store):
    store.check_writable()
    assert list(store.root.iterdir()) == []


def test_a_store_that_takes_nothing_is_refused_before_any_work(tmp_path, fake, finish):
    (tmp_path / "file").write_text("kept")
    store = CellStore(tmp_path / "file" / "cells")
    with pytest.raises(StoreError, match=r"file/cells.* cannot be written"):
        store.check_writable()
    with pytest.raises(StoreError, match=r"file/cells.* cannot be written"):
        finish([fake.cell()], store)
    assert fake.calls == []
