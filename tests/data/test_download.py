"""Downloads against real servers on this machine: good, broken, silent ones."""

import errno
import gzip
import hashlib
import http.server
import socket
import threading
import time

import pytest

from gpubn.data import download
from gpubn.errors import DataUnavailableError, StoreError

PAYLOAD = bytes(range(256)) * 64
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
ZIPPED = gzip.compress(PAYLOAD, mtime=0)
NAME = "some-idx1-ubyte"
NOT_FOUND, CUT = b"", ZIPPED[:50]
MIRRORS = []
"""Those of a test."""


@pytest.fixture
def serve(monkeypatch):
    """serve(body, ...): what each mirror answers. Returns the list of paths that are asked for."""
    answers, seen = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            body = answers[int(self.path[1])]
            self.send_response(404 if body == NOT_FOUND else 200)
            self.send_header("Content-Length", str(len(ZIPPED) if body == CUT else len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    def start(*bodies):
        answers[:] = bodies
        MIRRORS[:] = [f"http://{address}/{i}/mnist/" for i in range(len(answers))]
        seen.clear()
        return seen

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield start
        server.shutdown()


@pytest.fixture
def target(tmp_path):
    """A file that is there, and alone in its folder whatever happens."""
    path = tmp_path / "a.gz"
    path.write_bytes(b"before")
    yield path
    assert [*tmp_path.iterdir()] == [path]


def fetch(path):
    download.download(MIRRORS, NAME, path, SHA256, len(PAYLOAD))


@pytest.mark.parametrize("sent", [ZIPPED, PAYLOAD], ids=["zipped", "unzipped on the way"])
def test_the_payload_lands_as_the_suffix_says_and_nothing_is_printed(serve, tmp_path, capfd, sent):
    seen = serve(sent)
    for name in ("a.gz", "a"):
        fetch(tmp_path / name)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == PAYLOAD
    assert (tmp_path / "a").read_bytes() == PAYLOAD
    assert seen == [f"/0/mnist/{NAME}.gz"] * 2
    assert capfd.readouterr() == ("", "")


WRONG = {
    "status": (NOT_FOUND, "HTTP status 404"),
    "breaks off": (CUT, "ChunkedEncodingError"),
    "truncated": (ZIPPED[:-20], "corrupt gzip"),
    "captive portal": (b"<html>log in</html>", "19 bytes with SHA-256"),
    "payload too long": (gzip.compress(PAYLOAD + b"x"), "SHA-256"),
    "wrong payload": (gzip.compress(PAYLOAD[::-1]), "SHA-256"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_content_never_lands_and_the_next_mirror_stands_in(serve, target, wrong):
    body, reason = WRONG[wrong]
    serve(body, body)
    with pytest.raises(DataUnavailableError, match=rf"^{NAME} cannot.*{reason}.*; 127.*{reason}"):
        fetch(target)
    assert target.read_bytes() == b"before"
    seen = serve(body, ZIPPED)
    fetch(target)
    assert target.read_bytes() == ZIPPED
    assert [path[:2] for path in seen] == ["/0", "/1"]


def test_a_full_disk_leaves_what_was_there(serve, target, monkeypatch):
    def full(_file):
        raise OSError(errno.ENOSPC, "No space left on device")

    serve(ZIPPED)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        fetch(target)
    assert target.read_bytes() == b"before"


def test_a_silent_server_is_given_up(monkeypatch, target):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT", (60.0, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        MIRRORS[:] = [f"http://127.0.0.1:{port}/"]
        start = time.monotonic()
        with pytest.raises(DataUnavailableError, match=rf"127.0.0.1:{port}: ReadTimeout"):
            fetch(target)
    assert time.monotonic() - start < 20  # the limit of the library alone is 30 s
