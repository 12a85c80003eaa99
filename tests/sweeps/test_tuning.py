"""Tuning: which cells try the rates, which of them is held, and what says so."""

import csv
import dataclasses
import json
import sys
from math import inf, nan
from types import SimpleNamespace

import pytest

import gpubn.experiments.base as registry
from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, OptimConfig, TuningConfig
from gpubn.errors import CellError, ConfigError
from gpubn.experiments import Experiment
from gpubn.report.tables import read_table
from gpubn.rows import Observation
from gpubn.sweeps import pipeline
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.collect import ENDS, Kept
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore, Result
from gpubn.sweeps.tuning import Stages, write_tuning

NUMPY = resolve("numpy")
TUNING = TuningConfig(seeds=3, first_seed=50)
LOSSES = {
    "a": {0.1: 3.0, 0.2: 1.0, 0.4: 2.0},
    "b": {0.1: inf, 0.2: 5.0, 0.4: 4.0},
}
"""Arm -> rate -> the loss at the end of every seed."""


@pytest.fixture
def toy(monkeypatch):
    """The experiment `toy`, whose loss at the end is in `LOSSES`: calls are its runs.

    toy.grid(*arms) is its grid; runs of what is in toy.fail fail.
    """

    def run(config, context):
        place = (config.init.name, config.optim.rate, config.first_seed)
        state.calls.append(place)
        context.tick(1)
        if place in state.fail:
            raise ValueError("no")
        seeds = range(config.first_seed, config.first_seed + config.seeds)
        end = LOSSES[config.init.name][config.optim.rate]
        loss = {0: -1.0, 10: end}
        return [Observation(s, t, None, "batch_loss", v) for t, v in loss.items() for s in seeds]

    def grid(*arms, rates=(0.4, 0.1, 0.2), tuning=TUNING):
        return [
            Cell.of(
                Config(
                    name="toy",
                    data=DataConfig(name="gaussian"),
                    init=InitConfig(name=arm),
                    optim=OptimConfig(rate=rate),
                    seeds=2,
                    tuning=tuning,
                )
            )
            for arm in arms
            for rate in rates
        ]

    experiment = Experiment(
        name="toy",
        datasets=("gaussian", "digits"),
        axes={"init": "init.name", "rate": "optim.rate"},
        keys=("init", "optim.rate", "seeds", "first_seed"),
        run=run,
        work=lambda config: 1,
        exact=True,
    )
    state = SimpleNamespace(calls=[], fail=set(), grid=grid)
    monkeypatch.setitem(sys.modules, "gpubn.experiments.toy", SimpleNamespace(TOY=experiment))
    monkeypatch.setitem(registry._ELSEWHERE, "toy", "gpubn.experiments.toy")
    return state


@pytest.fixture
def tuned(toy, tmp_path, monkeypatch):
    """tuned(cells): makes the tables of a grid of `toy` in `tmp_path`."""

    def run(cells):
        monkeypatch.setattr(pipeline, "expand", lambda overrides, plans: cells)
        made = pipeline.make_tables({"toy": []}, tmp_path, NUMPY, processes=1)
        return made["toy"].paths

    return run


def places(cells):
    return [(cell.axes["init"], cell.axes["rate"], cell.config.first_seed) for cell in cells]


def ends(*means, metric="batch_loss"):
    """What is kept of finished cells with these means."""
    return [
        Kept("digest", pooled=False, plain=True, ends={metric: mean}, seconds=0.0) for mean in means
    ]


def tuned_of(stages, kept):
    trials = [trial for arm in stages.arms for trial in arm.trials]
    return stages.tuned({t.id: k for t, k in zip(trials, kept, strict=False)})


# The stages ---------------------------------------------------------------------------------------


def test_all_rates_of_an_arm_are_tried_on_seeds_of_their_own(toy):
    stages = Stages.of(toy.grid("a", "b"))
    assert stages.plain == []
    assert places(stages.first) == [
        (arm, rate, 50) for arm in "ab" for rate in ("0.1", "0.2", "0.4")
    ]
    assert {(trial.config.seeds, trial.config.tuning.seeds) for trial in stages.first} == {(3, 0)}
    for arm in stages.arms:
        assert places(arm.cells) == [(name, rate, 0) for name, rate, _ in places(arm.trials)]


def test_what_tunes_nothing_is_run_as_it_is(toy):
    alone, off = toy.grid("a", rates=(0.2,)), toy.grid("b", tuning=TuningConfig())
    without = expand(["experiment=estimators", "data.examples=2,4", "tuning=rates"])
    for cells in (alone, off, without, [*off, *alone]):
        assert (Stages.of(cells).plain, Stages.of(cells).arms) == (cells, [])
        assert Stages.of(cells).first == cells
    both = Stages.of([*toy.grid("b"), *off])  # the same cells, of which some tune
    assert (both.plain, len(both.arms), len(both.first)) == (off, 1, 6)


def test_all_that_tells_cells_apart_but_the_rate_tells_arms_apart(toy):
    (cell,) = toy.grid("a", rates=(0.2,))
    others = [
        dataclasses.replace(cell.config, optim=OptimConfig(rate=0.4), **change)
        for change in (
            *({"seeds": 3}, {"first_seed": 7}, {"init": InitConfig(name="b")}),
            *({"init": InitConfig(name="a", std=0.5)}, {"tuning": TuningConfig(4, 50)}),
        )
    ]
    for other in map(Cell.of, others):
        assert Stages.of([cell, other]).plain == [cell, other]
    same = dataclasses.replace(cell.config, optim=OptimConfig(rate=0.4, steps=7))
    assert len(Stages.of([cell, Cell.of(same)]).arms) == 1  # which toy does not look at


def test_cells_and_plans(tmp_path):
    """A cell is the same tuned or not; a plan remembers that it is to be tuned."""
    grid = ["experiment=rate_sweep", "data=digits", "optim.rate=0.1,1.0", "norm=none", "seeds=2"]
    untuned = expand(grid, tmp_path)
    for _ in range(2):  # composed, then read
        cells = expand([*grid, "tuning=rates", "tuning.metric=test_loss"], tmp_path)
        assert [cell.id for cell in cells] == [cell.id for cell in untuned]
        assert {dataclasses.astuple(cell.config.tuning) for cell in cells} == {
            (3, 1000, "test_loss")
        }
    (arm, _) = Stages.of(cells).arms
    jobs = expand([*grid, "tuning=rates", "model.activation=tanh", *arm.overrides])
    assert [cell.id for cell in jobs] == [trial.id for trial in arm.trials]
    assert Stages.of(untuned).arms == []


# The choice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        ([(0, 0, 9.0), (1, 0, 9.0), (0, 10, 1.0), (1, 10, 2.0)], 1.5),
        ([(0, 10, 1.0), (1, 10, nan)], inf),
        ([(0, 10, 1.0), (1, 10, -inf)], inf),
        ([(0, 10, 1e308), (1, 10, 1e308)], inf),
        ([(0, 0, 9.0), (1, 0, 9.0), (0, 10, 1.0)], inf),  # one of them has no end
        ([(0, None, 1.0), (1, None, 2.0)], 1.5),
    ],
)
@pytest.mark.parametrize("metric", ENDS)
def test_what_counts_of_a_cell(rows, end, metric):
    of_layer = [Observation(seed, 20, 1, metric, 7.0) for seed in (0, 1)]
    result = [Observation(seed, step, None, metric, value) for seed, step, value in rows]
    other = Observation(0, 20, None, "diverged", 1.0)
    assert Kept.of(Result([*of_layer, *result, other], {"seconds": 0.0}, "")).ends == {metric: end}


def test_every_metric_of_the_configuration_is_looked_at():
    for metric in ENDS:
        assert TuningConfig(metric=metric).metric == metric
    with pytest.raises(ConfigError, match=f"expected one of {', '.join(ENDS)}$"):
        TuningConfig(metric="diverged")


@pytest.mark.parametrize(
    ("means", "rate", "at_edge"),
    [
        ((2.0, 1.0, 3.0), "0.2", False),
        ((1.0, 2.0, 3.0), "0.1", True),
        ((3.0, 2.0, 1.0), "0.4", True),
        ((2.0, 1.0, 1.0), "0.2", False),
        ((inf, inf, 1e9), "0.4", True),
        ((inf, inf, inf), "0.1", True),
    ],
)
def test_the_smallest_mean_is_held_and_of_equal_ones_the_smallest_rate(toy, means, rate, at_edge):
    stages = Stages.of(toy.grid("a"))
    (arm,) = tuned_of(stages, ends(*means))
    assert places([arm.held]) == [("a", rate, 0)]
    assert arm.at_edge == at_edge


def test_an_arm_waits_until_all_its_trials_are_finished(toy):
    stages = Stages.of(toy.grid("a", "b"))
    found = [len(tuned_of(stages, ends(*range(count)))) for count in range(7)]
    assert found == [0, 0, 0, 1, 1, 1, 2]


def test_a_metric_that_is_not_recorded(toy):
    stages = Stages.of(toy.grid("a", tuning=TuningConfig(3, 50, "test_loss")))
    words = "tuning.metric is 'test_loss'; expected batch_loss for toy"
    with pytest.raises(ConfigError, match=words):
        tuned_of(stages, ends(1.0, 2.0, 3.0))


# Tables -------------------------------------------------------------------------------------------


def test_tables_of_a_tuned_grid_hold_the_held_cells_and_one_says_why(toy, tuned, tmp_path):
    (path,) = tuned(toy.grid("a", "b"))
    table = read_table(path)
    assert [*dict.fromkeys(zip(table["init"], table["rate"], strict=True))] == [
        *(("a", "0.2"), ("b", "0.4")),
    ]
    assert set(table["seed"]) == {0, 1}
    trials = [(arm, rate, 50) for arm in "ab" for rate in (0.1, 0.2, 0.4)]
    assert toy.calls == [*trials, ("a", 0.2, 0), ("b", 0.4, 0)]
    said = tmp_path / "tables" / "toy_tuning.csv"
    assert said.read_text().splitlines() == [
        "init,rate,metric,mean,seeds,chosen,at_edge",
        "a,0.1,batch_loss,3,3,0,0",
        "a,0.2,batch_loss,1,3,1,0",
        "a,0.4,batch_loss,2,3,0,0",
        "b,0.1,batch_loss,inf,3,0,0",
        "b,0.2,batch_loss,5,3,0,0",
        "b,0.4,batch_loss,4,3,1,1",
    ]
    trials = [trial for arm in Stages.of(toy.grid("a", "b")).arms for trial in arm.trials]
    document = json.loads(said.with_suffix(".json").read_text())
    assert [*document["made_from"]] == [trial.id for trial in trials]

    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("tables/*")}
    assert len(before) == 4
    assert tuned(toy.grid("a", "b")) == [path]
    assert len(toy.calls) == 8
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("tables/*")} == before


def test_a_rate_that_all_arms_hold_is_a_column_still(toy, tuned):
    (path,) = tuned(toy.grid("a"))
    assert "rate" not in path.read_text().splitlines()[0].split(",")
    assert set(read_table(path)["rate"]) == {"0.2"}  # along which claims look


def test_tuned_and_other_grids_are_run_at_once(toy, tmp_path, monkeypatch):
    """So that no core waits for the last trials: `grids` is given name by name."""
    grids = {"tuned": toy.grid("a"), "off": toy.grid("b", tuning=TuningConfig())}
    ran, real = [], pipeline.run_cells

    def spy(cells, *arguments, **options):
        ran.append(len(cells))
        return real(cells, *arguments, **options)

    monkeypatch.setattr(pipeline, "run_cells", spy)
    monkeypatch.setattr(pipeline, "expand", lambda overrides, plans: grids[overrides[0]])
    made = pipeline.make_tables({name: [name] for name in grids}, tmp_path, NUMPY, processes=1)
    assert ran == [3 + 3, 1]
    counts = [len(read_table(tables.paths[0])) for tables in made.values()]
    assert counts == [2 * 2, 3 * 2 * 2]
    assert {p.name for p in tmp_path.glob("tables/*_tuning.csv")} == {"tuned_tuning.csv"}


def test_a_trial_that_fails_leaves_its_own_arm_out_and_is_run_again(toy, tuned, tmp_path):
    toy.fail.add(("a", 0.4, 50))
    with pytest.raises(CellError, match=r"toy \(init=a, rate=0\.4\) failed: ValueError: no; "):
        tuned(toy.grid("a", "b"))
    assert toy.calls[6:] == [("b", 0.4, 0)]
    assert not (tmp_path / "tables").exists()
    toy.fail.clear()
    tuned(toy.grid("a", "b"))
    assert toy.calls[7:] == [("a", 0.4, 50), ("a", 0.2, 0)]


def test_what_says_why_is_written_anew_where_a_trial_or_the_file_is_another(toy, tmp_path):
    stages = Stages.of(toy.grid("a"))
    kept = {t.id: k for t, k in zip(stages.first, ends(1.0, 2.0, 3.0), strict=True)}
    path = tmp_path / "x_tuning.csv"
    write_tuning(tmp_path, "x", [], kept)
    assert not path.exists()

    def times():
        write_tuning(tmp_path, "x", stages.tuned(kept), kept)
        return [p.stat().st_mtime_ns for p in (path, path.with_suffix(".json"))]

    first = times()
    assert times() == first
    kept[stages.first[0].id] = dataclasses.replace(kept[stages.first[0].id], digest="another")
    second = times()
    assert second > first
    path.write_text("half")
    assert times() > second
    with path.open() as file:
        assert [row["chosen"] for row in csv.DictReader(file)] == ["1", "0", "0"]


def test_arms_that_only_further_keys_tell_apart(toy, tmp_path):
    cells = toy.grid("a")
    wide = [dataclasses.replace(c.config, init=InitConfig(name="a", std=0.5)) for c in cells]
    stages = Stages.of([*cells, *map(Cell.of, wide)])
    kept = {t.id: k for t, k in zip(stages.first, ends(*range(6)), strict=True)}
    write_tuning(tmp_path, "x", stages.tuned(kept), kept)
    with (tmp_path / "x_tuning.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]][:3] == ["init", "init.std", "rate"]
    assert [row["init.std"] for row in rows] == ["1.0"] * 3 + ["0.5"] * 3


def test_results_of_the_store_are_enough(toy, finish, store):
    """What is kept of a cell is the same from the store as fresh."""
    stages = Stages.of(toy.grid("b"))
    finish(stages.first, store)
    again = CellStore(store.root)
    kept = {trial.id: Kept.of(again.get(trial)) for trial in stages.first}
    assert places([arm.held for arm in stages.tuned(kept)]) == [("b", "0.4", 0)]
