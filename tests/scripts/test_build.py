"""build.py as a user meets it: tables, figures, the way to the digits, and what it refuses."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from gpubn.report import claims
from gpubn.report.claims.decide import Decision
from gpubn.report.tables import read_table

ROOT = Path(__file__).parents[2]
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


def refused(process, *parts):
    assert process.code == 1
    assert "Traceback" not in process.err + process.out
    (line,) = [line for line in process.err.splitlines() if line.startswith("error: ")]
    for part in parts:
        assert part in line


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Composing the grid takes seconds; the tests share what was composed."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture
def build(run, tmp_path, plans):
    """build(*arguments): build.py in a folder of its own, where results/ and mine/ are its own."""

    def once(*arguments):
        shutil.copytree(plans, tmp_path / "mine" / "plans", dirs_exist_ok=True)
        process = run("build.py", *arguments)
        shutil.copytree(tmp_path / "mine" / "plans", plans, dirs_exist_ok=True)
        return process

    return once


def test_everything_once(build, tmp_path):
    folder = tmp_path / "mine" / "digits"
    first = build(*TWO, *DIGITS)
    assert first.code == 0, first.err
    assert sorted(files(folder)) == [
        *(f"figures/mnist_init_final.{kind}" for kind in ("json", "png", "svg")),
        *(f"figures/mnist_init_units.{kind}" for kind in ("json", "png", "svg")),
        *(f"tables/mnist_init{kind}" for kind in (".csv", ".json", "_pooled.csv", "_pooled.json")),
    ]
    assert len(re.findall(r"^\d+/18 mnist_init \(", first.err, re.M)) == 18
    assert first.err.count("(drawn)") == 2
    before = files(tmp_path / "mine")
    second = build(*TWO, *DIGITS)
    assert second.code == 0
    assert second.err.count("(up to date)") == 2
    assert "(drawn)" not in second.err
    assert not re.search(r"\d/18 ", second.err)
    assert files(tmp_path / "mine") == before
    redrawn = build("--redraw", "--figure", "mnist_init_units", "--results", "mine/digits")
    assert redrawn.code == 0
    assert "(drawn)" in redrawn.err
    assert files(tmp_path / "mine") == before  # whichever process drew it, and after what
    assert not (tmp_path / "results").exists()


def test_digits_where_there_is_no_mnist(build, tmp_path):
    committed = tmp_path / "mine" / "tables"
    committed.mkdir(parents=True)
    (committed / "mnist_init.csv").write_text("made from MNIST\n")
    (committed / "mnist_init.json").write_text("{}\n")
    before = files(committed)
    two_cells = ["--tables-only", *ONE, *TINY, "init=rand,randn", "norm=none"]
    process = build(*two_cells)
    assert process.code == 0, process.err
    said = [line for line in process.err.splitlines() if "MNIST" in line]
    assert len(said) == 1
    assert "digits" in said[0]
    assert "GPUBN_DATA" in said[0]
    assert "mine/digits" in said[0]
    assert files(committed) == before
    assert not (tmp_path / "mine" / "figures").exists()
    table = tmp_path / "mine" / "digits" / "tables" / "mnist_init.csv"
    assert set(read_table(table)["data"]) == {"digits"}
    assert "digits-images" in json.loads(table.with_suffix(".json").read_text())["data"]
    again = build(*two_cells)  # what fell back once is not run again
    assert again.code == 0
    assert not re.search(r"\d/2 ", again.err)


def test_tables_only(build, tmp_path):
    process = build("--tables-only", *ONE, *DIGITS)
    assert process.code == 0, process.err
    assert (tmp_path / "mine" / "digits" / "tables" / "mnist_init.csv").exists()
    assert not (tmp_path / "mine" / "digits" / "figures").exists()


@pytest.fixture
def build_main(monkeypatch, tmp_path):
    """build_main(*arguments, undecided): main without experiments and drawing; what it did."""
    spec = importlib.util.spec_from_file_location("build_script", ROOT / "scripts" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    did = []

    def call(*arguments, undecided=(), folders=("mine",)):
        made = {f"experiment {n}": Path(folder) for n, folder in enumerate(folders)}

        def decide(results, also):
            did.append(("decide", str(results), [str(folder) for folder in also]))
            lacks = undecided if str(results) in undecided else ()
            reason = "A1: why"
            verdict = "reproduced"
            return [
                Decision("A1", None, reason, verdict=None if lacks else verdict),
                Decision("A2", None, reason, verdict=verdict),
            ]

        monkeypatch.setattr(module, "_run", lambda *_, **__: made)
        monkeypatch.setattr(module, "_time_steps", lambda _: did.append("time"))
        monkeypatch.setattr(module, "_draw", lambda jobs, **_: did.append("draw"))
        monkeypatch.setattr(module.figures, "find", lambda names: [])
        monkeypatch.setattr(claims, "decide_all", decide)
        monkeypatch.setattr("sys.argv", ["build.py", "--results", "mine", *arguments])
        did.clear()
        module.main()

    call.did = did
    return call


def test_claims_are_decided_between_tables_and_figures(build_main, caplog):
    caplog.set_level("INFO")
    build_main()
    assert build_main.did == ["time", ("decide", "mine", []), "draw"]
    assert "claims: mine/claims.md (2 of 2 decided)" in caplog.messages
    build_main("--redraw")
    assert build_main.did == [("decide", "mine", []), "draw"]


@pytest.mark.parametrize(
    ("arguments", "does"),
    [
        (["--figure", "x"], "draw"),
        (["--redraw", "--figure", "x"], "draw"),
        (["--tables-only"], "time"),
    ],
)
def test_one_figure_or_tables_alone_leave_the_claims(build_main, arguments, does):
    build_main(*arguments)
    assert build_main.did == [does]


def test_a_claim_without_verdict_is_named_at_the_end(build_main, caplog):
    build_main(undecided=["mine"])
    assert build_main.did[-1] == "draw"
    assert "no verdict: A1 (`make claims` says why)" in caplog.messages


def test_claims_decided_from_the_digits_are_those_that_count(build_main, caplog):
    folders = ["mine", "mine/digits", "mine/digits"]
    build_main(undecided=["mine"], folders=folders)
    decided = [("decide", "mine", []), ("decide", "mine/digits", ["mine"])]
    assert build_main.did == ["time", *decided, "draw"]
    assert "no verdict" not in caplog.text
    build_main(undecided=["mine/digits"], folders=folders)
    assert "no verdict: A1 (" in caplog.text


ONE_FIGURE = ["--figure", "mnist_init_units"]
HUGE = "optim.batch=1000000000"


@pytest.mark.parametrize("given", ["", "results", "./results/", "absolute", "gpubn/../results"])
def test_other_numbers_need_another_folder(start, given):
    """The batch is larger than any data, so that nothing runs should the refusal be lost."""
    folder = str(ROOT / "results") if given == "absolute" else given
    options = ["--results", folder] if given else []
    process = start("build.py", "--tables-only", *ONE_FIGURE, *options, HUGE, cwd=ROOT).wait()
    refused(process, HUGE, "--results", "RESULTS=folder")


def test_a_misspelt_key_is_named_before_the_folder(build):
    refused(build(*ONE_FIGURE, "optim.rat=1"), "optim.rat", "optim.rate?")


def test_the_committed_results_from_another_folder(start, tmp_path):
    (tmp_path / "link").symlink_to(ROOT / "results")
    process = start("build.py", *ONE_FIGURE, "--results", "link", HUGE, cwd=tmp_path).wait()
    refused(process, HUGE, "--results", "RESULTS=folder")


def test_unknown_figure(build, tmp_path):
    refused(build("--figure", "nope", "--results", "mine"), "'nope'", "mnist_init_loss")
    assert not (tmp_path / "mine" / "tables").exists()


def test_redraw_without_tables(build, tmp_path):
    process = build("--redraw", *ONE)
    refused(process, "mine/tables/mnist_init.csv", "does not exist", "make results")
    assert not (tmp_path / "mine" / "figures").exists()


BAD = {
    "no value": (["seeds"], ("seeds", "KEY=VALUE")),
    "misspelt key": (["norm.epss=1"], ("norm.epss", "norm.eps?")),
    "out of range": (["norm.momentum=7"], ("norm.momentum", "7.0", "(0, 1]")),
    "unknown backend": (["backend=tpu"], ("backend", "'tpu'", "cupy")),
    "folder without MNIST": (["data.root=empty"], ("empty", "data.root", "train-images")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(build, tmp_path, case):
    (tmp_path / "empty").mkdir()
    arguments, parts = BAD[case]
    refused(build("--tables-only", *ONE, *TINY, "init=rand", "norm=none", *arguments), *parts)
    assert not (tmp_path / "mine" / "cells").exists()


def test_results_where_nothing_can_be_written(run, tmp_path):
    (tmp_path / "file").write_text("kept")
    cell = [*DIGITS, "init=rand", "norm=none"]
    process = run("build.py", "--figure", "mnist_init_units", "--results", "file/x", *cell)
    refused(process, "file/x", "cannot be written")
    assert (tmp_path / "file").read_text() == "kept"
