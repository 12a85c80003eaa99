"""Universes: what their files say, what they leave, what an experiment that fails does, costs."""

import re

import pytest

from gpubn.backend import resolve
from gpubn.data import load
from gpubn.errors import ConfigError
from gpubn.report.claims.ledger import load_ledger
from gpubn.sweeps import compose
from gpubn.sweeps import universe_costs as costs
from gpubn.sweeps import universes as module
from gpubn.sweeps.compose import expand
from gpubn.sweeps.pipeline import make_tables
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.universes import Universe, grids, tables_of, tabulate, universes

NUMPY = resolve("numpy")
TINY = ["optim.batch=4", "norm.correction=0", "seeds=2", "optim.steps=6", "model.width=4"]
DEFAULT = Universe("default", "default", "")


def ids(cells):
    return [cell.id for cell in cells]


@pytest.fixture
def tiny(monkeypatch):
    """Of every grid a tiny one."""
    real = Universe.overrides
    monkeypatch.setattr(
        Universe, "overrides", lambda self, name: [*real(self, name), *(TINY * (name == "bessel"))]
    )


def test_every_file_says_its_title_what_differs_and_what_it_leaves():
    found = universes()
    assert {*found} == {path.stem for path in compose.CONF.glob("universe/*.yaml")}
    assert next(iter(found)) == "seeds"
    assert len({u.title for u in found.values()}) == len(found)
    assert max(len(u.title) for u in found.values()) <= 16  # of a column's head
    subset = found["subset_1000"]
    assert {*subset.leaves} == {"batch_sweep", "dropout", "dropout_shares", "inputs"}
    assert subset.why_left("inputs").endswith("and refuses a subset")
    assert (found["digits"].data, subset.data) == ("digits", "")


@pytest.mark.parametrize(
    ("universe", "experiment", "chosen"),
    [
        ("digits", "bessel", ["experiment=bessel", "universe=digits"]),
        ("digits", "exact", ["experiment=exact"]),
        ("tuned", "rate_sweep", ["experiment=rate_sweep"]),
        ("subset_10000", "inputs", ["experiment=inputs"]),
        ("float64", "exact", ["experiment=exact", "universe=float64"]),
    ],
)
def test_an_experiment_that_is_left_keeps_its_own_grid(universe, experiment, chosen):
    one = universes()[universe]
    assert one.overrides(experiment) == chosen
    assert bool(one.why_left(experiment)) == (len(chosen) == 1)
    assert DEFAULT.overrides(experiment) == [f"experiment={experiment}"]


def test_where_rates_are_tuned_no_claim_names_one_of_several_rates():
    tuned, several = universes()["tuned"], ("decades_below", "end_below")
    read = [m for claim in load_ledger().claims.values() for m in claim.measures.values()]
    of_rates = {
        m.table
        for m in read
        if "rate" in m.where or (m.along == "rate" and (m.points or m.reduce in several))
    }
    assert of_rates >= {"mechanism", "rate_sweep"}
    assert {table for table in of_rates if not tuned.why_left(table)} == set()


@pytest.mark.parametrize("text", ["# title", "# - inputs: why", "# one: a\n# two: b", ""])
def test_a_file_without_a_title_is_refused(tmp_path, text, monkeypatch):
    (tmp_path / "universe").mkdir()
    (tmp_path / "universe" / "own.yaml").write_text(f"# @package _global_\n{text}\nseeds: 3\n")
    monkeypatch.setattr(module, "conf_folders", lambda: [tmp_path])
    with pytest.raises(ConfigError, match=re.escape("own.yaml says no title; expected `# TITLE")):
        universes()


def test_a_grid_that_cannot_be_and_a_cell_that_fails_leave_the_others_alone(tmp_path, tiny):
    digits = universes()["digits"]
    wrong = Universe("digits", "digits", "", "digits", {})
    cells, failed = grids(wrong, ["bessel", "fixed_identity"], tmp_path / "plans")
    assert ({*cells}, failed) == ({"bessel", "fixed_identity"}, {})
    blind = Universe("digits", "digits", "")  # does not say that it is about data
    _, failed = grids(blind, ["bessel", "exact"], tmp_path / "plans")
    assert failed == {"exact": "data is 'digits'; expected gaussian for exact"}

    TINY.append("data.train_examples=2")  # fewer than a batch
    try:
        failed = tabulate(digits, ["bessel", "fixed_identity"], tmp_path, tmp_path / "c", NUMPY)
    finally:
        TINY.pop()
    assert [*failed] == ["bessel"]
    assert "optim.batch is 4; expected at most 2" in failed["bessel"]
    assert tables_of(tmp_path, "bessel") == []
    (there,) = tables_of(tmp_path, "fixed_identity")
    assert tabulate(digits, ["bessel"], tmp_path, tmp_path / "c", NUMPY) == {}
    (made,) = tables_of(tmp_path, "bessel")
    assert made == tmp_path / "digits" / "tables" / "bessel.csv"
    module.remove_tables(tmp_path, "bessel")
    assert tables_of(tmp_path, "bessel") == []
    assert not made.with_suffix(".json").exists()
    assert there.exists()


def test_cells_that_a_universe_does_not_change_are_not_run_twice(tmp_path):
    store = CellStore(tmp_path / "cells")
    names = ["fixed_identity"]
    assert tabulate(DEFAULT, names, tmp_path, store.root, NUMPY) == {}
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*.json")}
    for name in ("digits", "momentum", "steps_4"):
        assert tabulate(universes()[name], names, tmp_path / name, store.root, NUMPY) == {}
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*.json")} == before

    cells = expand(DEFAULT.overrides("fixed_identity"))
    row = costs.costs("digits", cells, ids(cells)[1:], store)
    assert (row["cells"], row["shared_cells"]) == (str(len(cells)), str(len(cells) - 1))
    assert row["h100_computed_seconds"] == "0.0"  # nothing is trained
    assert costs.costs("default", cells, None, store)["cells"] == str(len(cells))
    assert costs.costs("default", cells, None, CellStore(tmp_path / "another")) is None


def test_the_work_of_a_step_is_counted_by_hand():
    (cell,) = expand(["experiment=bessel", "data=digits", *TINY])
    data = load("digits")
    weights = data.features * 4 + 4 * data.classes
    flops, moved = costs.step_work(cell.config)
    assert flops == 2 * 4 * weights + 2 * 4 * weights + 2 * 4 * 4 * data.classes
    assert moved == 4 * (7 * weights + 4 * (2 * data.features + 16 * 4))
    assert costs.step_launches(cell.config) == 8 + 5 + 9
    launches, operations, of_bytes = costs.h100_seconds([cell])
    assert launches == pytest.approx(6 * 22 * 2e-6)
    assert operations == pytest.approx([6 * 2 * flops / 67e12])
    assert of_bytes == pytest.approx([6 * 2 * moved / 3.35e12])


def test_where_rates_are_tuned_one_of_them_alone_is_trained_on_its_own_seeds():
    cells = expand(["experiment=bessel", "data=digits", *TINY, "universe=tuned"])
    (one,) = expand(["experiment=bessel", "data=digits", *TINY])
    (alone,) = costs.h100_seconds([one])[1]
    assert sum(costs.h100_seconds(cells)[1]) == pytest.approx(alone * (6 * 3 + 2) / 2)


def test_of_tuned_rates_the_trials_and_the_held_cell_cost(tmp_path, tiny):
    tuned, store = universes()["tuned"], CellStore(tmp_path / "cells")
    override = [*tuned.overrides("bessel"), "data=digits", "optim.rate=0.01,0.1"]
    cells = expand(override)
    for name in ("default", "tuned"):  # the default has both rates on its own seeds
        chosen = override if name == "tuned" else [*override, "tuning.seeds=0"]
        make_tables({"bessel": chosen}, tmp_path / name, NUMPY, cell_folder=store.root)
    row = costs.costs("tuned", cells, ids(cells), store)
    assert (row["cells"], row["shared_cells"]) == ("3", "1")
