"""The make targets: all of them explained, arguments passed on, no path of one machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Makefile").read_text()
PHONY = re.search(r"^\.PHONY: (.*)$", TEXT, re.M)[1].split()


@pytest.fixture
def make(request):
    """make(*arguments): its output; skips loudly where make is not installed."""
    if shutil.which("make") is None:
        terminal = request.config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line("WARNING: make is not installed; its targets ARE NOT TESTED", red=True)
        pytest.skip("make is not installed")

    def run(*arguments):
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_help_lists_every_target(make):
    lines = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", make("help"), re.M))
    assert sorted(lines) == sorted(PHONY)
    assert make() == make("help")


def test_every_rule_is_phony_or_a_file():
    rules = re.findall(r"^([a-z][\w-]*):(?!=)", TEXT, re.M)
    assert sorted(rules) == sorted(PHONY)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("figures", "scripts/build.py --figure x --results y a=1"),
        ("results", "scripts/build.py --tables-only --figure x --results y a=1"),
        ("redraw", "scripts/build.py --redraw --figure x --results y"),
        ("sweep", "scripts/run.py -m a=1"),
        ("test", "-m pytest -n 0 --dist loadfile a=1"),
    ],
)
def test_arguments_are_passed_on(make, target, expected):
    shown = make("-n", target, "FIGURE=x", "RESULTS=y", "ARGS=a=1", "GPU=0")
    assert expected in " ".join(shown.split())


def test_without_arguments_none_are_passed(make):
    lines = [" ".join(line.split()) for line in make("-n", "figures", "GPU=0").splitlines()]
    assert ".venv/bin/python scripts/build.py" in lines


def test_the_interpreter_is_the_one_of_the_venv(make):
    for target in ("figures", "results", "redraw", "sweep", "test", "lint"):
        *_, last = make("-n", target, "GPU=0").strip().splitlines()
        assert last.startswith(".venv/bin/"), target


def test_the_scripts_that_targets_call_exist():
    called = set(re.findall(r"scripts/[\w/]+\.py", TEXT))
    assert {"scripts/build.py", "scripts/run.py"} <= called
    assert [name for name in sorted(called) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("extra", ["cpu", "cuda12", "cuda13"])
def test_the_lock_files_exist(extra):
    assert "--hash=sha256:" in (ROOT / "scripts" / "lock" / f"{extra}.txt").read_text()


def test_clean_keeps_tables_and_figures(make):
    removed = make("-n", "clean").split()
    assert "results/cells" in removed
    assert not {"results", "results/", "results/tables", "results/figures"} & set(removed)


def test_no_absolute_path():
    found = re.findall(r"(?<![\w.}/)*$:^\\])(?:/|~/)[a-z]\w*(?:/\w+)*", TEXT)
    assert [path for path in found if path != "/dev/null"] == []
    assert "/work" not in TEXT
    assert "/home" not in TEXT
