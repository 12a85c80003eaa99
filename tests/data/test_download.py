"""Downloads against real servers on this machine: good, broken, silent ones."""

import gzip
import hashlib
import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpubn.data import download
from gpubn.errors import DataUnavailableError

PAYLOAD = bytes(range(256)) * 64
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
ZIPPED = gzip.compress(PAYLOAD, mtime=0)
NAME = "some-idx1-ubyte"

Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


def sends(body: bytes, length: int | None = None) -> Respond:
    """Answer with `body`, announcing `length` bytes."""

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def refuses(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., list[str]]]:
    """Make each of the given responses a mirror; returns the list of requests seen."""
    servers: list[http.server.ThreadingHTTPServer] = []
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")

    def start(*responses: Respond) -> list[str]:
        seen: list[str] = []
        for number, respond in enumerate(responses):

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self, number=number, respond=respond):
                    seen.append(f"GET {number} {self.path}")
                    respond(self)

                def log_message(self, *_arguments):
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            servers.append(server)
        mirrors = tuple(f"http://127.0.0.1:{server.server_port}/mnist/" for server in servers)
        monkeypatch.setattr(download, "MIRRORS", mirrors)
        return seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(target: Path) -> None:
    download.download(NAME, target, SHA256, len(PAYLOAD))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success_keeps_the_bytes_of_the_mirror(serve, tmp_path, capfd):
    seen = serve(sends(ZIPPED))
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert names(tmp_path) == ["a.gz"]
    assert seen == [f"GET 0 /mnist/{NAME}.gz"]
    assert capfd.readouterr() == ("", "")  # no terminal, no progress


def test_progress_shows_on_a_terminal(serve, tmp_path, monkeypatch, capsys):
    serve(sends(ZIPPED))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fetch(tmp_path / "a.gz")
    assert "100%" in capsys.readouterr().err


def test_the_suffix_of_the_target_decides_on_compression(serve, tmp_path):
    serve(sends(PAYLOAD))
    fetch(tmp_path / "a.gz")
    fetch(tmp_path / "a")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == PAYLOAD
    assert (tmp_path / "a").read_bytes() == PAYLOAD


@pytest.mark.parametrize(
    "fails",
    [refuses, sends(b"<html>log in</html>"), sends(ZIPPED[:50], len(ZIPPED))],
    ids=["status", "content", "breaks off"],
)
def test_second_mirror_stands_in_for_the_first(serve, tmp_path, fails):
    seen = serve(fails, sends(ZIPPED))
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert seen == [f"GET {i} /mnist/{NAME}.gz" for i in range(2)]


def test_http_error_everywhere_is_named(serve, tmp_path):
    serve(refuses, refuses)
    with pytest.raises(DataUnavailableError, match=rf"^{NAME} cannot.*: HTTP status 404; 127.*404"):
        fetch(tmp_path / "a.gz")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        pytest.param(sends(ZIPPED[:-20]), "corrupt gzip", id="truncated"),
        pytest.param(sends(ZIPPED[:50], len(ZIPPED)), "ChunkedEncodingError", id="breaks off"),
        pytest.param(sends(b"<html>log in</html>"), "19 bytes with SHA-256", id="captive portal"),
        pytest.param(sends(gzip.compress(PAYLOAD + b"x")), "SHA-256", id="payload too long"),
        pytest.param(sends(gzip.compress(PAYLOAD[::-1])), "SHA-256", id="wrong payload"),
    ],
)
def test_wrong_content_never_lands(serve, tmp_path, respond, reason):
    serve(respond)
    (tmp_path / "a.gz").write_bytes(b"before")
    with pytest.raises(DataUnavailableError, match=reason):
        fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == b"before"
    assert names(tmp_path) == ["a.gz"]


def test_silent_server_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT", (1.0, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(download, "MIRRORS", (f"http://127.0.0.1:{port}/",))
        with pytest.raises(DataUnavailableError, match=rf"127.0.0.1:{port}: ReadTimeout"):
            fetch(tmp_path / "a.gz")


def test_nothing_is_imported_that_downloads_before_one_begins():
    code = "import sys, gpubn.data.sets.mnist; print({'pooch', 'requests'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
