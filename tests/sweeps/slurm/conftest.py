"""A real Slurm cluster of one node on this machine; without Slurm its tests are skipped loudly.

There is no accounting, so submitit goes by the result file of a job alone: a job that ends without
one (scancel, out of memory) never comes back.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel")
CONF = """\
ClusterName=gpubn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,bf_interval=1
SlurmdParameters=config_overrides
KillWait=2
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=gpubn NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=main Nodes=gpubn Default=YES State=UP MaxTime=INFINITE
"""


def unavailable():
    """Why there can be no cluster here, in one sentence, or None."""
    if os.geteuid() != 0:
        return "its daemons run as root, and this user is not root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(missing)} not found (slurm-wlm and munge have them)" if missing else None


def configure(folder):
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for probe in (one, other):
            probe.bind(("", 0))
            ports.append(probe.getsockname()[1])
    conf = CONF.format(
        host=socket.gethostname().split(".")[0],
        ports=ports,
        folder=folder,
        cpus=max(2, os.cpu_count()),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
    )
    (folder / "slurm.conf").write_text(conf)


def wait_until(command, says, env, seconds=60):
    deadline = time.monotonic() + seconds
    while subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip() != says:
        assert time.monotonic() < deadline, f"{command[0]} never said {says!r}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm():
    """The environment that a client of the cluster needs."""
    if problem := unavailable():
        pytest.skip(f"slurm: {problem}")
    with contextlib.ExitStack() as stack:
        # A socket's path has at most 107 characters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")))
        configure(folder)
        own = {"SLURM_CONF": str(folder / "slurm.conf")}
        env = os.environ | own
        files = [f"--{n}-file={folder}/munge.{n}" for n in ("key", "pid", "seed")]
        out = stack.enter_context((folder / "out").open("ab"))
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
            ["slurmctld", "-D", "-c", "-f", own["SLURM_CONF"]],
            ["slurmd", "-D", "-N", "gpubn", "-f", own["SLURM_CONF"]],
        ):
            daemon = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
        wait_until(["sinfo", "--noheader", "--format=%T"], "idle", env)
        stack.callback(wait_until, ["squeue", "--noheader"], "", env)
        stack.callback(subprocess.run, ["scancel", "--partition=main"], env=env)
        yield own


def pytest_terminal_summary(terminalreporter):
    skipped = [str(r.longrepr) for r in terminalreporter.stats.get("skipped", [])]
    if ours := [reason for reason in skipped if "slurm: " in reason]:
        why = ours[0].partition("slurm: ")[2]
        line = f"WARNING: {len(ours)} slurm tests DID NOT RUN: {why}"
        terminalreporter.write_line(line, yellow=True, bold=True)
