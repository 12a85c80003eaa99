"""Scripts in the folder of a test."""

import pytest

from tests.scripts import processes

clean_env, forking, start = processes.clean_env, processes.forking, processes.start


@pytest.fixture
def run(start, tmp_path):
    """run("run.py", *arguments): the finished Process, run in the test's own folder."""
    return lambda script, *arguments: start(script, *arguments, cwd=tmp_path).wait()
