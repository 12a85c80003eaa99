"""The cluster of cluster.py runs jobs, also through submitit, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

submitit = pytest.importorskip("submitit", reason="slurm: submitit is not installed")

ABRUPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from cluster import Cluster
Cluster(sys.argv[2]).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def naming(folder):
    """Processes with the folder in their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if os.fsencode(folder) in text:
            found.append(text)
    return found


def test_a_cluster_ends_with_a_process_that_is_killed(slurm, tmp_path):
    command = [sys.executable, "-c", ABRUPT, str(Path(__file__).parent), str(tmp_path / "killed")]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 300
    while naming(tmp_path / "killed"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
