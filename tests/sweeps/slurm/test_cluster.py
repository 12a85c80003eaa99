"""The cluster of cluster.py runs jobs, also through submitit, and leaves no process behind."""

import operator
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


@pytest.fixture
def client(slurm, monkeypatch):
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def executor(client, tmp_path):
    return submitit.AutoExecutor(tmp_path / "%j", cluster="slurm")


def sbatch(output, script, **options):
    command = ["sbatch", "--wait", "--quiet", f"--output={output}", f"--wrap={script}"]
    return subprocess.Popen(command, **options)


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


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


def test_a_job_runs_on_the_node(client, tmp_path):
    out = tmp_path / "out"
    assert sbatch(out, 'echo "$SLURM_JOB_NODELIST" $((6 * 7)); exit 3').wait(timeout=30) == 3
    assert out.read_text() == "gpubn 42\n"


def test_two_jobs_run_side_by_side(client, tmp_path):
    """Each waits for the other."""
    script = "touch {}; for i in $(seq 200); do test -e {} && exit 0; sleep 0.1; done; exit 1"
    a, b = tmp_path / "a", tmp_path / "b"
    jobs = [sbatch("/dev/null", script.format(*pair)) for pair in ((a, b), (b, a))]
    assert [job.wait(timeout=40) for job in jobs] == [0, 0]


def test_submitit_returns_the_value_of_a_job(executor):
    assert executor.submit(operator.add, 1, 2).result() == 3


def test_submitit_raises_the_error_of_a_job(executor):
    job = executor.submit(operator.truediv, 1, 0)
    with pytest.raises(submitit.core.utils.FailedJobError, match=r"(?s)Traceback.*ZeroDivision"):
        job.result()


def test_every_job_of_an_array_returns(executor):
    jobs = executor.map_array(pow, range(4), [2] * 4)
    assert [job.result() for job in jobs] == [0, 1, 4, 9]
    assert {job.job_id.partition("_")[0] for job in jobs} == {jobs[0].job_id.partition("_")[0]}


def test_a_stopped_cluster_leaves_no_process(cluster_module, slurm, tmp_path):
    folder = tmp_path / ("long" * 20)  # too long for the sockets
    with cluster_module.Cluster(folder) as cluster:
        env = {**os.environ, **cluster.env}
        job = sbatch(tmp_path / "out", "setsid sleep 600 & echo on; sleep 600", env=env)
        within(20, lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text())
        names = set(cluster.processes().values())
    assert {*cluster_module.DAEMONS, "slurmstepd", "sleep", "sbatch"} <= names
    assert job.wait(timeout=10) == -signal.SIGKILL
    assert not cluster.processes()
    assert not naming(folder)
    assert not (folder / "run").exists()


def test_a_cluster_ends_with_a_process_that_is_killed(cluster_module, slurm, tmp_path):
    command = [sys.executable, "-c", ABRUPT, str(Path(__file__).parent), str(tmp_path / "killed")]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    within(20, lambda: not naming(tmp_path / "killed"))


def test_a_failed_start_says_why_and_leaves_no_process(
    cluster_module, slurm, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster_module, "CONF", cluster_module.CONF + "Nonsense=1\n")
    with pytest.raises(RuntimeError, match=r"(?s)no node became idle.*Nonsense"):
        cluster_module.Cluster(tmp_path / "broken").start()
    assert not naming(tmp_path / "broken")
