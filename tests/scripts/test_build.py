"""build.py as a user meets it: tables, figures, the way to the digits, and what it refuses."""

import json
import re
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpubn.commands import build
from gpubn.errors import ConfigError
from gpubn.report import claims
from gpubn.report.claims.decide import Decision
from gpubn.report.figures import drawing
from gpubn.report.tables import read_table
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


def test_the_figure_of_universes_waits_for_them(tmp_path):
    (script,) = drawing.find(["universes"])
    (other,) = drawing.find(["step_cost"])
    assert build._waits(script, tmp_path)
    assert not build._waits(other, tmp_path)
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
    for folder in ("results", "results/full", ROOT / "results/full", ROOT / "try"):
        build._refuse_to_overwrite([], ["seeds=2"], Path(folder))
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"^seeds=2 changes"):
        build._refuse_to_overwrite([], ["seeds=2"], Path("results"))


def test_an_experiment_is_given_the_data_that_it_takes():
    given = ["data=digits", "seeds=2", "data.root=x"]
    assert build._taken("mnist_init", given) == given
    assert build._taken("estimators", given) == given[1:]


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

    def call(*arguments, undecided="", folders=("mine",)):
        steps = []

        def decide(results, also, own):
            assert own is None
            steps.append(("decide", str(results), *map(str, also)))
            verdict = None if str(results) == undecided else "reproduced"
            return [Decision("A1", None, "A1: why", verdict=verdict)]

        def run(wanted, overrides, results, full):
            steps.append(("run", str(results), full))
            return {f"experiment {n}": Path(folder) for n, folder in enumerate(folders)}

        monkeypatch.setattr(build, "_run", run)
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


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (MINE, [RUN, "time", DECIDE, "draw"]),
        ([*MINE, "--redraw"], [DECIDE, "draw"]),
        ([*MINE, "--figure", "x"], [RUN, "draw"]),
        (["--tables-only", "--full"], [("run", "results/full", True), "time"]),
    ],
)
def test_claims_are_decided_between_tables_and_figures_where_all_is_made(did, arguments, steps):
    assert did(*arguments) == steps


@pytest.mark.parametrize(("undecided", "is_named"), [("mine", False), ("mine/digits", True)])
def test_of_claims_decided_from_the_digits_those_count_that_were_decided_last(
    did, caplog, undecided, is_named
):
    steps = did(*MINE, undecided=undecided, folders=["mine", "mine/digits", "mine/digits"])
    assert steps == [RUN, "time", DECIDE, ("decide", "mine/digits", "mine"), "draw"]
    assert ("no verdict: A1 (`make claims RESULTS=mine` says why)" in caplog.messages) == is_named
