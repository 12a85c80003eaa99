"""`make site`: the command says where the site is, or in a sentence why there is none."""

import logging
import re
import sys
from types import SimpleNamespace

import pytest

from gpubn.commands import site as command
from gpubn.errors import SiteError

pytest.importorskip("altair")
pytest.importorskip("markdown2")
pytest.importorskip("pdoc")
pytest.importorskip("vl_convert")


def test_it_says_how_many_pages_and_where_to_begin(monkeypatch, tmp_path, caplog):
    from gpubn.report import site

    asked = []

    def made(results, out, **more):
        asked.append((results, out, [page.path for page in more["more"](source)]))
        return SimpleNamespace(pages=3, size=1.5e6, written=("a", "b"))

    source = SimpleNamespace(cache=tmp_path)
    monkeypatch.setattr(site, "make_site", made)
    monkeypatch.setattr(sys, "argv", ["site.py", "--results", "r"])
    with caplog.at_level(logging.INFO):
        command.command()
        command.command()
    (first, again) = asked
    assert [str(path) for path in first[:2]] == ["r", "r/site"]
    assert "api/index.html" in first[2] == again[2]
    said = r"r/site: 3 pages, 1\.5 MB, 2 files written, [\d.]+ s; open r/site/index\.html"
    assert re.fullmatch(said, caplog.messages[-1])


def test_without_results_nothing_is_written(monkeypatch, tmp_path):
    arguments = ["site.py", "--results", str(tmp_path), "--out", str(tmp_path / "s")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SiteError, match=r"^there is no .*; and \d+ more of the kind;"):
        command.command()
    assert not any(tmp_path.iterdir())
