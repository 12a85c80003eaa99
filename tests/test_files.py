"""Files appear whole or not at all, whatever goes wrong while they are written."""

import contextlib
import io
import os
import shutil
import subprocess
import sys

import pytest

from gpubn import files
from gpubn.errors import StoreError
from gpubn.files import git_revision, sha256, write_atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_appears_whole_whatever_stood_there(tmp_path, monkeypatch):
    path, synced = tmp_path / "a" / "b" / "c.json", []
    monkeypatch.setattr(os, "fsync", synced.append)
    for content, durable in ((b"\x00old and longer\n", True), (b"new", False)):
        write_atomic(path, io.BytesIO(content).getbuffer(), durable=durable)
        assert path.read_bytes() == content
        assert names(path.parent) == ["c.json"]
        assert len(synced) == 1  # what need not outlive a loss of power does not wait for the disk
    # NIST FIPS 180-2, appendix B.1
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc") == sha256(io.BytesIO(b"abc").getbuffer()) == published


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0, 0o666)])
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


WRITE = """
import sys
from pathlib import Path
from gpubn.files import write_atomic
for _ in range(100):
    write_atomic(Path("folder/c"), sys.argv[1].encode() * int(sys.argv[2]))
"""


def test_two_processes_may_write_one_file_at_once(tmp_path):
    contents = {b"a" * 20_000, b"b" * 30_000}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, chr(content[0]), str(len(content))], cwd=tmp_path
        )
        for content in contents
    ]
    path, seen = tmp_path / "folder" / "c", set()
    while any(writer.poll() is None for writer in writers):
        with contextlib.suppress(FileNotFoundError):
            seen.add(path.read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen | {path.read_bytes()} <= contents
    assert names(path.parent) == ["c"]


FILL = """
import resource, sys
from pathlib import Path
from gpubn.errors import StoreError
from gpubn.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    write_atomic(Path("c"), b"x" * 100_000)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 70_000])
def test_a_file_that_finds_no_room(tmp_path, room):
    """The operating system refuses it in the middle."""
    (tmp_path / "c").write_bytes(b"old")
    command = [sys.executable, "-c", FILL, str(room)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("c cannot be written (File too large); expected a folder")
    assert (tmp_path / "c").read_bytes() == b"old"
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interrupt_leaves_the_old_content(tmp_path, monkeypatch, call):
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


def test_the_revision_is_unknown_without_git_and_outside_of_it(tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        assert git_revision() is None
    with monkeypatch.context() as outside:
        outside.setattr(files, "_PACKAGE", tmp_path)
        outside.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        assert git_revision() is None

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
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "gpubn")
    assert git_revision() == head
    with monkeypatch.context() as installed:  # in an environment below a checkout of another thing
        installed.setattr(files, "_INSIDE", tmp_path / "conf")
        assert git_revision() is None
    (tmp_path / "notes" / "file").write_text("2")
    assert git_revision() == head
    (tmp_path / "conf" / "file").write_text("2")
    assert git_revision() == head + "+"
