"""The IDX reader takes the payload that it is told of, and names the fault of anything else."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from gpubn.data.idx import payload_of, read_idx
from gpubn.errors import DataError

ITEMS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PAYLOAD = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + ITEMS.tobytes()
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 3, 4)])
def test_reads_every_shape(tmp_path, shape):
    items = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    payload = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + items.tobytes()
    (tmp_path / "a").write_bytes(payload)
    read = read_idx(tmp_path / "a", hashlib.sha256(payload).hexdigest())
    np.testing.assert_array_equal(read, items, strict=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a", PAYLOAD),
        ("a.gz", gzip.compress(PAYLOAD, mtime=0)),
        ("decompressed-on-the-way.gz", PAYLOAD),
        ("members.gz", gzip.compress(PAYLOAD[:20], mtime=0) + gzip.compress(PAYLOAD[20:], mtime=0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reads_plain_and_gzip(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    np.testing.assert_array_equal(read_idx(path, SHA256), ITEMS)


def flipped(content: bytes, index: int) -> bytes:
    damaged = bytearray(content)
    damaged[index] ^= 0xFF
    return bytes(damaged)


ZIPPED = gzip.compress(PAYLOAD, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ZIPPED[:-9], id="data cut: EOFError"),
        pytest.param(ZIPPED[:5], id="header cut: EOFError"),
        pytest.param(flipped(ZIPPED, -6), id="checksum wrong: BadGzipFile"),
        pytest.param(flipped(ZIPPED, 2), id="method unknown: BadGzipFile"),
        pytest.param(flipped(ZIPPED, 10), id="data garbled: zlib.error"),
        pytest.param(ZIPPED + b"junk", id="trailing junk: BadGzipFile"),
    ],
)
def test_damaged_gzip_is_named_and_left_alone(tmp_path, content):
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.gz is a truncated or corrupt gzip file"):
        read_idx(path, SHA256)
    assert path.read_bytes() == content


def test_wrong_checksum(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(PAYLOAD)
    with pytest.raises(DataError, match=rf"40 bytes with SHA-256 {SHA256}, but {'0' * 64} is"):
        read_idx(path, "0" * 64)
    assert path.read_bytes() == PAYLOAD


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="absent cannot be read: No such file"):
        read_idx(tmp_path / "absent", SHA256)


def test_no_more_than_the_limit_is_decompressed():
    bomb, start = gzip.compress(bytes(1_000_000)), bytes(10)
    assert payload_of(bomb, hashlib.sha256(start).hexdigest(), "bomb", limit=10) == start
