"""Downloads against real servers on this machine: good, broken, silent, and absent ones."""

import gzip
import hashlib
import http.server
import itertools
import socket
import threading
import time
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
        if handler.command == "GET":
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
                    seen.append(f"{self.command} {number} {self.path}")
                    respond(self)

                do_HEAD = do_GET  # noqa: N815

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
    download.fetch(NAME, target, SHA256, len(PAYLOAD))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success_keeps_the_bytes_of_the_mirror(serve, tmp_path):
    seen = serve(sends(ZIPPED))
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert names(tmp_path) == ["a.gz"]
    assert seen == [f"HEAD 0 /mnist/{NAME}.gz", f"GET 0 /mnist/{NAME}.gz"]


def test_the_suffix_of_the_target_decides_on_compression(serve, tmp_path):
    serve(sends(PAYLOAD))
    fetch(tmp_path / "a.gz")
    fetch(tmp_path / "a")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == PAYLOAD
    assert (tmp_path / "a").read_bytes() == PAYLOAD


def test_second_mirror_stands_in_for_the_first(serve, tmp_path):
    seen = serve(refuses, sends(ZIPPED))
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert f"GET 1 /mnist/{NAME}.gz" in seen
    assert f"GET 0 /mnist/{NAME}.gz" not in seen


def test_http_error_everywhere_is_named(serve, tmp_path):
    serve(refuses, refuses)
    with pytest.raises(DataUnavailableError, match=rf"^{NAME} cannot.*: HTTP status 404; 127.*404"):
        fetch(tmp_path / "a.gz")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        pytest.param(sends(ZIPPED[:-20]), "corrupt gzip", id="truncated"),
        pytest.param(sends(b"<html>log in</html>"), "19 bytes with SHA-256", id="captive portal"),
        pytest.param(sends(gzip.compress(PAYLOAD + b"x")), "SHA-256", id="payload too long"),
        pytest.param(sends(gzip.compress(PAYLOAD[::-1])), "SHA-256", id="wrong payload"),
        pytest.param(sends(bytes(200_000)), "more than the allowed 81920 bytes", id="endless"),
    ],
)
def test_wrong_content_never_lands(serve, tmp_path, respond, reason):
    seen = serve(respond)
    (tmp_path / "a.gz").write_bytes(b"before")
    with pytest.raises(DataUnavailableError, match=reason):
        fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == b"before"
    assert names(tmp_path) == ["a.gz"]
    assert len(seen) == 2  # what is wrong once is not asked for again


def test_wrong_content_moves_on_to_the_next_mirror(serve, tmp_path):
    serve(sends(b"<html>log in</html>"), sends(ZIPPED))
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED


def test_broken_transfer_is_tried_again(serve, tmp_path):
    turn = itertools.count()

    def breaks_once(handler: http.server.BaseHTTPRequestHandler) -> None:
        first_body = handler.command == "GET" and next(turn) == 0
        sends(ZIPPED[:50] if first_body else ZIPPED, len(ZIPPED))(handler)

    seen = serve(breaks_once)
    fetch(tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert [line.split()[0] for line in seen] == ["HEAD", "GET", "GET"]


def test_silent_server_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(download, "MIRRORS", (f"http://127.0.0.1:{port}/",))
        start = time.monotonic()
        with pytest.raises(DataUnavailableError, match=rf"127.0.0.1:{port}: no answer within 0.3"):
            fetch(tmp_path / "a.gz")
        assert 0.3 <= time.monotonic() - start < 1.5


def test_hanging_name_lookup_is_given_up(monkeypatch, tmp_path):
    release = threading.Event()
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(download, "MIRRORS", ("http://nowhere.invalid/",))

    def hang(*_arguments: object) -> list[object]:
        release.wait(10)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    with pytest.raises(DataUnavailableError, match=r"nowhere\.invalid: no answer within 0\.2 s"):
        fetch(tmp_path / "a.gz")
    release.set()
    assert time.monotonic() - start < 1.5


def test_trickling_body_is_given_up(serve, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "STALL_SECONDS", 0.2)
    gone = threading.Event()

    def trickles(handler: http.server.BaseHTTPRequestHandler) -> None:
        sends(b"", len(ZIPPED))(handler)
        if handler.command == "GET":
            for byte in ZIPPED:
                if gone.wait(0.05):
                    return
                handler.wfile.write(bytes([byte]))

    serve(trickles)
    start = time.monotonic()
    with pytest.raises(DataUnavailableError, match=r"no data within 0\.2 s"):
        fetch(tmp_path / "a.gz")
    assert time.monotonic() - start < 1.5
    gone.set()
    assert names(tmp_path) == []


def test_total_time_is_bounded(serve, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.0)
    serve(sends(ZIPPED))
    with pytest.raises(DataUnavailableError, match="no data within 0 s"):
        fetch(tmp_path / "a.gz")


def test_interrupt_while_writing_leaves_nothing(serve, monkeypatch, tmp_path):
    serve(sends(ZIPPED))
    seen: list[list[str]] = []

    def interrupt(_self: Path, _target: Path) -> None:
        seen.append(names(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "a.gz")
    assert len(seen[0]) == 1
    assert seen[0][0].endswith(".part")
    assert names(tmp_path) == []


def test_downloads_at_once_do_not_disturb_each_other(serve, tmp_path):
    serve(sends(ZIPPED))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            fetch(tmp_path / "a.gz")
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert (tmp_path / "a.gz").read_bytes() == ZIPPED
    assert names(tmp_path) == ["a.gz"]
