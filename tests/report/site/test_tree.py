"""Files put in place: all of them or none."""

import os
from pathlib import Path

import pytest

pytest.importorskip("altair")
pytest.importorskip("markdown2")
pytest.importorskip("pdoc")
pytest.importorskip("vl_convert")

from gpubn.errors import SiteError, StoreError
from gpubn.report.site.tree import Tree, WrittenSite, write_tree


@pytest.fixture
def tree():
    return Tree({"a/b.html": b"one", "c.css": b"two"})


def test_a_tree_is_written_and_found_again(tree, tmp_path):
    out = tmp_path / "deep" / "site"
    made = write_tree(tree, out, "x")
    assert (made.pages, {*made.written}) == (1, {"a/b.html", "c.css"})
    assert (out / "a" / "b.html").read_bytes() == b"one"
    assert made.size == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    found = WrittenSite.standing(out, "x")
    assert (found.pages, found.size, found.written) == (1, made.size, ())
    assert WrittenSite.standing(out, "y") is None
    (out / "c.css").write_bytes(b"2")
    assert WrittenSite.standing(out, "x") is None
    assert [p.name for p in out.parent.iterdir()] == ["site"]


def test_a_file_system_without_links_will_do(tree, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    write_tree(tree, tmp_path / "site", "x")
    write_tree(tree, tmp_path / "site", "y")
    assert (tmp_path / "site" / "c.css").read_bytes() == b"two"


def test_what_is_no_longer_in_the_tree_goes(tree, tmp_path):
    write_tree(tree, tmp_path / "site", "x")
    made = write_tree(Tree({"c.css": b"two"}), tmp_path / "site", "y")
    assert made.written == ()
    assert not (tmp_path / "site" / "a").exists()


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x"])
def test_a_path_that_leads_out_is_refused(tree, path):
    with pytest.raises(SiteError, match="leads out of the site"):
        tree.add(path, b"")


def test_a_path_that_is_taken_is_refused(tree):
    for path in ("c.css", "made.json"):
        with pytest.raises(SiteError, match=f"{path} stands in the site twice"):
            tree.add(path, b"")


def test_where_writing_fails_the_old_site_stays(tree, tmp_path, monkeypatch):
    out = tmp_path / "site"
    write_tree(tree, out, "x")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_tree(Tree({"c.css": b"new"}), out, "y")
    assert (out / "c.css").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_where_the_change_of_names_fails_the_old_site_comes_back(tree, tmp_path, monkeypatch):
    out, rename = tmp_path / "site", Path.rename
    write_tree(tree, out, "x")

    def some(self, target):
        if self.name == ".site.new":
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", some)
    with pytest.raises(StoreError, match="Permission denied"):
        write_tree(Tree({"c.css": b"new"}), out, "y")
    assert (out / "c.css").read_bytes() == b"two"
