"""Download one file of MNIST from the first mirror that works, within a bounded time.

`requests` bounds neither a name lookup nor a server that sends a byte now and then. Every call
that may block therefore runs in a daemon thread, and the caller only ever waits on a queue.
"""

import contextlib
import gzip
import os
import queue
import secrets
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from gpubn.data.idx import GZIP_MAGIC, decompress, verify
from gpubn.errors import DataError, DataUnavailableError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
PROBE_SECONDS = 13.5
"""Until when a mirror must have answered; leaves room below 15 s for all the rest."""
STALL_SECONDS = 15.0
"""The longest wait for the next chunk."""
TOTAL_SECONDS = 900.0
"""The longest that one file may take, over all mirrors and attempts."""
ATTEMPTS = 2
CHUNK_BYTES = 16 * 1024
SLACK_BYTES = 64 * 1024
"""How much longer than the payload a compressed body may be."""

# Otherwise a server may compress the .gz file once more, and Content-Length is lost.
HEADERS = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class _Answer:
    """What a mirror said about a file; `failure` is None where it has the file."""

    url: str
    length: int | None = None
    failure: str | None = None


class _TransferError(Exception):
    """A transfer broke off; `transient` where another attempt may get further."""

    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason)
        self.transient = transient


def fetch(name: str, target: Path, sha256: str, size: int) -> None:
    """Write the IDX file `name` to `target`, or leave `target` as it is and raise.

    `sha256` and `size` are those of the decompressed payload, which is verified before anything
    is written. The content is compressed by gzip if and only if `target` ends in .gz.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    failures: dict[str, str] = {}
    for answer in _answers([f"{mirror}{name}.gz" for mirror in MIRRORS]):
        if answer.failure is not None:
            failures[answer.url] = answer.failure
            continue
        for _ in range(ATTEMPTS):
            try:
                body = _transfer(answer, size + SLACK_BYTES, deadline)
                payload = decompress(body, "what it sent", size + 1)
                verify(payload, sha256, "what it sent")
            except (_TransferError, DataError) as error:
                failures[answer.url] = str(error)
                if not getattr(error, "transient", False):
                    break
            else:
                _replace(target, _encode(target, body, payload))
                return
    reasons = "; ".join(f"{urlsplit(url).netloc}: {why}" for url, why in failures.items())
    raise DataUnavailableError(f"{name} cannot be downloaded from any mirror ({reasons})")


def _answers(urls: Sequence[str]) -> Iterator[_Answer]:
    """Ask for all `urls` at once and yield what is known of each, the quickest first."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    pending = dict.fromkeys(urls)
    for url in pending:
        threading.Thread(target=_probe, args=(url, answers), daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    while pending:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            for url in pending:
                yield _Answer(url, failure=f"no answer within {PROBE_SECONDS:g} s")
            return
        del pending[answer.url]
        yield answer


def _probe(url: str, answers: "queue.SimpleQueue[_Answer]") -> None:
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        response = requests.head(url, allow_redirects=True, timeout=timeout, headers=HEADERS)
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        answers.put(_Answer(url, length=int(length) if length.isdecimal() else None))
    except Exception as error:  # a thread has nobody to raise to
        answers.put(_Answer(url, failure=_reason(error)))


def _transfer(answer: _Answer, limit: int, deadline: float) -> bytes:
    """Return the body of the file, with a progress bar where standard error is a terminal."""
    body = bytearray()
    title = answer.url.rsplit("/", 1)[-1]
    with (
        contextlib.closing(_chunks(answer.url, deadline)) as chunks,
        tqdm(total=answer.length, desc=title, unit="B", unit_scale=True, disable=None) as bar,
    ):
        for chunk in chunks:
            body += chunk
            bar.update(len(chunk))
            if len(body) > limit:
                raise _TransferError(f"more than the allowed {limit} bytes", transient=False)
    return bytes(body)


def _chunks(url: str, deadline: float) -> Generator[bytes, None, None]:
    """Yield the body in chunks, each of which must come within STALL_SECONDS."""
    chunks: queue.SimpleQueue[bytes | _TransferError | None] = queue.SimpleQueue()
    abandoned = threading.Event()
    threading.Thread(target=_receive, args=(url, chunks, abandoned), daemon=True).start()
    try:
        while True:
            wait = max(0.0, min(STALL_SECONDS, deadline - time.monotonic()))
            try:
                chunk = chunks.get(timeout=wait)
            except queue.Empty:
                raise _TransferError(f"no data within {wait:.3g} s", transient=True) from None
            if chunk is None:
                return
            if isinstance(chunk, _TransferError):
                raise chunk
            yield chunk
    finally:
        abandoned.set()


def _receive(
    url: str,
    chunks: "queue.SimpleQueue[bytes | _TransferError | None]",
    abandoned: threading.Event,
) -> None:
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        with requests.get(url, stream=True, timeout=timeout, headers=HEADERS) as response:
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK_BYTES):
                if abandoned.is_set():
                    return
                chunks.put(chunk)
        chunks.put(None)
    except Exception as error:  # a thread has nobody to raise to
        transient = not isinstance(error, requests.HTTPError)
        chunks.put(_TransferError(_reason(error), transient))


def _reason(error: Exception) -> str:
    """Say in a few words what went wrong; the text of `requests` names its own objects."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return type(error).__name__


def _encode(target: Path, body: bytes, payload: bytes) -> bytes:
    if target.suffix != ".gz":
        return payload
    return body if body.startswith(GZIP_MAGIC) else gzip.compress(payload, mtime=0)


def _replace(target: Path, content: bytes) -> None:
    """Write `target` in one step, under a temporary name that no other process can have."""
    part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
