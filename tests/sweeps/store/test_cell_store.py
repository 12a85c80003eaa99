"""The store gives back exactly what was put in, or says that the cell has to be run."""

import json
import logging
import math
import re
import subprocess
import sys

import pytest

from gpubn.config import Config
from gpubn.errors import StoreError
from gpubn.rows import Failure, Observation
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store import cell_store as module
from gpubn.sweeps.store.cell_store import CellStore

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
    monkeypatch.setattr(module, "fingerprint", lambda _code, **_where: "other")
    assert store.load(saved) is None
    assert caplog.text == ""


def test_another_schema_is_refused_and_left_as_it_is(store, saved, monkeypatch, finish, fake):
    before = store.path(saved).read_bytes()
    monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    sentence = f"^{re.escape(str(store.path(saved)))} has schema 1; expected 2: choose another"
    with pytest.raises(StoreError, match=sentence):
        store.load(saved)
    with pytest.raises(StoreError, match=sentence):
        finish([saved], store)
    assert fake.calls == []
    assert store.path(saved).read_bytes() == before


def test_get_gives_what_is_finished_and_names_what_is_not(store, saved, fake):
    assert repr(store.get(saved).rows) == repr(ROWS)
    other = fake.cell("b")
    path = re.escape(str(store.path(other)))
    with pytest.raises(StoreError, match=f"^{path} is gone or damaged; expected the finished fake"):
        store.get(other)


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


# Failures -----------------------------------------------------------------------------------------

FAILURE = Failure("ValueError: no", 'Traceback ...\n  File "é"\nValueError: no\n')


@pytest.fixture
def failed(store, fake):
    cell = fake.cell()
    store.save_failure(cell, FAILURE)
    return cell


def test_a_failure_is_kept_beside_the_cell(store, failed, fake):
    assert store.failure(failed) == FAILURE
    assert store.failure(fake.cell("b")) is None
    assert store.load(failed) is None
    assert [p.name for p in store.path(failed).parent.iterdir()] == [f"{failed.id}.failed"]
    store.save_failure(failed, other := Failure("another", "one"))
    assert store.failure(failed) == other


def test_a_failure_can_be_read_by_a_person(store, failed):
    text = store.failure_path(failed).read_text()
    assert '"sentence": "ValueError: no"' in text
    assert text.endswith("}\n")
    assert '"init": "a"' in text


def test_a_failure_is_gone_once_the_cell_is_finished(store, failed):
    store.save(failed, ROWS, PROVENANCE)
    assert store.failure(failed) is None
    assert [p.name for p in store.path(failed).parent.iterdir()] == [f"{failed.id}.json"]


def test_a_failure_of_other_code_or_another_schema_is_none(store, failed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "fingerprint", lambda _code, **_where: "other")
        assert store.failure(failed) is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "SCHEMA_VERSION", 2)
        assert store.failure(failed) is None
    assert store.failure(failed) == FAILURE


def test_a_failure_of_another_cell_is_none(store, failed, fake):
    other = fake.cell("b")
    store.failure_path(other).write_bytes(store.failure_path(failed).read_bytes())
    assert store.failure(other) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff\xfe",
        lambda data: b"null",
        lambda data: b"[]",
        lambda data: b"{}",
        lambda data: data.replace(b"sentence", b"sentense"),
        lambda data: data.replace(b"traceback", b"trackback"),
    ],
)
def test_a_damaged_failure_is_none(store, failed, spoil, outcomes, fake):
    path = store.failure_path(failed)
    path.write_bytes(spoil(path.read_bytes()))
    assert store.failure(failed) is None
    (outcome,) = outcomes([failed], store, retry_failed=False)
    assert outcome.fresh
    assert fake.calls == ["a"]
    assert not path.exists()


def test_a_failure_that_cannot_be_kept(tmp_path, fake):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match=r"\.failed cannot be written"):
        CellStore(tmp_path / "file").save_failure(fake.cell(), FAILURE)


# A full disk --------------------------------------------------------------------------------------

FULL = """
import resource, sys
from pathlib import Path
from gpubn.sweeps.cells import Cell
from gpubn.errors import StoreError
from gpubn.sweeps.store.leases import Leases
from gpubn.rows import Failure, Observation
from gpubn.config import Config
from gpubn.sweeps.store.cell_store import CellStore

store, cell = CellStore(Path("cells")), Cell.of(Config(name="exact"))
row = Observation(0, None, None, "m", 1.0)
store.save(cell, [row], {"backend": "numpy", "data": {}, "seconds": 0.0})
store.save_failure(cell, Failure("short", "one"))
room = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
for write in (
    lambda: store.save(cell, [row] * 200, {"backend": "numpy", "data": {}, "seconds": 0.0}),
    lambda: store.save_failure(cell, Failure("long", "long" * 200)),
    lambda: Leases(store).take(cell),
):
    try:
        write()
    except StoreError as error:
        print(error)
"""


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_leaves_what_was_there(tmp_path, room):
    """A limit on the size of files stands for it: the first bytes may still find room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(room)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    cell = Cell.of(Config(name="exact"))
    names = [f"{cell.id}.json", f"{cell.id}.failed", f"{cell.id}.running"]
    for line, name in zip(done.stdout.splitlines(), names, strict=True):
        assert line.startswith(f"cells/exact/{name} cannot be written (File too large); expected")
    assert sorted(p.name for p in (tmp_path / "cells").glob("*/*")) == sorted(names[:2])
    store = CellStore(tmp_path / "cells")
    assert len(store.load(cell).rows) == 1
    assert store.failure(cell) == Failure("short", "one")
