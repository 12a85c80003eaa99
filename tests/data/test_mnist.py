"""Where MNIST is looked for, what counts as MNIST, and what happens where it is not found."""

import gzip
import hashlib
import logging
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from gpubn.data import download, load, registry
from gpubn.data.sets import mnist
from gpubn.errors import DataError, DataUnavailableError

REAL_FILES = dict(mnist.FILES)
REAL_DOWNLOAD = download.download
NAMES = tuple(REAL_FILES)


def idx(items: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{items.ndim}I", 0, 8, items.ndim, *items.shape)
    return header + items.astype(np.uint8).tobytes()


IMAGES = np.linspace(0, 255, 6 * 2 * 3).round().reshape(6, 2, 3)
LABELS = np.array([5, 0, 4, 1, 9, 2])
PAYLOADS = dict(zip(NAMES, map(idx, (IMAGES, LABELS, IMAGES[:2] // 2, LABELS[:2])), strict=True))


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """Put six images in the place of MNIST, an empty cache, and no network."""
    files = {
        name: mnist.Payload(hashlib.sha256(payload).hexdigest(), len(payload))
        for name, payload in PAYLOADS.items()
    }
    monkeypatch.setattr(mnist, "FILES", files)
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache" / "mnist")
    monkeypatch.setattr(mnist, "download", unexpected_download)
    monkeypatch.delenv("GPUBN_DATA", raising=False)
    registry._load.cache_clear()
    yield
    registry._load.cache_clear()


def unexpected_download(*_arguments: object) -> None:
    raise AssertionError("nothing may be downloaded here")


def fill(folder: Path, spelling: str = "{}.gz") -> Path:
    folder.mkdir(parents=True)
    for name, payload in PAYLOADS.items():
        path = folder / spelling.format(name)
        path.write_bytes(gzip.compress(payload) if path.suffix == ".gz" else payload)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-idx", ".idx"])
def test_reads_every_spelling(tmp_path, suffix, separator):
    folder = fill(tmp_path / "given", "{}" + suffix)
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", separator)))
    assert (folder / f"t10k-labels{separator}1-ubyte{suffix}").is_file()
    data = mnist.load(folder)
    assert data.name == "mnist"
    assert data.classes == 10
    np.testing.assert_array_equal(
        data.x_train, IMAGES.reshape(6, 6).astype(np.float32) / np.float32(255), strict=True
    )
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(data.y_train, LABELS, strict=True)
    assert data.x_test.shape == (2, 6)
    np.testing.assert_array_equal(data.y_test, [5, 0])
    assert data.checksums == {n: hashlib.sha256(p).hexdigest() for n, p in PAYLOADS.items()}


def test_sizes_are_those_of_the_real_mnist():
    sizes = [payload.size for payload in REAL_FILES.values()]
    assert sizes == [16 + 60000 * 784, 8 + 60000, 16 + 10000 * 784, 8 + 10000]
    assert all(len(bytes.fromhex(payload.sha256)) == 32 for payload in REAL_FILES.values())


@pytest.mark.parametrize("spoil", [lambda b: b[:-12], lambda b: b[:30] + b"\xff" + b[31:]])
def test_damaged_file_in_a_named_folder_is_named_and_kept(tmp_path, spoil):
    folder = fill(tmp_path / "given")
    fill(mnist.cache_folder())
    victim = folder / "t10k-images-idx3-ubyte.gz"
    victim.write_bytes(spoil(victim.read_bytes()))
    before = contents(folder)
    with pytest.raises(DataError, match=r"given.t10k-images-idx3-ubyte\.gz is a truncated or"):
        mnist.load(folder)
    assert contents(folder) == before


def test_wrong_checksum_in_a_named_folder(tmp_path):
    folder = fill(tmp_path / "given")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[::-1])))
    before = contents(folder)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz has a payload of 14 bytes"):
        mnist.load(folder)
    assert contents(folder) == before


def test_missing_file_in_a_named_folder(tmp_path):
    folder = fill(tmp_path / "given")
    fill(mnist.cache_folder())
    (folder / "train-images-idx3-ubyte.gz").unlink()
    before = contents(folder)
    with pytest.raises(DataError, match=r"given, .* lacks train-images-idx3-ubyte, but must"):
        mnist.load(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")])
def test_named_folder_that_is_none(tmp_path, make):
    make(tmp_path / "given")
    with pytest.raises(DataError, match=r"given, .* is not a folder"):
        mnist.load(tmp_path / "given")


def test_environment_variable_wins_over_the_cache_and_root_over_both(tmp_path, monkeypatch):
    good = fill(tmp_path / "good")
    fill(mnist.cache_folder())
    monkeypatch.setenv("GPUBN_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="absent"):
        mnist.load()
    assert mnist.load(good).x_train.shape == (6, 6)
    monkeypatch.setenv("GPUBN_DATA", str(good))
    with pytest.raises(DataError, match="other"):
        mnist.load(tmp_path / "other")
    for path in mnist.cache_folder().iterdir():
        path.write_bytes(b"unreadable")
    assert mnist.load().x_train.shape == (6, 6)


def test_empty_environment_variable_means_none(monkeypatch):
    monkeypatch.setenv("GPUBN_DATA", "")
    assert mnist.locate() is None


def test_locate_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mnist.locate("here") == tmp_path / "here"


def test_cache_needs_no_network():
    fill(mnist.cache_folder())
    assert mnist.load().x_train.shape == (6, 6)


@pytest.mark.parametrize("spelling", ["{}.gz", "{}"])
def test_corrupt_cache_file_is_named_and_downloaded_again(monkeypatch, caplog, spelling):
    folder = fill(mnist.cache_folder(), spelling)
    victim = folder / spelling.format("train-images-idx3-ubyte")
    victim.write_bytes(victim.read_bytes()[:-9])
    fetched: list[tuple[str, Path]] = []

    def serve(name: str, target: Path, sha256: str, size: int) -> None:
        assert (sha256, size) == (mnist.FILES[name].sha256, mnist.FILES[name].size)
        fetched.append((name, target))
        target.write_bytes(gzip.compress(PAYLOADS[name]))

    monkeypatch.setattr(mnist, "download", serve)
    with caplog.at_level(logging.WARNING, "gpubn"):
        assert mnist.load().x_train.shape == (6, 6)
    assert fetched == [("train-images-idx3-ubyte", victim)]
    (record,) = caplog.records
    assert str(victim) in record.getMessage()
    assert record.getMessage().endswith("it is downloaded again")


def test_well_formed_cache_file_with_other_items_is_downloaded_again(monkeypatch):
    folder = fill(mnist.cache_folder())
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[::-1])))

    def serve(name: str, target: Path, _sha256: str, _size: int) -> None:
        target.write_bytes(gzip.compress(PAYLOADS[name]))

    monkeypatch.setattr(mnist, "download", serve)
    np.testing.assert_array_equal(mnist.load().y_train, LABELS)


def test_empty_cache_is_filled_once(monkeypatch):
    fetched: list[str] = []

    def serve(name: str, target: Path, _sha256: str, _size: int) -> None:
        fetched.append(target.name)
        target.write_bytes(gzip.compress(PAYLOADS[name]))

    monkeypatch.setattr(mnist, "download", serve)
    mnist.load()
    mnist.load()
    assert fetched == [f"{name}.gz" for name in NAMES]


def test_offline_names_the_ways_to_provide_mnist(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(mnist, "download", REAL_DOWNLOAD)
    monkeypatch.setattr(download, "MIRRORS", (f"http://{refused}/",))
    start = time.monotonic()
    with pytest.raises(DataUnavailableError) as caught:
        mnist.load()
    assert time.monotonic() - start < 1.5
    message = str(caught.value)
    for part in (
        f"{refused}: ConnectionError",
        *NAMES,
        "GPUBN_DATA or data.root=FOLDER",
        f"the cache folder {mnist.cache_folder()}",
        "go online",
        "data=digits",
    ):
        assert part in message


def test_cache_folder_that_cannot_be_made_names_the_ways(tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the way")
    with pytest.raises(DataUnavailableError, match="data=digits"):
        mnist.load()


def test_corrupt_cache_file_outlives_a_failed_download(monkeypatch):
    folder = fill(mnist.cache_folder())
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"corrupt")
    before = contents(folder)

    def serve(name: str, *_arguments: object) -> None:
        raise DataUnavailableError(f"{name} is nowhere")

    monkeypatch.setattr(mnist, "download", serve)
    with pytest.raises(DataUnavailableError, match="t10k-labels-idx1-ubyte is nowhere"):
        mnist.load()
    assert contents(folder) == before


def test_catalog_reads_each_folder_once(tmp_path, monkeypatch):
    first, second = fill(tmp_path / "first"), fill(tmp_path / "second")
    data = load("mnist", first)
    monkeypatch.setenv("GPUBN_DATA", str(first))
    assert load("mnist") is data
    assert load("mnist", str(first)) is data
    monkeypatch.setenv("GPUBN_DATA", str(second))
    assert load("mnist") is not data
    with pytest.raises(ValueError, match="read-only"):
        data.y_test[0] = 1
