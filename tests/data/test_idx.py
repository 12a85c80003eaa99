"""The IDX reader takes the payload that it is told of, and names the fault of anything else."""

import gzip
import hashlib

import numpy as np
import pytest

from gpubn.data.idx import payload_of, read_idx
from gpubn.errors import DataError
from tests.data.files import idx

ITEMS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PAYLOAD = idx(ITEMS)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
ZIPPED = gzip.compress(PAYLOAD, mtime=0)
MEMBERS = gzip.compress(PAYLOAD[:20], mtime=0) + gzip.compress(PAYLOAD[20:], mtime=0)


def flipped(content, index):
    return content[:index] + bytes([content[index] ^ 0xFF]) + content[index + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "items"),
    [
        ("vector", idx(ITEMS[0, 0]), ITEMS[0, 0]),
        ("plain", PAYLOAD, ITEMS),
        ("zipped.gz", ZIPPED, ITEMS),
        ("decompressed-on-the-way.gz", PAYLOAD, ITEMS),
        ("members.gz", MEMBERS, ITEMS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_shape_is_read_plain_or_compressed_whatever_the_name(tmp_path, name, content, items):
    path = tmp_path / name
    path.write_bytes(content)
    found = read_idx(path, hashlib.sha256(idx(items)).hexdigest())
    np.testing.assert_array_equal(found, items, strict=True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(ZIPPED[:-9], "corrupt gzip", id="data cut: EOFError"),
        pytest.param(ZIPPED[:5], "corrupt gzip", id="header cut: EOFError"),
        pytest.param(flipped(ZIPPED, len(ZIPPED) - 6), "corrupt gzip", id="checksum: BadGzipFile"),
        pytest.param(flipped(ZIPPED, 10), "corrupt gzip", id="data garbled: zlib.error"),
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param(PAYLOAD + b"x", f"41 bytes with SHA-256 .* but {SHA256} is", id="other bytes"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, why):
    path = tmp_path / "damaged.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"damaged\.gz .*{why}"):
        read_idx(path, SHA256)


def test_no_more_than_the_limit_is_decompressed():
    bomb, start = gzip.compress(bytes(1_000_000)), bytes(10)
    assert payload_of(bomb, hashlib.sha256(start).hexdigest(), "bomb", limit=10) == start
