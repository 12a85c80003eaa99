"""Plant faults in the product one by one, and see that the tests of their room catch each.

tests/mutants/*.yaml hold the faults of a room: a text of one file, which is replaced by another.
Every fault is planted in a copy of the checkout, whose tests stop at the first failure. Exits 1
where a fault is missed.
"""

import argparse
import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpubn.errors import ConfigError, GpubnError
from gpubn.report.claims.entries import read_yaml
from gpubn.sweeps import cli

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests/mutants"
LIMIT_S = 900.0  # a fault may also make a test wait for ever

log = logging.getLogger("gpubn")


class MissedError(GpubnError):
    """At least one fault passed all tests of its room."""


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file`, `before` becomes `after`; `tests` are those of its room."""

    room: str
    fault: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def plant(self, root: Path) -> str:
        """Put the fault into the file below `root` and return its sound text."""
        path = root / self.file
        sound = path.read_text()
        if (times := sound.count(self.before)) != 1:
            raise ConfigError(f"{self.room}: {self.fault}: {times} times in {self.file}")
        path.write_text(sound.replace(self.before, self.after))
        return sound

    def paths(self) -> list[str]:
        """Test files of the room, those that are named like the faulty file first.

        Not the one which tests that each fault can be planted, as no other can where one is.
        """
        files = [p for t in self.tests for p in sorted((ROOT / t).rglob("test_*.py"))]
        files += [ROOT / t for t in self.tests if t.endswith(".py")]
        near = {Path(self.file).stem, Path(self.file).parent.name}
        files = [path for path in files if path.name != "test_mutants.py"]
        files.sort(key=lambda path: not any(name in path.stem for name in near))
        return [str(path.relative_to(ROOT)) for path in files]


def mutants(pattern: str = "") -> list[Mutant]:
    """Return the faults whose room or description matches the pattern."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        room: Any = read_yaml(path)  # refuses a file that stands twice
        tests = tuple(room["tests"])
        found += [
            Mutant(path.stem, tests=tests, file=file, **fault)
            for file, faults in room["faults"].items()
            for fault in faults
        ]
    return [m for m in found if re.search(pattern, f"{m.room}: {m.fault}")]


def copy_checkout(folder: Path) -> Path:
    """Copy what git tracks, with a .venv that takes all packages but gpubn from this one's."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"])
    packages = next((folder / ".venv/lib").glob("python*/site-packages"))
    installed = Path(sysconfig.get_path("purelib"))
    packages.joinpath("gpubn.pth").write_text(f"{folder}\n{installed}\n")
    if (installed / "nvidia").is_dir():  # NVRTC is looked for in the environment's own folder
        packages.joinpath("nvidia").symlink_to(installed / "nvidia")
    subprocess.check_call(["git", "init", "-q"], cwd=folder)
    return folder


def caught(mutant: Mutant, root: Path) -> tuple[str, float]:
    """Return which test caught the fault ("" if none did), and the seconds it took."""
    sound = mutant.plant(root)
    start = time.monotonic()
    pytest = [str(root / ".venv/bin/python"), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        tests = subprocess.Popen(
            [*pytest, *mutant.paths()],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = tests.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            said = "FAILED none ended in time"
        finally:
            if tests.poll() is None:
                os.killpg(tests.pid, signal.SIGKILL)
                tests.communicate()
    finally:
        (root / mutant.file).write_text(sound)
    failed = re.findall(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", said, re.M)
    if not failed and tests.returncode != 0:
        failed = [said.strip().splitlines()[-1]]
    return (failed[0] if failed else ""), time.monotonic() - start


def main() -> None:
    """Plant the faults that match the pattern, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="", help="only these, a regular expression")
    parser.add_argument("--workers", type=int, default=1, help="faults tested at the same time")
    options = parser.parse_args()
    planted = mutants(options.pattern)
    if not planted:
        raise ConfigError(f"no fault matches {options.pattern!r}; tests/mutants/ lists them")
    if find_spec("pytest") is None:  # without it, all tests fail
        raise ConfigError("pytest is not installed; expected the environment of `make setup`")
    missed = 0
    with (
        tempfile.TemporaryDirectory(prefix="gpubn-mutants-") as scratch,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.workers):
            free.put(copy_checkout(Path(scratch, str(number))))

        def test(mutant: Mutant) -> tuple[str, float]:
            root = free.get()
            try:
                return caught(mutant, root)
            finally:
                free.put(root)

        for mutant, (by, seconds) in zip(planted, pool.map(test, planted), strict=True):
            missed += not by
            log.info("%s: %s: %s (%.0f s)", mutant.room, mutant.fault, by or "MISSED", seconds)
    log.info("%d of %d faults caught", len(planted) - missed, len(planted))
    if missed:
        raise MissedError(f"{missed} of {len(planted)} faults passed the tests of their room")


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
