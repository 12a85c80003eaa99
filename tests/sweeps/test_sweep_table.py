"""The table of a sweep: from which cells, under which name, and the commands about it."""

from pathlib import Path

import pytest

from gpubn.errors import ConfigError, StoreError
from gpubn.report.tables import read_table
from gpubn.rows import Failure, Observation
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import command_for, table_name, tabulate
from gpubn.sweeps.tuning import Stages

SWEEP = ["experiment=estimators", "data.examples=2,4", "seeds=2"]
NAME = "estimators_data.examples=2,4_seeds=2"


@pytest.fixture
def results(tmp_path, finish):
    """A folder in which the sweep is finished."""
    finish(expand(SWEEP), CellStore(tmp_path / "out" / "cells"))
    return tmp_path / "out"


def test_the_table_of_a_finished_sweep(results, caplog):
    (table,) = tabulate([*SWEEP, "results=nowhere", f"results={results}"])  # the last one counts
    assert (table.experiment, table.overrides) == ("estimators", SWEEP)
    assert (table.cells, table.finished) == (2, 2)
    assert table.paths == [results / "sweeps" / f"{NAME}.csv"]
    assert set(read_table(table.paths[0])["batch"]) == {"2", "4"}
    assert "not finished" not in caplog.text
    # How it runs and the order of its overrides make no other table.
    (other,) = tabulate(["backend=numpy", "++force=true", f"results={results}", *reversed(SWEEP)])
    assert table.paths == other.paths
    assert len(list(results.glob("sweeps/*"))) == 2


def test_of_unfinished_sweeps_each_has_a_table_of_what_is_finished_and_says_how_to_go_on(
    results, finish, caplog
):
    finish(expand(["experiment=exact", "data.examples=2", "seeds=2"]), CellStore(results / "cells"))
    given = ["experiment=estimators,exact", "data.examples=2,4", "seeds=2", f"results={results}"]
    first, second = tabulate(given)
    assert [(t.experiment, t.cells, t.finished) for t in (first, second)] == [
        *(("estimators", 2, 2), ("exact", 12, 6)),
    ]
    assert not set(first.paths) & set(second.paths)
    command = command_for("sweep", given)
    said = f"6 of 14 cells are not finished (0 failed) and left out; `{command}` runs them"
    assert said in caplog.messages


def test_the_table_of_a_tuned_sweep_holds_what_is_held(tmp_path, caplog):
    grid = ["experiment=rate_sweep", "data=digits", "norm=none", "optim.rate=0.1,1.0", "seeds=2"]
    given = [*grid, "tuning=rates", f"results={tmp_path}"]
    cells, store = expand([*grid, "tuning=rates"]), CellStore(tmp_path / "cells")
    tanh, relu = (arm.trials for arm in Stages.of(cells).arms)

    def save(cell, loss):
        rows = [Observation(cell.config.first_seed, 10, None, "batch_loss", loss)]
        store.save(cell, rows, {"backend": "numpy", "seconds": 1.0, "data": {}})

    for trial, loss in zip((*tanh, relu[0]), (2.0, 1.0, 3.0), strict=True):
        save(trial, loss)
    with pytest.raises(StoreError, match="none of 2 cells is finished in"):
        tabulate(given)
    assert not (tmp_path / "sweeps").exists()
    store.save_failure(relu[1], Failure("why", "where"))
    save(next(c for c in cells if (c.axes["activation"], c.axes["rate"]) == ("tanh", "1.0")), 7.0)
    (table,) = tabulate(given)
    assert (table.cells, table.finished) == (2, 1)
    assert "1 of 2 cells are not finished (1 failed) and left out" in caplog.text
    frame = read_table(table.paths[0])
    assert (list(frame["rate"]), list(frame["value"])) == (["1.0"], [7.0])
    (path,) = (tmp_path / "sweeps").glob("*_tuning.csv")
    assert path.name == f"{table.paths[0].stem}_tuning.csv"
    assert path.read_text().splitlines()[1:] == [
        "digits,none,tanh,0.1,batch_loss,2,3,0,0",
        "digits,none,tanh,1.0,batch_loss,1,3,1,1",
    ]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (SWEEP, r"none of 2 cells is finished in .*; expected .* runs"),
        ([], "experiment is ''; expected one of"),
        ([*SWEEP, "data.examples"], "'data.examples' is no override"),
        ([*SWEEP, "seeds=0"], "seeds is 0; expected"),
    ],
)
def test_a_sweep_that_has_no_table(overrides, words, tmp_path):
    with pytest.raises((ConfigError, StoreError), match=words):
        tabulate([*overrides, f"results={tmp_path}"])
    assert not (tmp_path / "sweeps").exists()


def test_short_names_say_all_and_long_ones_have_a_hash():
    assert table_name("estimators", ["experiment=estimators"]) == "estimators"
    rates = [f"optim.rate={','.join(str(i / 100) for i in range(1, n))}" for n in (40, 41)]
    names = [table_name("rate_sweep", ["experiment=rate_sweep", rate]) for rate in rates]
    assert all(name.startswith("rate_sweep_optim.rate_") for name in names)
    assert len({*names, table_name("rate_sweep", ["experiment=full/rate_sweep", rates[0]])}) == 3
    for override in ("optim.rate=choice(0.1, 0.2)", "norm.name='a/b'", "~norm", f"+{'a' * 99}=1"):
        name = table_name("exact", [override])
        assert name.startswith("exact_")
        assert len(name) < 90
        assert not {*"/ '()~"} & {*name}


def test_commands(monkeypatch):
    """Whoever came in by make is sent there again, and whoever called gpubn, to that."""
    overrides = ["experiment=exact", "+seeds=1,2", "hydra/launcher=pool", "++tracker=mlflow"]
    spaced, elsewhere = ["results=a $b", "seeds=2"], Path("my results")
    assert command_for("table", overrides) == 'make table ARGS="experiment=exact +seeds=1,2"'
    assert command_for("sweep", spaced) == "make sweep ARGS=\"seeds=2 'results=a \\$\\$b'\""
    assert command_for("status") == "make status"
    assert command_for("status", results=elsewhere) == "make status RESULTS='my results'"
    monkeypatch.setattr("sys.argv", ["gpubn run", "-m"])
    monkeypatch.setenv("GPUBN_EXTEND", "/a:/b")
    start = "extend=/a extend=/b"
    assert command_for("table", overrides, options=["--config-dir=c"]) == (
        f"gpubn table --config-dir=c {start} experiment=exact +seeds=1,2"
    )
    assert command_for("sweep", spaced) == f"gpubn run -m {start} seeds=2 'results=a $b'"
    assert (
        command_for("claims", results=elsewhere) == f"gpubn claims {start} '--results=my results'"
    )
