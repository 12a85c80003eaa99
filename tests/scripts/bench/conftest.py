"""Runs a benchmark on a machine that lacks some packages."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[3] / "scripts" / "bench"
LACKING = """
import runpy, sys

class Lacking:
    def find_spec(self, name, *others):
        if name.split(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Lacking())
sys.argv = {arguments!r}
sys.path.insert(0, {folder!r})
runpy.run_path({folder!r} + "/" + sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def without():
    """without("torch", script="cpu.py", arguments=[...]): the finished process."""

    def run(*packages, script, arguments):
        command = [script, *map(str, arguments)]
        code = LACKING.format(packages=packages, arguments=command, folder=str(BENCH))
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )

    return run
