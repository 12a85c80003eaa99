"""build.py as a user meets it: tables, figures, the way to the digits, and what it refuses."""

import json
import re
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.commands import build, tabulate
from gpubn.errors import ConfigError, StoreError
from gpubn.report import claims
from gpubn.report.claims.decide import Decision
from gpubn.report.figures import drawing
from gpubn.report.tables import read_table, write_table
from gpubn.rows import per_seed
from gpubn.sweeps import pipeline
from gpubn.sweeps.estimate import Forecast, Remaining
from gpubn.sweeps.pipeline import ExperimentTables
from tests.scripts.sweeping import ROOT, one_sentence

TINY = ["seeds=2", "optim.steps=6", "every=3", "model.width=4", "backend=numpy"]
DIGITS = [*TINY, "data=digits"]
ONE = ["--figure", "mnist_init_units", "--results", "mine"]
TWO = ["--figure", "mnist_init_final", *ONE]


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_everything_once(run, tmp_path):
    tables = run("build.py", "--tables-only", *ONE, *DIGITS)
    folder = tmp_path / "mine" / "digits"
    assert len(re.findall(r"^\d+/18 mnist_init \(", tables.err, re.M)) == 18
    names = [f"tables/mnist_init{k}" for k in (".csv", ".json", "_pooled.csv", "_pooled.json")]
    assert sorted(files(folder)) == names

    first = run("build.py", *TWO, *DIGITS)
    drawn = ("mnist_init_final", "mnist_init_units")
    figures = [f"figures/{name}.{kind}" for name in drawn for kind in ("json", "png", "svg")]
    assert sorted(files(folder)) == [*figures, *names]
    assert first.err.count("(drawn)") == 2
    assert not re.search(r"\d/18 ", first.err)
    before = files(tmp_path / "mine")

    second = run("build.py", *TWO, *DIGITS)
    assert second.err.count("(up to date)") == 2
    assert files(tmp_path / "mine") == before

    redrawn = run("build.py", "--redraw", *ONE[:3], "mine/digits")
    assert "(drawn)" in redrawn.err
    assert files(tmp_path / "mine") == before  # whichever process drew it, and after what
    run("build.py", "--redraw", "--style", "slides", *ONE[:3], "mine/digits")
    slides = files(folder / "slides")
    assert sorted(slides) == [f"mnist_init_units.{kind}" for kind in ("json", "png", "svg")]
    assert struct.unpack(">II", slides["mnist_init_units.png"][16:24]) == (1920, 1080)
    assert before.items() <= files(tmp_path / "mine").items()
    assert not (tmp_path / "results").exists()


def test_the_figure_of_universes_waits_for_them(tmp_path, monkeypatch):
    (script,) = drawing.find(["universes"])
    (other,) = drawing.find(["step_cost"])
    assert build._waits(script, tmp_path)
    assert not build._waits(other, tmp_path)
    asked = ["build.py", "--figure", "universes", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", asked)
    with pytest.raises(StoreError, match=r"universes\.csv does not exist; .* `gpubn universes`"):
        build.command()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "universes.csv").touch()
    assert not build._waits(script, tmp_path)


def test_digits_where_there_is_no_mnist(run, tmp_path):
    committed = tmp_path / "mine" / "tables"
    committed.mkdir(parents=True)
    (committed / "mnist_init.csv").write_text("made from MNIST\n")
    (committed / "mnist_init.json").write_text("{}\n")
    before = files(committed)
    two_cells = ["--tables-only", *ONE, *TINY, "init=rand,randn", "norm=none"]
    process = run("build.py", *two_cells)
    (said,) = [line for line in process.err.splitlines() if "MNIST" in line]
    for part in ("digits", "GPUBN_DATA", "mine/digits"):
        assert part in said
    assert files(committed) == before
    table = tmp_path / "mine" / "digits" / "tables" / "mnist_init.csv"
    assert set(read_table(table)["data"]) == {"digits"}
    assert "digits-images" in json.loads(table.with_suffix(".json").read_text())["data"]
    again = run("build.py", *two_cells)
    assert (again.code, re.search(r"\d/2 ", again.err)) == (0, None)  # nothing is run again


HUGE = "optim.batch=1000000000"  # with which nothing would run, should the refusal be lost
BAD = {
    "unwritable": (["--results", "file/x", *ONE[:2], *DIGITS], ("file/x", "cannot be written")),
    "no such figure": (["--figure", "nope"], ("'nope'", "mnist_init_loss")),
    "no tables": (["--redraw", *ONE], ("mine/tables/mnist_init.csv", "gpubn build")),
    "other numbers": (
        ["--tables-only", *ONE[:2], "--results", ROOT / "results", HUGE],
        (HUGE, "--results", "RESULTS=folder"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run, tmp_path, case):
    (tmp_path / "file").write_text("kept")
    arguments, parts = BAD[case]
    one_sentence(run("build.py", *arguments), *parts)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_the_committed_results_are_known_by_every_name(tmp_path, monkeypatch):
    """They stand beside gpubn; those of another project of Hydra's are the user's own."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(ROOT / "results")
    for folder in (f"{ROOT}/gone/../results/", "link", ROOT / "results"):
        with pytest.raises(ConfigError, match=r"^seeds=2 changes.*--results \(RESULTS=folder"):
            build._refuse_to_overwrite([], ["backend=numpy", "seeds=2"], Path(folder))
        harmless = ["backend=numpy", "backend.name=numpy", "data.root=x"]
        build._refuse_to_overwrite([], harmless, Path(folder))
    for folder in ("results", "results/full", ROOT / "results/x/full", ROOT / "try"):
        build._refuse_to_overwrite([], ["seeds=2"], Path(folder))
    with pytest.raises(ConfigError, match=r"^seeds=2 changes"):
        build._refuse_to_overwrite([], ["seeds=2"], ROOT / "results/full")
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"^seeds=2 changes"):
        build._refuse_to_overwrite([], ["seeds=2"], Path("results"))


def test_an_experiment_is_given_the_data_that_it_takes():
    given = ["data=digits", "seeds=2", "data.root=x"]
    assert tabulate.taken("mnist_init", given) == given
    assert tabulate.taken("estimators", given) == given[1:]


def test_training_steps_are_timed_once_for_a_folder(tmp_path, monkeypatch):
    started = []
    fake = SimpleNamespace(run=lambda command, check: started.append((command[2:], check)))
    monkeypatch.setattr(build, "subprocess", fake)
    build._time_steps(tmp_path)
    numpy, numba = (
        ([f"--backend={name}", f"--results={tmp_path}"], True) for name in ("numpy", "numba")
    )
    assert started == [numpy, numba]
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "step_cost.csv").write_text("")
    build._time_steps(tmp_path)
    assert started[2:] == [numba]
    (tmp_path / "benchmarks" / "step_cost_numba.csv").write_text("")
    build._time_steps(tmp_path)
    assert len(started) == 3


@pytest.fixture
def did(monkeypatch):
    """did(*arguments, undecided, folders): what main did, without experiments and drawing."""

    def call(*arguments, undecided="", folders=("mine",), first="experiment 0"):
        steps = []

        def decide(results, also, own, passed_over):
            assert own is None
            steps.append(("decide", str(results), *map(str, also)))
            verdict = None if str(results) == undecided else "reproduced"
            return [Decision("A1", None, "A1: why", verdict=verdict)]

        def run(wanted, overrides, results, *, full):
            steps.append(("run", str(results), full))
            names = (first, "experiment 1", "experiment 2")
            return {name: Path(folder) for name, folder in zip(names, folders, strict=False)}

        monkeypatch.setattr(build, "run_experiments", run)
        monkeypatch.setattr(build, "_write_slopes", lambda _, at: steps.append(("slopes", str(at))))
        monkeypatch.setattr(build, "_time_steps", lambda _: steps.append("time"))
        monkeypatch.setattr(build, "_draw", lambda jobs, **_: steps.append("draw"))
        monkeypatch.setattr(build.figures, "find", lambda names: [])
        monkeypatch.setattr(claims, "decide_all", decide)
        monkeypatch.setattr("sys.argv", ["build.py", *arguments])
        build.command()
        return steps

    return call


MINE = ["--results", "mine"]
RUN = ("run", "mine", False)
DECIDE = ("decide", "mine")
FULL = ("decide", "mine/full", "mine")


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (MINE, [RUN, "time", DECIDE, "draw"]),
        ([*MINE, "--redraw"], [DECIDE, "draw"]),
        ([*MINE, "--figure", "x"], [RUN, "draw"]),
        (["--tables-only", "--full"], [("run", "results", True), "time"]),
        ([*MINE, "--full"], [("run", "mine", True), "time", FULL, "draw"]),
        ([*MINE, "--full", "--redraw"], [FULL, "draw"]),
    ],
)
def test_claims_are_decided_between_tables_and_figures_where_all_is_made(did, arguments, steps):
    assert did(*arguments) == steps


def test_the_slopes_of_the_trainability_map_are_written_where_its_tables_are(did):
    slopes = ("slopes", "mine/digits")
    arguments = [*MINE, "--tables-only"]
    assert did(*arguments, folders=["mine/digits"], first="trainability") == [RUN, slopes, "time"]
    assert did(*MINE, "--redraw", first="trainability") == [DECIDE, "draw"]


@pytest.mark.parametrize(("undecided", "is_named"), [("mine", False), ("mine/digits", True)])
def test_of_claims_decided_from_the_digits_those_count_that_were_decided_last(
    did, caplog, undecided, is_named
):
    steps = did(*MINE, undecided=undecided, folders=["mine", "mine/digits", "mine/digits"])
    assert steps == [RUN, "time", DECIDE, ("decide", "mine/digits", "mine"), "draw"]
    assert ("no verdict: A1 (`make claims RESULTS=mine` says why)" in caplog.messages) == is_named


# The grids in full resolution ---------------------------------------------------------------------


def test_in_full_claims_rest_on_full_tables_or_on_experiments_without_such_grids(
    did, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = ["mine/full", "mine/digits", "mine/full/digits"]
    steps = did(*MINE, "--full", folders=places)
    digits = ("decide", "mine/full/digits", "mine/full", "mine/digits", "mine")
    assert steps[2:] == [FULL, digits, "draw"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "claims.csv").touch()  # its page shows the verdicts in full, too
    assert did(*MINE, "--full")[2:] == [FULL, DECIDE, "draw"]
    quick = [Path("mine/digits"), Path("mine")]
    passed_over = tabulate.stands_for_no_full_grid(quick)
    for folder, stem, expected in (
        ("mine", "bessel", True),
        ("mine/digits", "bessel_pooled", True),
        ("mine/full", "bessel", False),
        ("mine", "exact", False),
    ):
        assert passed_over(Path(folder), stem) == expected


def test_what_has_no_verdict_in_full_is_named(did, caplog):
    did(*MINE, "--full", undecided="mine/full")
    said = 'no verdict: A1 (`make claims RESULTS=mine ARGS="--full"` says why)'
    assert said in caplog.messages


@pytest.fixture
def made(monkeypatch, tmp_path):
    """made(*names): where tables of full grids went, and what was run with which store."""
    calls = []

    def make_tables(chosen, results, where, *, cell_folder, before):
        calls.append((dict(chosen), results, cell_folder))
        before(Forecast([Remaining("bessel", 1, 2, 100.0)], 1, "made-up tables"))
        folder = results / "digits" if "initial_beta" in chosen else results
        tables = {}
        for name in chosen:
            path = folder / "tables" / f"{name}.csv"
            rows = per_seed([0], "batch_loss", np.ones(1))
            write_table(path, [({"norm": "none"}, rows)], {})
            tables[name] = ExperimentTables([path], folder)
        return tables

    def call(*names, full=True):
        calls.clear()
        folders = tabulate.run_experiments(names, ["backend=numpy"], tmp_path, full=full)
        return folders, list(calls)

    monkeypatch.setattr(pipeline, "make_tables", make_tables)
    return call


def test_grids_in_full_share_the_store_and_stand_apart(made, tmp_path, caplog):
    caplog.set_level("INFO")
    cells, complete = tmp_path / "cells", tmp_path / "full" / "complete"
    folders, calls = made("bessel", "listings")
    assert folders == {"bessel": tmp_path / "full", "listings": tmp_path}
    assert calls == [
        ({"listings": ["experiment=listings", "backend=numpy"]}, tmp_path, cells),
        ({"bessel": ["experiment=full/bessel", "backend=numpy"]}, complete, cells),
    ]
    assert caplog.text.count("bessel: 1 of 2 cells are missing, about 2 minutes") == 1
    # What is there of an experiment without a grid in full is taken as it stands.
    folders, calls = made("bessel", "listings")
    assert (list(folders), len(calls)) == (["bessel"], 1)
    folders, calls = made("initial_beta")
    assert folders == {"initial_beta": tmp_path / "full" / "digits"}
    assert [results for _, results, _ in calls] == [complete]
    folders, calls = made("bessel", "listings", full=False)
    assert (set(folders.values()), len(calls)) == ({tmp_path}, 1)


@pytest.mark.parametrize(("seconds", "said"), [(59.0, 0), (61.0, 1)])
def test_quick_grids_say_how_long_they_take_where_that_is_long(
    made, caplog, monkeypatch, seconds, said
):
    caplog.set_level("INFO")
    monkeypatch.setattr(Forecast, "seconds", seconds)
    made("bessel", full=False)
    assert len([line for line in caplog.messages if "(an estimate from" in line]) == said
    assert "bessel: 1 of 2" not in caplog.text


def test_figures_of_full_grids_show_no_quick_table(tmp_path):
    (script,) = build.figures.find(["identity"])  # which shows fixed_identity, too
    complete = tmp_path / "full" / "complete"
    (tmp_path / "tables").mkdir(parents=True)
    (tmp_path / "tables" / "norm_accuracy.csv").touch()
    with pytest.raises(StoreError, match=r"complete/tables/norm_accuracy\.csv does not exist"):
        build._in_full(script, tmp_path, {})
    (complete / "tables").mkdir(parents=True)
    (complete / "tables" / "norm_accuracy.csv").touch()
    of_full = (tmp_path / "full", [complete, tmp_path])
    assert build._in_full(script, tmp_path, {}) == of_full
    (complete / "digits" / "tables").mkdir(parents=True)
    place, sources = build._in_full(
        script, tmp_path, {"norm_accuracy": tmp_path / "full" / "digits"}
    )
    assert place == tmp_path / "full" / "digits"
    assert sources == [complete / "digits", complete, tmp_path / "digits", tmp_path]
    (small,) = build.figures.find(["depth_init"])
    with pytest.raises(StoreError, match=r"full/tables/depth_grid\.csv does not exist"):
        build._in_full(small, tmp_path, {})
    (tmp_path / "full" / "tables").mkdir()
    (tmp_path / "full" / "tables" / "depth_grid.csv").touch()
    place = tmp_path / "full"
    assert build._in_full(small, tmp_path, {}) == (place, [place, tmp_path])
    (other,) = build.figures.find(["mnist_init_units"])
    assert build._in_full(other, tmp_path, {}) == (tmp_path, ())


def test_a_figure_in_full_and_what_the_ledger_reads_of_its_table(run, tmp_path):
    one = ["--full", "--figure", "companions", "--results", "mine", *DIGITS]
    first = run("build.py", *one)
    assert "companions: 4 of 4 cells are missing, about " in first.err
    full = tmp_path / "mine" / "full"
    names = sorted(str(path.relative_to(full)) for path in full.rglob("*.*") if path.is_file())
    both = [f"digits/tables/companions.{kind}" for kind in ("csv", "json")]
    assert [name for name in names if "plans" not in name] == [
        *(f"complete/{name}" for name in both),
        *(f"digits/figures/companions.{kind}" for kind in ("json", "png", "svg")),
        *both,
    ]
    small, large = (read_table(full / name / both[0]) for name in ("", "complete"))
    assert set(small["metric"]) < set(large["metric"])
    assert not (tmp_path / "mine" / "tables").exists()
    again = run("build.py", *one)
    assert "missing" not in again.err
    assert again.err.count("(up to date)") == 1
