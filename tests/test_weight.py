"""What a clone holds, and its weight."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sizes():
    """The bytes of each tracked file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return {path: path.stat().st_size for path in paths if path.is_file()}


def test_what_lies_at_the_top(sizes):
    top = {path.relative_to(ROOT).parts[0] for path in sizes}
    assert {name for name in top if not name.startswith(".")} == {
        *("conf", "gpubn", "results", "scripts", "tests", "Makefile", "pyproject.toml"),
        *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"),
    }


def test_all_tracked_files_together_weigh_no_more_than_35_mb(sizes):
    assert sum(sizes.values()) <= 35e6


def test_no_drawing_weighs_more_than_300_kb(sizes):
    drawings = [path for path in sizes if path.suffix == ".svg"]
    assert drawings
    assert max(map(sizes.get, drawings)) <= 300e3


def test_a_lock_file_repeats_no_package_of_the_one_it_takes_in():
    folder = ROOT / "scripts" / "lock"
    packages = {
        path.name: {line.split("==")[0] for line in path.read_text().splitlines() if "==" in line}
        for path in folder.glob("*.txt")
    }
    assert len(packages) == 5
    for name in packages.keys() - {"cpu.txt"}:
        assert (folder / name).read_text().startswith("-r cpu.txt\n")
        assert packages[name].isdisjoint(packages["cpu.txt"]), name
