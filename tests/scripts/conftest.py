"""Scripts at a terminal, and in the folder of a test."""

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading

import pytest

from tests.scripts import processes

clean_env, forking, start = processes.clean_env, processes.forking, processes.start


@pytest.fixture(scope="session")
def start_at_terminal(start):
    """start_at_terminal(*arguments, cwd=folder): the finished Process; `out` is all that stood."""

    def at(*arguments, cwd):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 40, 150, 0, 0))
        seen = []

        def read():
            with contextlib.suppress(OSError):  # nobody holds the other end any more
                while data := os.read(master, 65536):
                    seen.append(data)

        process = start(*arguments, cwd=cwd, terminal=os.ttyname(slave))
        process.pid  # noqa: B018 - it has opened the terminal
        reader = threading.Thread(target=read)
        reader.start()
        process.wait()
        os.close(slave)
        reader.join()
        os.close(master)
        process.out = b"".join(seen).decode()
        return process

    return at


@pytest.fixture
def run(start, tmp_path):
    """run("run.py", *arguments): the finished Process, run in the test's own folder."""
    return lambda script, *arguments: start(script, *arguments, cwd=tmp_path).wait()
