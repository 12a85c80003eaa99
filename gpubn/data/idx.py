"""Files in the IDX format, plain or compressed by gzip, whose payload is known by its SHA-256."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.errors import DataError
from gpubn.files import sha256 as digest_of

GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, sha256: str) -> npt.NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX file as a read-only array.

    Its header is a magic number, whose last byte counts the dimensions, and these, big-endian.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    payload = payload_of(content, sha256, str(path))
    header = 4 + 4 * payload[3]
    shape = struct.unpack(f">{payload[3]}I", payload[4:header])
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def payload_of(content: bytes, sha256: str, name: str, limit: int = -1) -> bytes:
    """Return the payload of `content`, or its first `limit` bytes, if it is the right one.

    The content decides whether it is compressed, and not the name of the file: browsers and proxies
    decompress on the way and keep the suffix. No IDX file starts with the magic of gzip.

    Raises:
        DataError: it is damaged, or another one; `name` is what the sentence calls it.
    """
    payload = content
    if content.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                payload = stream.read(limit)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{name} is a truncated or corrupt gzip file ({error})") from error
    if (seen := digest_of(payload)) != sha256:
        raise DataError(
            f"{name} has a payload of {len(payload)} bytes with SHA-256 {seen}, "
            f"but {sha256} is expected"
        )
    return payload
