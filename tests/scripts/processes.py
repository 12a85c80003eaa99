"""Fixtures that run a script as a process of its own, without this machine's data or network.

Importing SciPy and Hydra takes a script seconds; here one process imports them and forks one child
a run, which then is `python script arguments` in every respect: exit code, streams, signals.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT = 300.0
"""Seconds after which what a test waits for will never happen, on a machine however busy."""

FORKING = """
import contextlib, gc, json, os, pty, runpy, signal, sys, termios
sys.path[0] = os.path.join(os.getcwd(), "scripts")  # Hydra looks for plugins when it is imported
from hydra.core.plugins import Plugins
import hydra, matplotlib.figure, pandas, scipy.stats, sklearn.datasets  # slow to import
import gpubn.sweeps.cli, gpubn.sweeps.task, gpubn.sweeps.pipeline
import gpubn.report.figures.drawing, gpubn.report.figures.style
Plugins.instance()
gc.freeze()  # a collection in a child would copy every page

def tell(request, name, value):
    path = os.path.join(request["folder"], name)
    with open(path + ".part", "w") as file:
        print(value, file=file)
    os.rename(path + ".part", path)

def become(request):
    if request["terminal"]:
        termios.tcsetwinsize(0, (40, 150))
    else:
        os.setsid()  # a terminal sends Ctrl-C to the whole group
        streams = (os.path.join(request["folder"], name) for name in ("out", "err"))
        for descriptor, path in enumerate((os.devnull, *streams)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
requests = os.fdopen(os.dup(0))
while line := requests.readline():
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(line)
    pid, terminal = pty.fork() if request["terminal"] else (os.fork(), None)
    if pid == 0:
        become(request)
        sys.exit()
    tell(request, "pid", pid)
    if terminal is not None:
        path = os.path.join(request["folder"], "out")
        with contextlib.suppress(OSError), open(path, "wb") as file:  # until nobody writes to it
            while data := os.read(terminal, 65536):
                file.write(data)
    tell(request, "code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)
"""


@dataclass
class Process:
    """A script that runs; `wait` returns it with `code`, `out` and `err` (at a terminal: out)."""

    folder: Path

    def wait(self):
        until((self.folder / "code").exists)
        self.code = int((self.folder / "code").read_text())
        self.out, self.err = (
            path.read_bytes().decode() if path.exists() else ""
            for path in (self.folder / "out", self.folder / "err")
        )
        return self

    @property
    def pid(self):
        until((self.folder / "pid").exists)
        return int((self.folder / "pid").read_text())

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # it came to an end by itself
            os.kill(self.pid, number)
        return self

    def when(self, happened):
        """Return as soon as `happened()` holds, or it is over."""
        until(lambda: happened() or (self.folder / "code").exists())
        return self

    def ctrl_c(self):
        """What a terminal does: the processes that it started are told, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)
        return self

    def others(self):
        """The processes that it started, directly or not, and that do not end: pid -> command."""
        with contextlib.suppress(AssertionError):
            until(lambda: not self.still_there())
        return self.still_there()

    def workers(self):
        """Those of them that measure cells."""
        return [pid for pid, command in self.still_there().items() if "spawn_main" in command]

    def still_there(self):
        mark, found = f"STARTED_BY={self.folder}".encode(), {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_text().replace("\0", " ")
                    found[int(entry.name)] = command
        return found


def until(happened):
    deadline = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def clean_env(tmp_path_factory):
    """An environment in which neither MNIST nor a network is to be had."""
    private = r"GPUBN_\w+|HYDRA_\w+|XDG_\w+|PYTHON\w+|PYTEST_\w+|MAKE\w*|(?i:\w+_proxy)"
    env = {k: v for k, v in os.environ.items() if not re.fullmatch(private, k)}
    home = str(tmp_path_factory.mktemp("home"))
    dead = "http://127.0.0.1:9"  # the discard port, where nothing listens
    return env | {
        "HOME": home,
        "XDG_CACHE_HOME": home,
        "HTTPS_PROXY": dead,
        "HTTP_PROXY": dead,
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
    }


@pytest.fixture(scope="session")
def forking(clean_env):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdin=subprocess.PIPE,
        env=clean_env | {"OPENBLAS_NUM_THREADS": "1"},  # threads do not survive a fork
        cwd=ROOT,
        text=True,
    )
    with process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def start(forking, clean_env, tmp_path_factory):
    """start("run.py", *arguments, cwd=folder, **env): a running Process of scripts/run.py.

    terminal: whether it runs at one.
    """
    running = []
    lock = threading.Lock()

    def begin(script, *arguments, cwd, terminal=False, **env):
        with lock:
            folder = tmp_path_factory.mktemp("process")
            request = {
                "argv": [str(ROOT / "scripts" / script), *map(str, arguments)],
                "cwd": str(cwd),
                "env": clean_env | {"STARTED_BY": str(folder)} | env,
                "folder": str(folder),
                "terminal": terminal,
            }
            print(json.dumps(request), file=forking.stdin, flush=True)
            running.append(Process(folder))
            return running[-1]

    yield begin
    for process in running:
        if not (process.folder / "code").exists():  # a test failed before it waited
            process.signal(signal.SIGKILL).wait()
        for pid in process.still_there():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
