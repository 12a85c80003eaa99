"""From results to an experiment's tables: what goes where, and what stands in the provenance."""

import json
import re
import sys
import weakref
from dataclasses import replace

import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, OptimConfig
from gpubn.errors import CellError
from gpubn.experiments import base, tabulated
from gpubn.experiments.tabulated import Part
from gpubn.report.tables import read_table, table_is_current
from gpubn.rows import COLUMNS, Observation
from gpubn.sweeps import collect, pipeline
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import Kept, distinguishing_keys, write_tables
from gpubn.sweeps.store.cell_store import CellStore, Result

NUMPY = resolve("numpy")
POOLED = [Observation(None, None, 1, "hist[+0.00]", 0.5)]


def write(folder, cells, results, load=None, **options):
    """The tables of these cells, whose rows are asked for one cell at a time."""
    by_id = {cell.id: result for cell, result in zip(cells, results, strict=True)}
    kept = {id: Kept.of(result) for id, result in by_id.items()}
    load = load or (lambda cell: by_id[cell.id])
    return write_tables(folder, "fake", cells, kept, load, **options)


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


def test_what_stands_beside_a_table(fake, tmp_path, store, finish, monkeypatch):
    cells = [fake.cell("a", "digits"), fake.cell("b", "digits", seeds=3)]
    monkeypatch.setattr(collect, "git_revision", lambda: "abc+")
    own = [{"seconds": 1.25, "device": "old"}, {"seconds": 2.5, "device": "fast", "cupy": "13"}]
    results = [
        replace(result, provenance=result.provenance | facts)
        for result, facts in zip(finish(cells, store), own, strict=True)
    ]
    (path,) = write(tmp_path / "tables", cells, results)
    document = provenance(path)
    assert {"sha256", "schema", "written", "numpy", "python"} <= set(document)
    told = {"experiment": "fake", "revision": "abc+", "backend": "numpy", "seconds": 3.8}
    told |= {"device": "fast, old", "cupy": "13"}
    assert told.items() <= document.items()
    assert set(document["data"]) == {"digits-images", "digits-labels"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in document["data"].values())
    keys = ("kind", "std", "low", "high", "scale", "bias", "scaled", "per_sqrt_fan_in")
    assert list(document["config"]) == ["data.name", *(f"init.{key}" for key in keys)]
    assert list(document["cells"]) == [cell.id for cell in cells]
    assert list(document["cells"].values()) == [{"seeds": 2}, {"seeds": 3}]
    digests = {cell.id: result.digest for cell, result in zip(cells, results, strict=True)}
    assert document["made_from"] == digests
    # The table itself is the same wherever and whenever it is written.
    assert not re.search(r"/|20\d\d-|\d\d:\d\d", path.read_text())
    assert str(tmp_path) not in path.with_suffix(".json").read_text()


def test_a_table_is_written_again_only_where_it_must_be(fake, tmp_path, store, finish, monkeypatch):
    cells = [fake.cell("a"), fake.cell("b")]
    results = finish(cells, store)
    (path,) = write(tmp_path, cells[:1], results[:1])
    of_one = path.read_bytes()
    write(tmp_path, cells, results)
    of_two = path.read_bytes()
    assert of_one != of_two
    assert table_is_current(path, cells[0].axes, provenance(path)["made_from"])
    path.write_bytes(of_two[:-5])
    write(tmp_path, cells, results)
    assert path.read_bytes() == of_two
    with monkeypatch.context() as patch:
        patch.setattr(collect, "TableText", lambda *_: pytest.fail("written again"))
        assert write(tmp_path, cells, results) == [path]
    # It says what it was made from even where a cell changed meanwhile.
    path.unlink()
    fake.rows[:] = fake.rows[:1]
    after = finish(cells, store, force=True)
    write(tmp_path, cells, results, store.get)
    assert list(provenance(path)["made_from"].values()) == [result.digest for result in after]


def test_rows_are_asked_for_one_cell_at_a_time(fake, tmp_path, store, finish):
    """Of thousands of cells the digests fit into memory, the rows do not."""
    fake.rows += POOLED
    cells = [fake.cell(init) for init in "abc"]
    results, asked, alive = finish(cells, store), [], []

    def load(cell):
        assert not any(seen() for seen in alive[:-1])  # the last one may still have its name
        asked.append(cell)
        result = store.get(cell)
        alive.append(weakref.ref(result))
        return result

    write(tmp_path, cells, results, load)
    assert asked == cells  # once each, for both tables


@pytest.mark.parametrize("inits", ["ab", "a"])
def test_a_thinned_table_holds_chosen_rows_and_its_constants_once(
    inits, fake, tmp_path, store, finish, monkeypatch
):
    fake.rows[:] = [Observation(0, None, None, metric, 1.0) for metric in ("m", "n", "m[1]")]
    cells = [fake.cell(init) for init in inits]
    results = finish(cells, store)

    def metrics(chosen):
        for module in (tabulated, collect):
            monkeypatch.setattr(module, "PARTS", {"fake": (Part((chosen,), {}, (), ()),)})
        (path,) = write(tmp_path, cells, results, thinned=True)
        assert path.read_text().startswith("init," if len(inits) > 1 else "seed,")
        frame = read_table(path)
        axes = {tuple(row) for row in frame[list(cells[0].axes)].to_numpy()}
        assert axes == {tuple(cell.axes.values()) for cell in cells}
        return list(frame["metric"])

    assert metrics("m") == ["m", "m[1]"] * len(inits)
    assert metrics("n") == ["n"] * len(inits)


def test_a_choice_of_rows_at_one_rate_is_about_an_arm_that_has_no_other(
    fake, tmp_path, store, finish, monkeypatch
):
    """As one whose rate was tuned."""
    axes = {"init": "init.name", "rate": "optim.rate"}
    keys = ("data.name", "init", "optim.rate", "seeds")
    experiment = replace(base.get("fake"), axes=axes, keys=keys)
    monkeypatch.setattr(sys.modules["gpubn.experiments.fake"], "FAKE", experiment)
    part = Part(("loss",), {"rate": ["0.1"], "init": ["a", "b"]}, (), ())
    for module in (tabulated, collect):
        monkeypatch.setattr(module, "PARTS", {"fake": (part,)})

    def rates(**of_arms):
        cells = [
            Cell.of(replace(fake.cell(init).config, optim=OptimConfig(rate=rate)))
            for init, rates in of_arms.items()
            for rate in rates
        ]
        (path,) = write(tmp_path / "tables", cells, finish(cells, store), thinned=True)
        return [(row.init, row.rate) for row in read_table(path).itertuples() if row.seed == 0]

    assert rates(a=(0.1, 0.3), b=(0.3, 1.0), c=(0.1, 3.0)) == [("a", "0.1")]
    assert rates(a=(0.1, 0.3), b=(0.3,), c=(0.1,)) == [("a", "0.1"), ("b", "0.3")]
    assert rates(a=(0.3,), b=(0.3,), c=(0.3,)) == [("a", "0.3"), ("b", "0.3")]


# What tells cells apart --------------------------------------------------------------------------


def cells_of(values):
    """Cells of an experiment, one for each of the lists' first, second, ... values."""
    cells = []
    for row in zip(*values.values(), strict=True):
        config = Config(name="gamma_beta", data=DataConfig("digits"))
        for key, value in zip(values, row, strict=True):
            group, _, name = key.rpartition(".")
            setattr(getattr(config, group) if group else config, name, value)
        cells.append(Cell.of(config))
    return cells


def named(cell):
    """A result with one row a seed and one that pools them."""
    config = cell.config
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    rows = [Observation(seed, None, None, "m", config.optim.rate) for seed in (*seeds, None)]
    return Result(rows, {"data": {}, "seconds": 0.0}, cell.id)


MOMENTUM, BATCH = "norm.momentum", "optim.batch"


@pytest.mark.parametrize(
    ("values", "plain", "pooled"),
    [
        ({MOMENTUM: [0.1]}, [], []),
        ({MOMENTUM: [0.1, 0.9, 0.1, 0.9], BATCH: [8, 8, 16, 16]}, [MOMENTUM, BATCH], None),
        ({"norm.name": ["none", "before"], MOMENTUM: [0.1, 0.9]}, [], []),  # the axis tells
        ({"norm.name": ["none", "before", "before"], MOMENTUM: [0.1, 0.1, 0.9]}, [MOMENTUM], None),
        ({"seeds": [2, 3], "first_seed": [0, 2]}, [], ["seeds", "first_seed"]),
        ({"seeds": [2, 3]}, ["seeds"], None),  # of which some are the same
        ({BATCH: [8, 16], "seeds": [2, 3]}, [BATCH], None),
        (
            {BATCH: [8, 16, 16], "seeds": [2, 2, 2], "first_seed": [0, 0, 1]},
            [BATCH, "first_seed"],
            None,
        ),
        ({"model.name": ["a", "b"]}, [], []),  # one cell twice
    ],
    ids=str,
)
def test_a_column_for_every_key_that_the_axes_do_not_show(values, plain, pooled, tmp_path):
    cells, columns = cells_of(values), (plain, plain if pooled is None else pooled)
    paths = write(tmp_path, cells, [named(cell) for cell in cells])
    for path, keys in zip(paths, columns, strict=True):
        assert distinguishing_keys(cells, pooled=path is paths[1]) == keys
        frame = read_table(path)  # refuses rows that nothing tells apart
        assert list(frame.columns) == ["data", "norm", *keys, *COLUMNS]
        for key in keys:
            assert set(frame[key]) == {str(cell.settings[key]) for cell in cells}
    different = {cell.id: cell for cell in cells}.values()
    assert len(read_table(paths[0])) == sum(cell.config.seeds for cell in different)


# The road -----------------------------------------------------------------------------------------


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


def test_the_tables_of_several_experiments_are_those_of_each_alone(tmp_path):
    few = ["data.examples=4", "seeds=2"]
    chosen = {name: [f"experiment={name}", *few] for name in ("estimators", "exact")}
    made = pipeline.make_tables(chosen, tmp_path / "both", NUMPY, processes=2)
    for name, overrides in chosen.items():
        alone = pipeline.make_tables({name: overrides}, tmp_path / name, NUMPY, processes=1)
        both = zip(made[name].paths, alone[name].paths, strict=True)
        assert all(one.read_bytes() == other.read_bytes() for one, other in both)
    assert pipeline.make_tables({}, tmp_path / "none", NUMPY) == {}
