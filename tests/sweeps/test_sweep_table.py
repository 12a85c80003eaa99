"""The table of a sweep: from which cells, under which name, and the commands about it."""

import pytest

from gpubn.errors import ConfigError, StoreError
from gpubn.report.tables import provenance_path, read_table
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.sweep_table import make_command, table_name, tabulate

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
    assert provenance_path(table.paths[0]).exists()
    assert "not finished" not in caplog.text
    # How it runs and the order of its overrides make no other table.
    (other,) = tabulate(["backend=numpy", "++force=true", f"results={results}", *reversed(SWEEP)])
    assert table.paths == other.paths
    assert len(list(results.glob("sweeps/*"))) == 2


def test_an_unfinished_sweep_says_how_to_go_on(results, caplog):
    overrides = ["experiment=estimators", "data.examples=2,4,8", "seeds=2", f"results={results}"]
    (table,) = tabulate(overrides)
    assert (table.cells, table.finished) == (3, 2)
    assert set(read_table(table.paths[0])["batch"]) == {"2", "4"}
    command = f'make sweep ARGS="{" ".join(overrides)}"'
    said = f"1 of 3 cells are not finished (0 failed) and left out; `{command}` runs them"
    assert said in caplog.messages


def test_a_sweep_of_which_nothing_is_finished(tmp_path):
    with pytest.raises(StoreError, match=r"none of 2 cells is finished in .*; expected .* runs"):
        tabulate([*SWEEP, f"results={tmp_path}"])
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "experiment is ''; expected one of"),
        ([*SWEEP, "data.examples"], "'data.examples' is no override"),
        ([*SWEEP, "seeds=0"], "seeds is 0; expected"),
    ],
)
def test_a_sweep_that_cannot_be(overrides, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        tabulate(overrides)


def test_several_experiments_are_several_tables(results, finish):
    overrides = ["experiment=estimators,exact", "data.examples=2,4", "seeds=2"]
    finish(expand(overrides), CellStore(results / "cells"))
    tables = tabulate([*overrides, f"results={results}"])
    assert [table.experiment for table in tables] == ["estimators", "exact"]
    assert len({path for table in tables for path in table.paths}) == 2


def test_short_names_say_all_and_long_ones_have_a_hash():
    assert table_name("estimators", SWEEP) == NAME
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


def test_commands():
    overrides = ["experiment=exact", "+seeds=1,2", "hydra/launcher=pool", "++tracker=mlflow"]
    assert make_command("table", overrides) == 'make table ARGS="experiment=exact +seeds=1,2"'
    assert make_command("sweep", ["results=a $b", "seeds=2"]) == (
        "make sweep ARGS=\"seeds=2 'results=a \\$\\$b'\""
    )
