"""From results to an experiment's tables: what goes where, and what stands in the provenance."""

import json
import re
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from gpubn.config import Config, DataConfig
from gpubn.experiments import tabulated
from gpubn.experiments.tabulated import Part
from gpubn.report.tables import TableText, read_table, table_is_current
from gpubn.rows import COLUMNS, Observation
from gpubn.sweeps import collect
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, distinguishing_keys, write_tables
from gpubn.sweeps.store.cell_store import CellStore, Result

TABLES = Path(__file__).parents[2] / "results" / "tables"
POOLED = [Observation(None, None, 1, "hist[+0.00]", 0.5)]


@pytest.fixture
def finished(fake, tmp_path, finish):
    """Two cells of digits and their results."""
    cells = [fake.cell("a", "digits"), fake.cell("b", "digits")]
    return cells, finish(cells, CellStore(tmp_path / "cells"))


def write(folder, cells, results):
    """The tables of these cells, whose rows are asked for one cell at a time."""
    by_id = {cell.id: result for cell, result in zip(cells, results, strict=True)}
    kept = {id: Kept.of(result) for id, result in by_id.items()}
    return write_tables(folder, "fake", cells, kept, lambda cell: by_id[cell.id])


def provenance(path):
    return json.loads(path.with_suffix(".json").read_text())


def test_one_table_without_pooled_rows(finished, tmp_path):
    (path,) = write(tmp_path / "tables", *finished)
    assert path == tmp_path / "tables" / "fake.csv"
    frame = read_table(path)
    assert list(frame["init"]) == ["a", "a", "b", "b"]
    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert sorted(p.name for p in path.parent.iterdir()) == ["fake.csv", "fake.json"]


def test_pooled_rows_have_a_table_of_their_own(fake, tmp_path, finish):
    fake.rows += POOLED
    cells = [fake.cell("a"), fake.cell("b")]
    results = finish(cells, CellStore(tmp_path / "cells"))
    single, pooled = write(tmp_path, cells, results)
    assert (single.name, pooled.name) == ("fake.csv", "fake_pooled.csv")
    assert read_table(single)["seed"].notna().all()
    assert "hist[+0.00]" not in set(read_table(single)["metric"])
    assert read_table(pooled)["seed"].isna().all()
    assert list(read_table(pooled)["metric"]) == ["hist[+0.00]"] * 2
    assert provenance(single)["made_from"] == provenance(pooled)["made_from"]


def test_only_pooled_rows(fake, tmp_path, finish):
    fake.rows[:] = POOLED
    results = finish([fake.cell()], CellStore(tmp_path / "cells"))
    (path,) = write(tmp_path, [fake.cell()], results)
    assert path.name == "fake_pooled.csv"


def test_provenance(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "git_revision", lambda: "abc+")
    (path,) = write(tmp_path / "tables", *finished)
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


def test_what_cells_do_not_agree_in_is_listed(finished, tmp_path):
    cells, results = finished
    facts = [{"seconds": 1.25, "device": "old"}, {"seconds": 2.5, "device": "fast", "cupy": "13"}]
    results = [
        replace(result, provenance=result.provenance | own)
        for result, own in zip(results, facts, strict=True)
    ]
    document = provenance(*write(tmp_path / "tables", cells, results))
    assert document["seconds"] == 3.8
    assert (document["device"], document["cupy"]) == ("fast, old", "13")


def test_what_differs_between_cells_stands_at_each(fake, tmp_path, finish):
    cells = [fake.cell(seeds=2), fake.cell(seeds=3)]
    results = finish(cells, CellStore(tmp_path / "cells"))
    (path,) = write(tmp_path, cells, results)
    document = provenance(path)
    assert "seeds" not in document["config"]
    assert [document["cells"][cell.id] for cell in cells] == [{"seeds": 2}, {"seeds": 3}]


def test_rows_are_asked_for_one_cell_at_a_time(fake, tmp_path, finish):
    """Of thousands of cells the digests fit into memory, the rows do not."""
    fake.rows += POOLED
    cells = [fake.cell(init) for init in "abc"]
    store = CellStore(tmp_path / "cells")
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
    assert write_tables(tmp_path, "fake", cells, kept, load) == paths
    assert len(asked) == 6
    assert [len(read_table(path)) for path in paths] == [6, 3]


@pytest.mark.parametrize(
    ("rows", "traces"),
    [
        ([], (False, False)),
        (POOLED, (True, False)),
        ([Observation(0, None, None, "m", 1.0)], (False, True)),
        ([*POOLED, Observation(0, None, None, "m", 1.0)], (True, True)),
    ],
)
def test_what_is_remembered_of_a_result(rows, traces):
    assert Kept.of(Result(rows, {}, "digest")) == Kept("digest", *traces)


@pytest.mark.parametrize("name", ["estimators", "mnist_init_pooled", "recipe", "exact"])
def test_the_committed_tables_have_the_bytes_that_are_written_now(name, tmp_path):
    path = TABLES / f"{name}.csv"
    frame = read_table(path)
    axes = path.read_text().partition("\n")[0].split(",")[: -len(COLUMNS)]
    text = TableText(axes)
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        keys = {key: row[key] for key in ("seed", "step", "layer")}
        value = float("nan") if row["value"] is None else row["value"]
        observation = Observation(**keys, metric=row["metric"], value=value)
        text.add([row[axis] for axis in axes], [observation])
    text.write(tmp_path / "t.csv", {})
    assert (tmp_path / "t.csv").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("inits", ["ab", "a"])
def test_a_thinned_table_holds_chosen_rows_and_its_constants_once(
    inits, fake, tmp_path, finish, monkeypatch
):
    chosen = {"fake": (Part(("m",), {}, (), ()),)}
    fake.rows[:] = [Observation(0, None, None, metric, 1.0) for metric in ("m", "n", "m[1]")]
    cells = [fake.cell(init) for init in inits]
    store = CellStore(tmp_path / "cells")
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


def test_the_order_of_what_stands_beside_a_table(fake, tmp_path, finish):
    """As in the committed files, whose differences a reviewer reads."""
    cells = [fake.cell("a", seeds=2), fake.cell("b", "digits", seeds=2), fake.cell("a", seeds=3)]
    (path,) = write(tmp_path, cells, finish(cells, CellStore(tmp_path / "cells")))
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


def test_the_checksums_of_all_data(fake, tmp_path, finish):
    cells = [fake.cell(data="gaussian"), fake.cell(data="digits")]
    results = finish(cells, CellStore(tmp_path / "cells"))
    (path,) = write(tmp_path, cells, results)
    assert "digits-images" in json.dumps(provenance(path)["data"])


def test_the_table_holds_no_path_and_no_time(finished, tmp_path):
    (path,) = write(tmp_path / "tables", *finished)
    text = path.read_text()
    assert str(tmp_path) not in text
    assert "/" not in text
    assert not re.search(r"20\d\d-|\d\d:\d\d", text)
    assert str(tmp_path) not in path.with_suffix(".json").read_text()


def test_the_same_bytes_in_another_folder(finished, tmp_path):
    (one,) = write(tmp_path / "one", *finished)
    (two,) = write(tmp_path / "two", *finished)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()


def test_a_current_table_is_left_alone(finished, tmp_path, monkeypatch):
    (path,) = write(tmp_path, *finished)
    monkeypatch.setattr(collect, "TableText", lambda *_: pytest.fail("written again"))
    assert write(tmp_path, *finished) == [path]


def test_a_damaged_table_is_written_again(finished, tmp_path):
    (path,) = write(tmp_path, *finished)
    before = path.read_bytes()
    path.write_bytes(before[:-5])
    write(tmp_path, *finished)
    assert path.read_bytes() == before


def test_a_table_of_other_results_is_written_again(finished, tmp_path):
    cells, results = finished
    (path,) = write(tmp_path, cells[:1], results[:1])
    before = path.read_bytes()
    write(tmp_path, cells, results)
    assert path.read_bytes() != before
    assert table_is_current(path, cells[0].axes, provenance(path)["made_from"])


def test_a_table_says_what_it_was_made_from_even_where_a_cell_changed_meanwhile(
    finished, fake, tmp_path, finish
):
    cells, before = finished
    kept = {c.id: Kept.of(r) for c, r in zip(cells, before, strict=True)}
    fake.rows[:] = fake.rows[:1]
    store = CellStore(tmp_path / "cells")
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


def test_an_older_table_without_these_columns_is_written_again(tmp_path):
    cells = cells_of("gamma_beta", norm__momentum=[0.1, 0.9])
    results = [named(cell) for cell in cells]
    path, _ = write(tmp_path, cells, results)
    good = path.read_bytes()
    text = TableText(cells[0].axes)
    for cell, result in zip(cells, results, strict=True):
        text.add(cell.axes.values(), result.rows[:-1])
    text.write(path, {"made_from": provenance(path)["made_from"]})
    assert path.read_bytes() != good
    write(tmp_path, cells, results)
    assert path.read_bytes() == good
