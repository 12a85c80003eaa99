"""A release: its version stands in one place, and the files beside the code tell of it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import gpubn

ROOT = Path(__file__).parents[1]
CHANGES = (ROOT / "CHANGELOG.md").read_text()
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_version_stands_in_the_package_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "gpubn.__version__"}}
    assert re.fullmatch(r"\d+\.\d+\.\d+", gpubn.__version__)


def test_changes_are_told_by_version_the_newest_first_and_dated(citation):
    unreleased, *releases = re.findall(r"^## (.*)$", CHANGES, re.M)
    assert unreleased == "[Unreleased]"
    assert releases[0] == f"[{gpubn.__version__}] - {citation['date-released']}"
    found = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", r) for r in releases]
    versions = [tuple(map(int, match.groups()[:3])) for match in found]
    assert versions == sorted({*versions}, reverse=True)
    dates = [match[4] for match in found]
    assert dates == sorted(dates, reverse=True)
    assert {*re.findall(r"^### (.*)$", CHANGES, re.M)} <= SECTIONS


def test_the_citation_has_what_its_format_demands_and_names_the_sources(citation):
    """Citation File Format 1.2.0; a work and each of its references."""
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == gpubn.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]
    assert citation["message"]
    assert citation["abstract"]
    for work in (citation, *citation["references"]):
        assert work["type"]
        assert work["title"]
        assert all({*author} in NAMED for author in work["authors"])
    titles = {work["title"] for work in citation["references"]}
    sources = re.search(r"## Sources\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.S)[1]
    assert {*re.findall(r"\*(.+?)\*", sources)} < titles
    assert sum("Document " in work["notes"] for work in citation["references"]) == 4


NAMED = ({"name"}, {"family-names", "given-names"})
"""The keys of an author: an entity, or a person."""
