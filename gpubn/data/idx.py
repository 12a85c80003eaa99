"""The IDX format: a four-byte magic, big-endian dimensions, then the items."""

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
MAX_DIMENSIONS = 3


def parse_idx(payload: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX payload as a read-only array; `name` is for errors."""
    if len(payload) < 4:
        raise DataError(f"{name} holds {len(payload)} bytes, but an IDX file has at least 4")
    zeros, kind, ndim = struct.unpack_from(">HBB", payload)
    if zeros != 0:
        raise DataError(f"{name} starts with 0x{zeros:04x}, but an IDX file starts with 0x0000")
    if kind != UNSIGNED_BYTE:
        raise DataError(
            f"{name} has items of IDX type 0x{kind:02x}, "
            f"but only 0x{UNSIGNED_BYTE:02x} (unsigned byte) is read"
        )
    if not 1 <= ndim <= MAX_DIMENSIONS:
        raise DataError(f"{name} has {ndim} dimensions, but 1 to {MAX_DIMENSIONS} are read")
    header = 4 + 4 * ndim
    if len(payload) < header:
        raise DataError(
            f"{name} holds {len(payload)} bytes, but its header of {ndim} dimensions takes {header}"
        )
    shape = struct.unpack_from(f">{ndim}I", payload, 4)
    expected = header + math.prod(shape)
    if len(payload) != expected:
        fault = "is truncated" if len(payload) < expected else "has trailing bytes"
        raise DataError(
            f"{name} {fault}: it holds {len(payload)} bytes, "
            f"but its dimensions {shape} take {expected}"
        )
    return np.frombuffer(payload, np.uint8)[header:].reshape(shape)


def read_idx(path: Path, sha256: str | None = None) -> npt.NDArray[np.uint8]:
    """Read a plain or gzip-compressed IDX file; `sha256` is that of the decompressed payload."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    payload = decompress(content, str(path))
    if sha256 is not None:
        verify(payload, sha256, str(path))
    return parse_idx(payload, str(path))


def decompress(content: bytes, name: str, limit: int = -1) -> bytes:
    """Return the payload of `content`, which may be compressed by gzip, or its first `limit` bytes.

    The content decides and not the name of the file: browsers and proxies decompress on the way
    and keep the suffix. No IDX file starts with the magic of gzip.
    """
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return stream.read(limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is a truncated or corrupt gzip file ({error})") from error


def verify(payload: bytes, sha256: str, name: str) -> None:
    """Raise DataError unless `payload` has this SHA-256."""
    seen = hashlib.sha256(payload).hexdigest()
    if seen != sha256.lower():
        raise DataError(
            f"{name} has a payload of {len(payload)} bytes with SHA-256 {seen}, "
            f"but {sha256.lower()} is expected"
        )
