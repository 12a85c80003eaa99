"""Only what is missing runs, and what is finished is kept, whatever happens to the next cell."""

import io
import json
import logging
import sys

import pytest

from gpubn.store import CellStore


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())


def test_finished_cells_are_skipped(store, fake, finish):
    finish([fake.cell("b")], store)
    before = store.path(fake.cell("b")).read_bytes()
    results = finish([fake.cell(init) for init in "abc"], store)
    assert fake.calls == ["b", "a", "c"]
    assert [result.rows for result in results] == [fake.rows] * 3
    assert store.path(fake.cell("b")).read_bytes() == before
    finish([fake.cell(init) for init in "cab"], store)
    assert len(fake.calls) == 3


def test_another_number_of_seeds_is_another_cell(store, fake, finish):
    finish([fake.cell(seeds=2)], store)
    finish([fake.cell(seeds=3)], store)
    assert len(fake.calls) == 2


def test_force_runs_again(store, fake, finish):
    cells = [fake.cell("a"), fake.cell("b")]
    finish(cells, store)
    fake.rows[:] = fake.rows[:1]
    assert [len(result.rows) for result in finish(cells, store)] == [2, 2]
    assert [len(result.rows) for result in finish(cells, store, force=True)] == [1, 1]
    assert fake.calls == ["a", "b", "a", "b"]
    assert len(store.load(cells[0]).rows) == 1


def test_results_come_in_the_order_of_the_cells(store, fake, finish):
    cells = [fake.cell(init) for init in "abcd"]
    finish([cells[2]], store)
    digests = []
    for cell in cells:
        fake.rows[0] = type(fake.rows[0])(0, 10, None, "loss", float(len(digests)))
        digests.append(finish([cell], store, force=True)[0].digest)
    assert len(set(digests)) == 4
    shuffled = [3, 0, 2, 1]
    results = finish([cells[i] for i in shuffled], store)
    assert [result.digest for result in results] == [digests[i] for i in shuffled]


@pytest.mark.parametrize("error", [ValueError("third"), KeyboardInterrupt()])
def test_what_is_finished_before_an_error_is_kept(store, fake, error, finish):
    fake.fail["c"] = error
    cells = [fake.cell(init) for init in "abcd"]
    with pytest.raises(type(error)):
        finish(cells, store)
    assert [store.load(cell) is not None for cell in cells] == [True, True, False, False]
    assert fake.calls == ["a", "b", "c"]
    assert {path.suffix for path in (store.root / "fake").iterdir()} == {".json"}
    fake.fail.clear()
    assert len(finish(cells, store)) == 4
    assert fake.calls[3:] == ["c", "d"]


def test_each_cell_is_saved_before_the_next_runs(store, fake, monkeypatch, finish):
    seen = []
    save = CellStore.save

    def spy(self, cell, rows, provenance):
        seen.append((cell.axes["init"], list(fake.calls)))
        return save(self, cell, rows, provenance)

    monkeypatch.setattr(CellStore, "save", spy)
    finish([fake.cell("a"), fake.cell("b")], store)
    assert seen == [("a", ["a"]), ("b", ["a", "b"])]


def test_a_cell_given_twice_runs_once(store, fake, finish):
    results = finish([fake.cell("a"), fake.cell("b"), fake.cell("a")], store)
    assert fake.calls == ["a", "b"]
    assert len(results) == 3
    assert results[0] == results[2]


def test_no_cells(store, finish):
    assert finish([], store) == []


@pytest.mark.parametrize(("data", "files"), [("gaussian", set()), ("digits", {"digits-images"})])
def test_provenance(store, fake, data, files, finish):
    (result,) = finish([fake.cell(data=data)], store)
    assert files <= set(result.provenance["data"])
    assert bool(files) == bool(result.provenance["data"])
    assert result.provenance["backend"] == "numpy"
    assert {"device", "numpy", "python", "seconds"} <= set(result.provenance)
    assert json.loads(store.path(fake.cell(data=data)).read_text())["provenance"]


def test_one_line_a_cell_where_there_is_no_terminal(store, fake, monkeypatch, caplog, finish):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    finish([fake.cell("a")], store)
    caplog.clear()
    finish([fake.cell(init) for init in "abc"], store)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "1/2 fake (data=gaussian, init=b): 0.0 s",
        "2/2 fake (data=gaussian, init=c): 0.0 s",
    ]
    assert "\r" not in stream.getvalue()


def test_a_bar_on_a_terminal(store, fake, caplog, monkeypatch, finish):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    finish([fake.cell("a"), fake.cell("b")], store)
    shown = terminal.getvalue()
    assert "fake" in shown
    assert "2/2 cells" in shown
    assert "100%" in shown
    assert caplog.records == []
