"""The CPU: its name, and the cores that this process may use."""

import os
import platform
from pathlib import Path

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_FACTS = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """Return what the system calls the CPU, or its architecture where it does not say.

    >>> len(cpu_name()) > 3
    True
    """
    try:
        lines = _FACTS.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), f"{platform.machine()} CPU")


def cores() -> int:
    """Return the cores of this process: its affinity, or a smaller quota, as containers have.

    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system tells
        found = os.cpu_count() or 1
    return max(1, min(found, _quota(found)))


def _quota(otherwise: int) -> int:
    """The least quota of the process's control groups (version 2), rounded up."""
    try:
        own = [line[3:] for line in _OWN.read_text().splitlines() if line.startswith("0::")]
    except OSError:
        return otherwise
    folder = _ROOT / "".join(own).lstrip("/")
    quotas = [otherwise]
    for group in (folder, *folder.parents):
        try:
            most, period = (group / "cpu.max").read_text().split()
            quotas.append(-(-int(most) // int(period)))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(quotas)
