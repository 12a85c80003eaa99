"""How long what is missing takes: made-up cells and provenance, whose answer is known."""

import json
from types import SimpleNamespace

import pytest

from gpubn.sweeps.estimate import Forecast, Remaining, forecast, operations

SETTINGS = {
    **{"data.name": "mnist", "model.width": 100, "model.depth": 3, "seeds": 2},
    **{"optim.steps": 50, "optim.batch": 32},
}
TOOK = "what cells took"
WORK = 2 * 50 * (6 * 32 * (784 * 100 + 2 * 100**2 + 100 * 10) + 2e6)


def cells(count, start=0, **changes):
    settings = SETTINGS | {key.replace("_", "."): value for key, value in changes.items()}
    return [SimpleNamespace(id=f"c{start + n}", settings=settings) for n in range(count)]


@pytest.fixture
def table(tmp_path):
    """table(folder, experiment, seconds, cells, **changes): provenance of so many cells."""

    def write(folder, experiment, seconds, count, **changes):
        changes = {key.replace("_", "."): value for key, value in changes.items()}
        common = {k: v for k, v in (SETTINGS | changes).items() if k != "model.depth"}
        apart = {f"old{n}": {"model.depth": SETTINGS["model.depth"]} for n in range(count)}
        document = {"seconds": seconds, "config": common, "cells": apart}
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{experiment}.json").write_text(json.dumps(document))
        return tmp_path / folder

    return write


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, WORK),
        ({"seeds": 20}, 10 * WORK),
        ({"optim.steps": 5}, WORK / 10),
        ({"data.name": "digits"}, WORK - 100 * 6 * 32 * 720 * 100),
        ({"data.name": "gaussian", "data.features": 64}, WORK - 100 * 6 * 32 * 720 * 100),
        ({"optim.batch": 64}, 2 * WORK - 100 * 2e6),
        ({"model.depth": 1}, WORK - 100 * 6 * 32 * 2 * 100**2),
    ],
)
def test_the_work_of_a_cell(changes, expected):
    assert operations(SETTINGS | changes) == pytest.approx(expected)


def test_what_is_not_trained_has_work():
    assert 0 < operations({"seeds": 1}) < operations({"seeds": 2})
    of_more = operations({"data.examples": 1000, "model.width": 9})
    assert operations({"data.examples": 10, "model.width": 9}) < of_more


def test_cells_that_are_finished_say_more_than_a_table(table):
    folder = table("tables", "one", 1000.0, 5)
    grid = cells(4) + cells(2, 4, optim_steps=500)
    left = forecast({"one": grid}, {"c0": 3.0, "c1": 5.0}, [folder], 2)
    # Two cells took 4 s each: two more like them, and two of ten times as many steps.
    (one,) = left.remaining
    assert (one.missing, one.cells, one.seconds) == (4, 6, pytest.approx(88))
    assert left.seconds == pytest.approx(44)
    said = "4 cells are missing, about 44 s on 2 cores"
    assert str(left) == f"{said} (an estimate from {TOOK}: those that are finished)"
    assert left.lines == ["one: 4 of 6 cells are missing, about 44 s"]


def test_of_tables_the_one_with_cells_as_large(table):
    quick = table("quick", "one", 5 * 100.0, 5)
    full = table("full", "one", 5 * 3000.0, 5, optim_steps=1500)  # as many operations, as slow
    table("full", "two", 0.0, 5)
    for steps, seconds, folder in ((60, 120, quick), (1200, 2400, full)):
        left = forecast({"one": cells(1, optim_steps=steps)}, {}, [quick, full], 1)
        assert left.seconds == pytest.approx(seconds)
        assert str(left).endswith(
            f"on 1 core (an estimate from what cells took: those of {folder})"
        )


def test_an_experiment_without_a_pace_goes_at_the_median_one(table):
    folder = table("tables", "a_pooled", 10.0, 1)
    table("tables", "b", 30.0, 1)
    table("tables", "c", 500.0, 1)
    (folder / "broken.json").write_text('{"seconds": 1, "config": 3, "cells": {}}')
    names = ("a", "b", "c", "new", "broken", "finished")
    grids = {name: cells(1, 10 * n) for n, name in enumerate(names)}
    left = forecast(grids, {"c50": 9.0}, [folder], 1)
    assert {r.experiment: r.seconds for r in left.remaining} == {
        name: pytest.approx(seconds)
        for name, seconds in (("a", 10), ("b", 30), ("c", 500), ("new", 30), ("broken", 30))
    }
    assert left.seconds == pytest.approx(600)
    assert str(left).startswith("5 cells are missing, about 10 minutes on 1 core (")


def test_a_cell_that_stands_in_a_grid_twice_counts_once(table):
    folder = table("tables", "one", 7.0, 1)
    (one,) = forecast({"one": cells(1) * 2}, {}, [folder], 1).remaining
    assert (one.missing, one.cells, one.seconds) == (1, 1, pytest.approx(7))


def test_where_nobody_knows_it_says_so(tmp_path):
    left = forecast({"one": cells(3), "two": []}, {}, [tmp_path], 2)
    assert left.seconds is None
    assert str(left) == "3 cells are missing; how long they take is unknown"
    assert left.lines == ["one: 3 of 3 cells are missing"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0.2, "about 1 s"), (80, "about 80 s"), (600, "about 10 minutes")),
        (14_400, "about 4.0 hours"),
    ],
)
def test_times_in_words(seconds, said):
    (line,) = Forecast([Remaining("x", 1, 2, 2 * seconds)], 2, "").lines
    assert line == f"x: 1 of 2 cells are missing, {said}"
