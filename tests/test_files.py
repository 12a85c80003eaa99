"""Files appear whole or not at all, whatever goes wrong while they are written."""

import errno
import os
import shutil
import subprocess

import pytest

from gpubn import files
from gpubn.errors import StoreError
from gpubn.files import git_revision, sha256, write_atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_in_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.json"
    write_atomic(path, b"\x00new\n")
    assert path.read_bytes() == b"\x00new\n"
    assert names(path.parent) == ["c.json"]


def test_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "c"
    write_atomic(path, b"old and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0, 0o666)])
def test_permissions_are_those_of_any_other_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "c", b"")
        during = os.umask(umask)
    finally:
        os.umask(before)
    assert (tmp_path / "c").stat().st_mode & 0o777 == mode
    assert during == umask


@pytest.mark.parametrize("path", ["file/c", "file/folder/c"])
def test_a_file_where_a_folder_should_be(tmp_path, path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(StoreError, match=r"file/.*c cannot be written \(.+\); expected a folder"):
        write_atomic(tmp_path / path, b"new")
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert names(tmp_path) == ["file"]


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "c" / "within").mkdir(parents=True)
    with pytest.raises(StoreError, match="c cannot be written"):
        write_atomic(tmp_path / "c", b"new")
    assert names(tmp_path) == ["c"]
    assert names(tmp_path / "c") == ["within"]


def test_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "c"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"c cannot be written \(No space left on device\)"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_interrupt_leaves_the_old_content(tmp_path, monkeypatch, call):
    path = tmp_path / "c"
    path.write_bytes(b"old")

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    owner = os if call == "fsync" else files.Path
    monkeypatch.setattr(owner, call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["c"]


def test_sha256_is_the_published_one():
    # NIST FIPS 180-2, appendix B.1
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_revision_outside_git(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_revision() is None


def test_revision_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision() is None


def test_revision_when_git_hangs(monkeypatch):
    def hang(command, **_options):
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(subprocess, "run", hang)
    assert git_revision() is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_revision_says_whether_the_code_was_changed(tmp_path, monkeypatch):
    for part in ("gpubn", "conf", "notes"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "file").write_text("1")
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)

    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)

    git("init", "--quiet")
    git("add", ".")
    git("-c", "commit.gpgsign=false", "commit", "--quiet", "-m", "m")
    head = git("rev-parse", "HEAD").stdout.strip()
    monkeypatch.setattr(files, "__file__", str(tmp_path / "gpubn" / "files.py"))
    assert git_revision() == head
    (tmp_path / "notes" / "file").write_text("2")
    assert git_revision() == head
    (tmp_path / "conf" / "file").write_text("2")
    assert git_revision() == head + "+"
