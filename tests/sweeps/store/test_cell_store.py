"""The store gives back exactly what was put in, or says that the cell has to be run."""

import json
import math
import re
from pathlib import Path

import pytest

from gpubn.errors import StoreError
from gpubn.rows import Failure, Observation
from gpubn.sweeps.store import cell_store as module
from gpubn.sweeps.store.cell_store import CellStore

ROWS = [
    Observation(0, 0, 1, "loss", 1 / 3),
    Observation(3, None, None, "loss", -0.0),
    Observation(None, None, 20, "hist[-0.25]", 5e-324),
    *(Observation(1, 1500, 0, "loss", value) for value in (math.nan, math.inf, -math.inf)),
]
PROVENANCE = {"seconds": 1.5, "backend": "numpy", "data": {"images": "abc"}}
FAILURE = Failure('ValueError: "no"', 'Traceback ...\n  "é"\nValueError: no\n')


@pytest.fixture
def saved(store, fake):
    store.save(fake.cell(), ROWS, PROVENANCE)
    return fake.cell()


@pytest.fixture
def failed(store, fake):
    store.save_failure(fake.cell(), FAILURE)
    return fake.cell()


def test_what_is_saved_comes_back(store, fake, caplog):
    cell = fake.cell()
    assert store.load(cell) is None
    store.check_writable()
    assert list(store.root.iterdir()) == []
    saved, loaded = store.save(cell, ROWS, PROVENANCE), store.get(cell)
    assert repr(saved.rows) == repr(loaded.rows) == repr(ROWS)  # NaN does not equal itself
    assert saved.provenance == loaded.provenance == PROVENANCE
    assert saved.digest == loaded.digest
    files = [p.relative_to(store.root) for p in store.root.rglob("*.*")]
    assert files == [Path("fake", f"{cell.id}.json")]
    with pytest.raises(StoreError, match=r"\.json is gone or damaged; expected the finished fake"):
        store.get(fake.cell("b"))
    other = store.save(fake.cell("b"), ROWS, {**PROVENANCE, "seconds": 9.0})
    assert other.digest == saved.digest != store.save(cell, ROWS[:-1], PROVENANCE).digest
    assert caplog.text == ""


def test_results_and_failures_of_other_code_are_run_again_without_a_warning(
    store, fake, saved, monkeypatch, caplog
):
    store.save_failure(fake.cell("b"), FAILURE)
    monkeypatch.setattr(module, "fingerprint", lambda _code, *_where: "other")
    assert store.load(saved) is None
    assert store.failure(fake.cell("b")) is None
    assert caplog.text == ""


def test_another_schema_is_refused_and_left_as_it_is(store, saved, monkeypatch, finish, fake):
    before = store.path(saved).read_bytes()
    store.save_failure(fake.cell("b"), FAILURE)
    monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    sentence = f"^{re.escape(str(store.path(saved)))} has schema 1; expected 2: choose another"
    with pytest.raises(StoreError, match=sentence):
        finish([saved], store)
    assert fake.calls == []
    assert store.path(saved).read_bytes() == before
    assert store.failure(fake.cell("b")) is None


def edit(change):
    """Damage that leaves valid JSON."""

    def damage(data, _other):
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return damage


KEYS = ("schema", "cell", "digest", "columns", "fingerprint", "provenance")
DAMAGE = {
    "truncated": (lambda data, _: data[: len(data) // 2], "Expecting|Unterminated"),
    "garbage": (lambda data, _: bytes(range(256)) * 4, "utf-|decode|Expecting"),
    "digit of a value": (lambda data, _: data.replace(b"0.333", b"0.334", 1), "digest"),
    "another cell's content": (lambda _, other: other, "another cell"),
    "null": (lambda data, _: b"null", "."),
    "columns of a wrong type": (edit(lambda d: d.update(columns="text")), "digest"),
    "row lost": (edit(lambda d: [c.pop() for c in d["columns"].values()]), "digest"),
    "seconds lost": (edit(lambda d: d["provenance"].pop("seconds")), "provenance"),
    **{f"no {key}": (edit(lambda d, key=key: d.pop(key)), key) for key in KEYS},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_repaired(store, fake, caplog, damage, finish):
    spoil, reason = DAMAGE[damage]
    cell, other = fake.cell("a"), fake.cell("b")
    first, _ = finish([cell, other], store)
    path = store.path(cell)
    path.write_bytes(spoil(path.read_bytes(), store.path(other).read_bytes()))
    again, _ = finish([cell, other], store)
    (warned,) = {r.getMessage() for r in caplog.records if r.levelname == "WARNING"}
    assert warned.startswith(f"{path} is damaged (")
    assert warned.endswith("; the cell will be run again")
    assert re.search(reason, warned[len(str(path)) :])
    assert fake.calls == ["a", "b", "a"]
    assert (again.rows, again.digest) == (first.rows, first.digest)
    assert store.load(cell).rows == first.rows


def test_a_store_that_takes_nothing_is_refused_before_any_work(tmp_path, fake, finish):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match=r"file/cells.* cannot be written"):
        finish([fake.cell()], CellStore(tmp_path / "file" / "cells"))
    assert fake.calls == []
    with pytest.raises(StoreError, match=r"\.failed cannot be written"):
        CellStore(tmp_path / "file").save_failure(fake.cell(), FAILURE)


# Failures -----------------------------------------------------------------------------------------


def test_a_failure_is_kept_beside_the_cell_until_that_is_finished(store, failed, fake):
    assert store.failure(failed) == FAILURE
    assert store.load(failed) is None
    other = fake.cell("b")
    store.failure_path(other).write_bytes(store.failure_path(failed).read_bytes())
    assert store.failure(other) is None
    store.failure_path(other).unlink()
    store.save_failure(failed, another := Failure("another", "one"))
    assert store.failure(failed) == another
    store.save(failed, ROWS, PROVENANCE)
    assert store.failure(failed) is None
    assert [p.name for p in store.path(failed).parent.iterdir()] == [f"{failed.id}.json"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"null",
        lambda data: data.replace(b"sentence", b"sentense"),
        lambda data: data.replace(b"traceback", b"trackback"),
    ],
)
def test_a_damaged_failure_is_none(store, failed, spoil, outcomes):
    path = store.failure_path(failed)
    path.write_bytes(spoil(path.read_bytes()))
    assert store.failure(failed) is None
    (outcome,) = outcomes([failed], store, retry_failed=False)
    assert outcome.fresh
    assert not path.exists()
