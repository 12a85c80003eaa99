"""A real Slurm cluster of one node on this machine: munged, slurmctld and slurmd in one folder.

There is no accounting, so `sacct` fails: submitit logs a warning at every poll, calls every job
UNKNOWN and goes by its result file alone. A job that returns or raises an Exception writes that
file and comes back as ever. One that ends without it (scancel, SIGKILL, sys.exit, out of memory)
never comes back: `job.result()` waits for ever, and only `squeue` tells that the job is gone.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*DAEMONS, "sinfo", "sbatch", "srun", "squeue", "scancel")
POLICY = Path("/usr/sbin/policy-rc.d")
NODE = "gpubn"  # no node of a cluster that the caller itself may be a job of
LONGEST_SOCKET = f"/spool/{NODE}_4294967295.4294967295.4294967295"

CONF = """\
ClusterName=gpubn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={run}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={run}/spool
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
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=main Nodes={node} Default=YES State=UP MaxTime=INFINITE
"""


def missing():
    return ", ".join(name for name in PROGRAMS if shutil.which(name) is None)


def unavailable():
    """Why there can be no cluster here, in one sentence, or None."""
    if os.geteuid() != 0:
        return "its daemons run as root, and this user is not root"
    if missing() and shutil.which("apt-get") is None:
        return f"{missing()} not found, and there is no apt-get to install them"
    return None


@contextlib.contextmanager
def no_service_starts():
    """Packages start their services when they are installed, unless this policy forbids it."""
    aside = POLICY.with_name("policy-rc.d.aside")
    if POLICY.exists():
        POLICY.rename(aside)
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        if aside.exists():
            aside.replace(POLICY)
        else:
            POLICY.unlink(missing_ok=True)


def install():
    """Install Slurm and munge from the distribution, unless they are there."""
    if not missing():
        return
    before = process_names()
    with no_service_starts():
        for step in ("update", "install -y --no-install-recommends slurm-wlm munge"):
            done = subprocess.run(
                ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *step.split()],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"apt-get {step} failed:\n{tail(done.stdout)}")
    if missing():
        raise RuntimeError(f"installed, but not on the PATH: {missing()}")
    started = {p: n for p, n in process_names().items() if n in DAEMONS and p not in before}
    if started:
        warnings.warn(f"the packages started services, which run on: {started}", stacklevel=2)


def tail(text):
    return "\n".join(text.splitlines()[-20:])


def process_names():
    """The name of every process, by pid."""
    names = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            names[int(entry.name)] = (entry / "comm").read_text().strip()
    return names


def free_ports(count):
    """Ports below those that the kernel hands out, so that no client takes one meanwhile."""
    ports = []
    for port in random.sample(range(20000, 30000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports from 20000 to 29999")


class Cluster:
    """One node. A client needs `env` in its environment."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        if re.search(r"[^\w./+-]", str(self.folder)):
            raise ValueError(f"slurm.conf cannot name {str(self.folder)!r}")
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._run = self.folder / "run"
        self._children = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Return when the node takes jobs. All of it ends with the calling process."""
        if self.processes():
            raise RuntimeError(f"a cluster already runs in {self.folder}")
        try:
            self._configure()
            # By a process that sees its input end, however the caller ends.
            self._spawn(sys.executable, "-I", __file__, self.folder)
            conf, run = self.env["SLURM_CONF"], self._run.resolve()
            files = [f"--{n}-file={self.folder}/munge.{n}" for n in ("key", "pid", "seed")]
            self._spawn("munged", "--foreground", "--force", f"--socket={run}/munge.socket", *files)
            self._spawn("slurmctld", "-D", "-c", "-f", conf)
            self._spawn("slurmd", "-D", "-N", NODE, "-f", conf)
            self._wait_until_idle(60)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """End the daemons, then what is left: jobs, and clients that would wait for ever."""
        self._end(signal.SIGTERM, DAEMONS)
        self._end(signal.SIGKILL)
        for child in self._children:
            child.stdin.close()
            child.kill()
            child.wait()
        self._children = []
        if self._run.is_symlink():
            shutil.rmtree(self._run.resolve(), ignore_errors=True)
            self._run.unlink()
        if left := self.processes():
            raise RuntimeError(f"could not end {left}")

    def processes(self):
        """Slurm's own programs and the processes of jobs, but not who submitted them: pid, name."""
        found = {}
        for pid, name in process_names().items():
            with contextlib.suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                ours = f"SLURM_CONF={self.env['SLURM_CONF']}".encode() in environ
                job = f"SLURMD_NODENAME={NODE}".encode() in environ
                if ours and (job or name in (*PROGRAMS, "slurmscriptd", "slurmstepd")):
                    found[pid] = name
        return found

    def _configure(self):
        (self.folder / "state").mkdir(parents=True, exist_ok=True)
        if len(os.fsencode(f"{self.folder}/run{LONGEST_SOCKET}")) > 107:  # a socket's longest path
            self._run.symlink_to(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        run = self._run.resolve()
        (run / "spool").mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        conf = CONF.format(
            host=socket.gethostname().split(".")[0],
            ports=free_ports(2),
            run=run,
            folder=self.folder,
            node=NODE,
            cpus=max(2, os.cpu_count()),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        )
        Path(self.env["SLURM_CONF"]).write_text(conf)

    def _spawn(self, *command):
        with (self.folder / f"{Path(command[0]).name}.out").open("ab") as out:
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._children.append(child)

    def _wait_until_idle(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(c.poll() is None for c in self._children):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._state() == "idle":
                    return
            time.sleep(0.1)
        logs = sorted(self.folder.glob("*.out"))
        raise RuntimeError(
            "\n".join(["no node became idle", *(f"{p.name}:\n{tail(p.read_text())}" for p in logs)])
        )

    def _state(self):
        command = ["sinfo", "--noheader", "--format=%T"]
        env = {**os.environ, **self.env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=10)
        return done.stdout.strip()

    def _end(self, sign, names=()):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pids = [p for p, name in self.processes().items() if not names or name in names]
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            time.sleep(0.1)


if __name__ == "__main__":  # of a process that ends the cluster when its input ends
    sys.stdin.read()
    Cluster(sys.argv[1]).stop()
