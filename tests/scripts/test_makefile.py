"""The make targets: all of them explained, arguments passed on."""

import re
import shutil
import subprocess

import pytest

from tests.scripts.sweeping import ROOT

TEXT = (ROOT / "Makefile").read_text()


@pytest.fixture
def make():
    """make(*arguments): its output."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")

    def run(*arguments):
        command = ["make", "--no-print-directory", *arguments]
        return subprocess.check_output(command, cwd=ROOT, text=True)

    return run


def test_help_lists_every_target(make):
    phony = sorted(re.search(r"^\.PHONY: (.*)$", TEXT, re.M)[1].split())
    lines = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", make("help"), re.M))
    assert sorted(lines) == phony == sorted(re.findall(r"^([a-z][\w-]*):(?!=)", TEXT, re.M))


CALLS = {
    "figures": "scripts/build.py --figure x --results y a=1",
    "results": "scripts/build.py --tables-only --figure x --results y a=1",
    "redraw": "scripts/build.py --redraw --figure x --results y",
    "sweep": "scripts/run.py -m a=1",
    "test": "-m pytest -n 0 --dist loadfile a=1",
}


@pytest.mark.parametrize(("target", "expected"), CALLS.items())
def test_arguments_are_passed_on_to_a_program_of_the_venv(make, target, expected):
    shown = make("-n", target, "FIGURE=x", "RESULTS=y", "ARGS=a=1", "GPU=0")
    assert f".venv/bin/python {expected}" in " ".join(shown.split())
    assert "a=1" not in make("-n", target, "GPU=0")


def test_clean_keeps_tables_and_figures(make):
    removed = make("-n", "clean").split()
    assert "results/cells" in removed
    assert not {"results", "results/", "results/tables", "results/figures"} & set(removed)
