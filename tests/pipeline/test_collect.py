"""From results to an experiment's tables: what goes where, and what stands in the provenance."""

import json
import re

import pytest

from gpubn import collect
from gpubn.collect import write_tables
from gpubn.records import Observation
from gpubn.store import CellStore
from gpubn.tables import is_current, read_table

POOLED = [Observation(None, None, 1, "hist[+0.00]", 0.5)]


@pytest.fixture
def finished(fake, tmp_path, finish):
    """Two cells of digits and their results."""
    cells = [fake.cell("a", "digits"), fake.cell("b", "digits")]
    return cells, finish(cells, CellStore(tmp_path / "cells"))


def provenance(path):
    return json.loads(path.with_suffix(".json").read_text())


def test_one_table_without_pooled_rows(finished, tmp_path):
    (path,) = write_tables(tmp_path / "tables", "fake", *finished)
    assert path == tmp_path / "tables" / "fake.csv"
    frame = read_table(path)
    assert list(frame["init"]) == ["a", "a", "b", "b"]
    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert sorted(p.name for p in path.parent.iterdir()) == ["fake.csv", "fake.json"]


def test_pooled_rows_have_a_table_of_their_own(fake, tmp_path, finish):
    fake.rows += POOLED
    cells = [fake.cell("a"), fake.cell("b")]
    results = finish(cells, CellStore(tmp_path / "cells"))
    single, pooled = write_tables(tmp_path, "fake", cells, results)
    assert (single.name, pooled.name) == ("fake.csv", "fake_pooled.csv")
    assert read_table(single)["seed"].notna().all()
    assert "hist[+0.00]" not in set(read_table(single)["metric"])
    assert read_table(pooled)["seed"].isna().all()
    assert list(read_table(pooled)["metric"]) == ["hist[+0.00]"] * 2
    assert provenance(single)["made_from"] == provenance(pooled)["made_from"]


def test_only_pooled_rows(fake, tmp_path, finish):
    fake.rows[:] = POOLED
    results = finish([fake.cell()], CellStore(tmp_path / "cells"))
    (path,) = write_tables(tmp_path, "fake", [fake.cell()], results)
    assert path.name == "fake_pooled.csv"


def test_provenance(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "git_revision", lambda: "abc+")
    (path,) = write_tables(tmp_path / "tables", "fake", *finished)
    document = provenance(path)
    assert {"sha256", "schema", "written", "backend", "device", "numpy", "python"} <= set(document)
    assert (document["experiment"], document["revision"]) == ("fake", "abc+")
    assert document["backend"] == "numpy"
    assert set(document["data"]) == {"digits-images", "digits-labels"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in document["data"].values())
    assert isinstance(document["seconds"], float)
    assert document["config"]["seeds"] == 2
    assert document["config"]["data.name"] == "digits"
    cells, results = finished
    assert set(document["cells"]) == {cell.id for cell in cells}
    assert document["made_from"] == {
        cell.id: result.digest for cell, result in zip(cells, results, strict=True)
    }


def test_what_differs_between_cells_stands_at_each(fake, tmp_path, finish):
    cells = [fake.cell(seeds=2), fake.cell(seeds=3)]
    results = finish(cells, CellStore(tmp_path / "cells"))
    (path,) = write_tables(tmp_path, "fake", cells, results)
    document = provenance(path)
    assert "seeds" not in document["config"]
    assert [document["cells"][cell.id] for cell in cells] == [{"seeds": 2}, {"seeds": 3}]


def test_the_checksums_of_all_data(fake, tmp_path, finish):
    cells = [fake.cell(data="gaussian"), fake.cell(data="digits")]
    results = finish(cells, CellStore(tmp_path / "cells"))
    (path,) = write_tables(tmp_path, "fake", cells, results)
    assert "digits-images" in json.dumps(provenance(path)["data"])


def test_the_table_holds_no_path_and_no_time(finished, tmp_path):
    (path,) = write_tables(tmp_path / "tables", "fake", *finished)
    text = path.read_text()
    assert str(tmp_path) not in text
    assert "/" not in text
    assert not re.search(r"20\d\d-|\d\d:\d\d", text)
    assert str(tmp_path) not in path.with_suffix(".json").read_text()


def test_the_same_bytes_in_another_folder(finished, tmp_path):
    (one,) = write_tables(tmp_path / "one", "fake", *finished)
    (two,) = write_tables(tmp_path / "two", "fake", *finished)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()


def test_a_current_table_is_left_alone(finished, tmp_path, monkeypatch):
    (path,) = write_tables(tmp_path, "fake", *finished)
    monkeypatch.setattr(collect, "write_table", lambda *_: pytest.fail("written again"))
    assert write_tables(tmp_path, "fake", *finished) == [path]


def test_a_damaged_table_is_written_again(finished, tmp_path):
    (path,) = write_tables(tmp_path, "fake", *finished)
    before = path.read_bytes()
    path.write_bytes(before[:-5])
    write_tables(tmp_path, "fake", *finished)
    assert path.read_bytes() == before


def test_a_table_of_other_results_is_written_again(finished, tmp_path):
    cells, results = finished
    (path,) = write_tables(tmp_path, "fake", cells[:1], results[:1])
    before = path.read_bytes()
    write_tables(tmp_path, "fake", cells, results)
    assert path.read_bytes() != before
    assert is_current(path, provenance(path)["made_from"])
