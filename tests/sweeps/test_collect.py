"""From results to an experiment's tables: what goes where, and what stands in the provenance."""

import json
import re
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig
from gpubn.errors import CellError
from gpubn.experiments import tabulated
from gpubn.experiments.tabulated import Part
from gpubn.report.tables import read_table, table_is_current
from gpubn.rows import COLUMNS, Observation
from gpubn.sweeps import collect, pipeline
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, distinguishing_keys, write_tables
from gpubn.sweeps.store.cell_store import CellStore, Result

TABLES = Path(__file__).parents[2] / "results" / "tables"
NUMPY = resolve("numpy")
POOLED = [Observation(None, None, 1, "hist[+0.00]", 0.5)]


@pytest.fixture
def finished(fake, store, finish):
    """Two cells of digits and their results."""
    cells = [fake.cell("a", "digits"), fake.cell("b", "digits")]
    return cells, finish(cells, store)


def write(folder, cells, results):
    """The tables of these cells, whose rows are asked for one cell at a time."""
    by_id = {cell.id: result for cell, result in zip(cells, results, strict=True)}
    kept = {id: Kept.of(result) for id, result in by_id.items()}
    return write_tables(folder, "fake", cells, kept, lambda cell: by_id[cell.id])


def provenance(path):
    return json.loads(path.with_suffix(".json").read_text())


def test_rows_that_pool_seeds_have_a_table_of_their_own(fake, tmp_path, store, finish):
    cells = [fake.cell("a"), fake.cell("b")]
    (path,) = write(tmp_path / "no", cells, finish(cells, store))
    frame = read_table(path)
    assert list(zip(frame["init"], frame["seed"], strict=True)) == [
        *(("a", 0), ("a", 1), ("b", 0), ("b", 1)),
    ]
    assert sorted(p.name for p in path.parent.iterdir()) == ["fake.csv", "fake.json"]

    fake.rows += POOLED
    single, pooled = write(tmp_path / "both", cells, finish(cells, store, force=True))
    assert (single.name, pooled.name) == ("fake.csv", "fake_pooled.csv")
    assert single.read_bytes() == path.read_bytes()
    assert read_table(pooled)["seed"].isna().all()
    assert list(read_table(pooled)["metric"]) == ["hist[+0.00]"] * 2
    assert provenance(single)["made_from"] == provenance(pooled)["made_from"]

    fake.rows[:] = POOLED
    (alone,) = write(tmp_path / "only", cells, finish(cells, store, force=True))
    assert alone.read_bytes() == pooled.read_bytes()


def test_what_stands_beside_a_table(finished, tmp_path, monkeypatch):
    cells, results = finished
    monkeypatch.setattr(collect, "git_revision", lambda: "abc+")
    own = [{"seconds": 1.25, "device": "old"}, {"seconds": 2.5, "device": "fast", "cupy": "13"}]
    results = [
        replace(result, provenance=result.provenance | facts)
        for result, facts in zip(results, own, strict=True)
    ]
    (path,) = write(tmp_path / "tables", cells, results)
    document = provenance(path)
    assert {"sha256", "schema", "written", "numpy", "python"} <= set(document)
    told = {"experiment": "fake", "revision": "abc+", "backend": "numpy", "seconds": 3.8}
    told |= {"device": "fast, old", "cupy": "13"}
    assert told.items() <= document.items()
    assert set(document["data"]) == {"digits-images", "digits-labels"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in document["data"].values())
    assert {"seeds": 2, "data.name": "digits"}.items() <= document["config"].items()
    assert set(document["cells"]) == {cell.id for cell in cells}
    assert document["made_from"] == {
        cell.id: result.digest for cell, result in zip(cells, results, strict=True)
    }
    # The table itself is the same wherever and whenever it is written.
    assert not re.search(r"/|20\d\d-|\d\d:\d\d", path.read_text())
    assert str(tmp_path) not in path.with_suffix(".json").read_text()


def test_a_table_is_written_again_only_where_it_must_be(finished, tmp_path, monkeypatch):
    cells, results = finished
    (path,) = write(tmp_path, cells[:1], results[:1])
    of_one = path.read_bytes()
    write(tmp_path, cells, results)
    of_two = path.read_bytes()
    assert of_one != of_two
    assert table_is_current(path, cells[0].axes, provenance(path)["made_from"])
    path.write_bytes(of_two[:-5])
    write(tmp_path, cells, results)
    assert path.read_bytes() == of_two
    monkeypatch.setattr(collect, "TableText", lambda *_: pytest.fail("written again"))
    assert write(tmp_path, cells, results) == [path]


def test_rows_are_asked_for_one_cell_at_a_time(fake, tmp_path, store, finish):
    """Of thousands of cells the digests fit into memory, the rows do not."""
    fake.rows += POOLED
    cells = [fake.cell(init) for init in "abc"]
    kept = {cell.id: Kept.of(r) for cell, r in zip(cells, finish(cells, store), strict=True)}
    asked, alive = [], []

    def load(cell):
        assert not any(seen() for seen in alive[:-1])  # the last one may still have its name
        asked.append(cell)
        result = store.get(cell)
        alive.append(weakref.ref(result))
        return result

    paths = write_tables(tmp_path, "fake", cells, kept, load)
    assert asked == cells  # once each, for both tables
    paths[1].unlink()
    assert write_tables(tmp_path, "fake", cells, kept, load) == paths
    assert asked == [*cells, *cells]


@pytest.mark.parametrize("inits", ["ab", "a"])
def test_a_thinned_table_holds_chosen_rows_and_its_constants_once(
    inits, fake, tmp_path, store, finish, monkeypatch
):
    chosen = {"fake": (Part(("m",), {}, (), ()),)}
    fake.rows[:] = [Observation(0, None, None, metric, 1.0) for metric in ("m", "n", "m[1]")]
    cells = [fake.cell(init) for init in inits]
    kept = {cell.id: Kept.of(r) for cell, r in zip(cells, finish(cells, store), strict=True)}

    def metrics():
        monkeypatch.setattr(tabulated, "PARTS", chosen)
        monkeypatch.setattr(collect, "PARTS", chosen)
        (path,) = write_tables(tmp_path, "fake", cells, kept, store.get, thinned=True)
        assert path.read_text().startswith("init," if len(inits) > 1 else "seed,")
        frame = read_table(path)
        assert {tuple(row) for row in frame[list(cells[0].axes)].to_numpy()} == {
            tuple(cell.axes.values()) for cell in cells
        }
        return list(frame["metric"])

    assert metrics() == ["m", "m[1]"] * len(inits)
    chosen = {"fake": (Part(("n",), {}, (), ()),)}
    assert metrics() == ["n"] * len(inits)
    assert len(store.get(cells[0]).rows) == 3


def test_the_order_of_what_stands_beside_a_table(fake, tmp_path, store, finish):
    """As in the committed files, whose differences a reviewer reads."""
    cells = [fake.cell("a", seeds=2), fake.cell("b", "digits", seeds=2), fake.cell("a", seeds=3)]
    (path,) = write(tmp_path, cells, finish(cells, store))
    document = provenance(path)
    committed = json.loads((TABLES / "recipe.json").read_text())
    assert list(document) == list(committed)
    flat = {"data.name": "gaussian", "seeds": 2}
    assert [list(document["cells"][cell.id].items()) for cell in cells] == [
        list((flat | own).items()) for own in ({}, {"data.name": "digits"}, {"seeds": 3})
    ]
    assert list(document["config"]) == [
        f"init.{key}"
        for key in ("kind", "std", "low", "high", "scale", "scaled", "per_sqrt_fan_in")
    ]


def test_a_table_says_what_it_was_made_from_even_where_a_cell_changed_meanwhile(
    finished, fake, tmp_path, store, finish
):
    cells, before = finished
    kept = {c.id: Kept.of(r) for c, r in zip(cells, before, strict=True)}
    fake.rows[:] = fake.rows[:1]
    after = finish(cells, store, force=True)
    (path,) = write_tables(tmp_path / "tables", "fake", cells, kept, store.get)
    assert provenance(path)["made_from"] == {
        cell.id: result.digest for cell, result in zip(cells, after, strict=True)
    }


# What tells cells apart --------------------------------------------------------------------------


def cells_of(experiment, **values):
    """Cells of an experiment on the digits, one for each of the lists' first, second, ... values.

    A key is written with __ for its dot.
    """
    cells = []
    for row in zip(*values.values(), strict=True):
        config = Config(name=experiment, data=DataConfig("digits"))
        for key, value in zip(values, row, strict=True):
            group, _, name = key.rpartition("__")
            part = replace(getattr(config, group), **{name: value}) if group else value
            config = replace(config, **{group or name: part})
        cells.append(Cell.of(config))
    return cells


def named(cell):
    """A result whose rows say which cell it is of, in one row a seed and one that pools them."""
    config = cell.config
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    rows = [Observation(seed, None, None, "m", config.optim.rate) for seed in (*seeds, None)]
    return Result(rows, {"data": {}, "seconds": 0.0}, cell.id)


DISTINGUISHING = {
    "nothing": ({"norm__momentum": [0.1]}, [], []),
    "a key that is no axis": (
        {"norm__momentum": [0.1, 0.9, 0.1, 0.9], "optim__batch": [8, 8, 16, 16]},
        ["norm.momentum", "optim.batch"],
        ["norm.momentum", "optim.batch"],
    ),
    "the axis": ({"norm__name": ["none", "before"], "norm__momentum": [0.1, 0.9]}, [], []),
    "the axis not everywhere": (
        {"norm__name": ["none", "before", "before"], "norm__momentum": [0.1, 0.1, 0.9]},
        ["norm.momentum"],
        ["norm.momentum"],
    ),
    "other seeds": ({"seeds": [2, 3], "first_seed": [0, 2]}, [], ["seeds", "first_seed"]),
    "seeds that are the same": ({"seeds": [2, 3]}, ["seeds"], ["seeds"]),
    "seeds, where the rest does": (
        {"optim__batch": [8, 16], "seeds": [2, 3]},
        ["optim.batch"],
        ["optim.batch"],
    ),
    "seeds as well": (
        {"optim__batch": [8, 16, 16], "seeds": [2, 2, 2], "first_seed": [0, 0, 1]},
        ["optim.batch", "first_seed"],
        ["optim.batch", "first_seed"],
    ),
    "one cell twice": ({"model__name": ["a", "b"]}, [], []),
}


@pytest.mark.parametrize("case", DISTINGUISHING)
def test_a_column_for_every_key_that_the_axes_do_not_show(case, tmp_path):
    values, plain, pooled = DISTINGUISHING[case]
    cells = cells_of("gamma_beta", **values)
    assert distinguishing_keys(cells) == plain
    assert distinguishing_keys(cells, pooled=True) == pooled
    paths = write(tmp_path, cells, [named(cell) for cell in cells])
    for path, keys in zip(paths, (plain, pooled), strict=True):
        frame = read_table(path)  # refuses rows that nothing tells apart
        assert list(frame.columns) == ["data", "norm", *keys, *COLUMNS]
        for key in keys:
            expected = {str(cell.settings[key]) for cell in cells}
            assert set(frame[key]) == expected
    assert len(read_table(paths[0])) == sum(
        c.config.seeds for c in {c.id: c for c in cells}.values()
    )


def test_a_failed_cell_ends_the_making_of_tables_and_is_named(fake, tmp_path, monkeypatch):
    cells = [fake.cell(init, "digits") for init in "abc"]
    monkeypatch.setattr(pipeline, "expand", lambda overrides, plans: cells)
    fake.fail |= {"a": ValueError("no"), "c": ValueError("neither")}
    with pytest.raises(CellError) as caught:
        pipeline.make_tables({"fake": []}, tmp_path, NUMPY, processes=1)
    failure = CellStore(tmp_path / "cells").failure_path(cells[0])
    assert str(caught.value) == (
        f"{cells[0]} (and 1 more) failed: ValueError: no; its traceback is in {failure}"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells"]
    fake.fail.clear()
    made = pipeline.make_tables({"fake": []}, tmp_path, NUMPY, processes=1)
    assert made["fake"].paths == [tmp_path / "digits" / "tables" / "fake.csv"]
    assert fake.calls == ["a", "b", "c", "a", "c"]
