"""Where the files of a dataset are looked for, what counts, and what happens where they are not."""

import gzip
import hashlib
import io
import logging
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gpubn.data import four_files, load, registry
from gpubn.data.sets import fashion, mnist
from gpubn.errors import DataError, DataUnavailableError
from tests.data.files import idx

NAMES = tuple(mnist.FILES)
IMAGES = np.linspace(0, 255, 6 * 2 * 3).round().reshape(6, 2, 3)
LABELS = np.array([5, 0, 4, 1, 9, 2])
PARTS = (IMAGES, LABELS, IMAGES[:2] // 2, LABELS[:2])
PAYLOADS = dict(zip(NAMES, map(idx, PARTS), strict=True))
OTHERS = {name: payload[:-1] + b"\1" for name, payload in PAYLOADS.items()}
OTHER_LABELS = gzip.compress(OTHERS["train-labels-idx1-ubyte"])


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "mnist"


@pytest.fixture(autouse=True)
def fetched(monkeypatch, tmp_path):
    """Six images in the place of each dataset, an empty cache, a network that notes its files."""
    fetched = []
    for module, payloads in ((mnist, PAYLOADS), (fashion, OTHERS)):
        files = {n: four_files.Payload(digest(p), len(p)) for n, p in payloads.items()}
        monkeypatch.setattr(module, "FILES", files)
        monkeypatch.setattr(module, "SOURCE", replace(module.SOURCE, files=files))
        monkeypatch.delenv(module.SOURCE.variable, raising=False)

    def serve(mirrors, name, target, sha256, size):
        payloads = PAYLOADS if mirrors == mnist.SOURCE.mirrors else OTHERS
        assert (sha256, size) == (digest(payloads[name]), len(payloads[name]))
        fetched.append(target)
        target.write_bytes(gzip.compress(payloads[name]))

    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: tmp_path / "cache")
    monkeypatch.setattr(four_files, "download", serve)
    registry._load.cache_clear()
    yield fetched
    registry._load.cache_clear()


def digest(payload):
    return hashlib.sha256(payload).hexdigest()


def fill(folder, spelling="{}.gz", payloads=PAYLOADS):
    folder.mkdir(parents=True)
    for name, payload in payloads.items():
        path = folder / spelling.format(name)
        path.write_bytes(gzip.compress(payload) if path.suffix == ".gz" else payload)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-idx", ".idx"])
def test_every_spelling_is_read(tmp_path, fetched, suffix, separator):
    folder = fill(tmp_path / "given", "{}" + suffix)
    for path in [*folder.iterdir()]:
        path.rename(path.with_name(path.name.replace("-idx", separator)))
    data = mnist.load(folder)
    assert (data.name, data.classes, fetched) == ("mnist", 10, [])
    scaled = IMAGES.reshape(6, 6).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.x_train, scaled, strict=True)
    np.testing.assert_array_equal(data.y_train, LABELS, strict=True)
    assert data.x_test.shape == (2, 6)
    np.testing.assert_array_equal(data.y_test, [5, 0])
    assert data.checksums == {name: digest(payload) for name, payload in PAYLOADS.items()}


@pytest.mark.parametrize(
    ("name", "spoilt", "why"),
    [
        ("t10k-images-idx3-ubyte.gz", b"\x1f\x8b short", "given.t10k-images.* is a truncated or"),
        ("train-labels-idx1-ubyte.gz", OTHER_LABELS, "has a payload of 14 bytes"),
        ("train-images-idx3-ubyte.gz", None, "given, .* lacks train-images-idx3-ubyte, but must"),
    ],
    ids=["damaged", "another", "missing"],
)
def test_a_wrong_file_in_a_named_folder_is_named_and_nothing_stands_in(
    tmp_path, cache, fetched, name, spoilt, why
):
    folder = fill(tmp_path / "given")
    fill(cache)
    (folder / name).unlink()
    if spoilt is not None:
        (folder / name).write_bytes(spoilt)
    before = contents(folder)
    with pytest.raises(DataError, match=why):
        mnist.load(folder)
    assert (contents(folder), fetched) == (before, [])


def test_environment_variable_wins_over_the_cache_and_root_over_both(tmp_path, cache, monkeypatch):
    good = fill(tmp_path / "good")
    fill(cache)
    monkeypatch.setenv("GPUBN_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="absent"):
        mnist.load()
    assert mnist.load(good).x_train.shape == (6, 6)
    monkeypatch.setenv("GPUBN_DATA", str(good))
    with pytest.raises(DataError, match=r"other, .* is not a folder"):
        mnist.load(tmp_path / "other")
    monkeypatch.setenv("GPUBN_DATA", "")
    assert mnist.locate() is None


@pytest.mark.parametrize("spelling", ["{}.gz", "{}"])
@pytest.mark.parametrize("content", [b"\x1f\x8b short", OTHER_LABELS], ids=["damaged", "another"])
def test_a_wrong_file_in_the_cache_is_named_and_downloaded_again(
    cache, fetched, caplog, spelling, content
):
    victim = fill(cache, spelling) / spelling.format("train-labels-idx1-ubyte")
    victim.write_bytes(content)
    with caplog.at_level(logging.WARNING, "gpubn"):
        np.testing.assert_array_equal(mnist.load().y_train, LABELS)
    assert fetched == [victim]
    assert str(victim) in caplog.text


def test_an_empty_cache_is_filled_once(cache, fetched):
    for _ in "12":
        assert mnist.load().x_train.shape == (6, 6)
        assert fetched == [cache / f"{name}.gz" for name in NAMES]


def test_a_wrong_file_in_the_cache_outlives_a_machine_without_a_network(monkeypatch, cache):
    from gpubn.data.download import download

    (fill(cache) / "t10k-labels-idx1-ubyte.gz").write_bytes(b"corrupt")
    before = contents(cache)
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(four_files, "download", download)
    monkeypatch.setattr(mnist, "SOURCE", replace(mnist.SOURCE, mirrors=(f"http://{refused}/",)))
    with pytest.raises(DataUnavailableError, match=f"{refused}: ConnectionError") as caught:
        mnist.load()
    ways = ("GPUBN_DATA or data.root=FOLDER", f"folder {cache}", "go online", "data=digits")
    for part in (*NAMES, *ways):
        assert part in str(caught.value)
    assert contents(cache) == before


def test_each_folder_is_read_once(tmp_path, monkeypatch):
    first, second = fill(tmp_path / "first"), fill(tmp_path / "second")
    data = load("mnist", first)
    monkeypatch.setenv("GPUBN_DATA", str(first))
    assert load("mnist") is load("mnist", str(first)) is data
    monkeypatch.setenv("GPUBN_DATA", str(second))
    assert load("mnist") is not data
    with pytest.raises(ValueError, match="read-only"):
        data.y_test[0] = 1


# As people have them ------------------------------------------------------------------------------

KEYS = ("x_train", "y_train", "x_test", "y_test")
ARRAYS = dict(zip(KEYS, (part.astype(np.uint8) for part in PARTS), strict=True))


def as_npz(folder):
    np.savez(folder / "any.npz", **ARRAYS)
    return folder


def as_parquet(folder):
    pytest.importorskip("pyarrow", reason="pandas reads no parquet without it")
    (folder / "data").mkdir()
    for split in ("train", "test"):
        rows = [{"bytes": png(image), "path": None} for image in ARRAYS[f"x_{split}"]]
        table = pd.DataFrame({"image": rows, "label": ARRAYS[f"y_{split}"].astype(np.int64)})
        for part, of in enumerate((table[:1], table[1:])):
            of.to_parquet(folder / "data" / f"{split}-0000{part}-of-00002.parquet")
    return folder


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


LAYOUTS = {
    "torchvision's root": lambda folder: fill(folder / "MNIST" / "raw").parent.parent,
    "torchvision's folder": lambda folder: fill(folder / "raw", "{}").parent,
    "Keras' file": lambda folder: as_npz(folder) / "any.npz",
    "a folder with it": as_npz,
    "Hugging Face's": as_parquet,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_arrays_are_found_as_people_have_them(tmp_path, layout, fetched):
    place = LAYOUTS[layout](tmp_path)
    data = mnist.load(place)
    assert (data.x_train * 255).round().astype(int).reshape(6, 2, 3).tolist() == IMAGES.tolist()
    assert [data.y_train.tolist(), data.y_test.tolist()] == [LABELS.tolist(), [5, 0]]
    assert fetched == []
    sentence = rf"^{place} holds MNIST; expected Fashion-MNIST for data=fashion$"
    with pytest.raises(DataError, match=sentence):
        load("fashion", place)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x_train": IMAGES.astype(np.uint8)}, "is not a file in the archive"),
        (ARRAYS | {"x_train": IMAGES}, "has numbers of float64; expected whole ones from 0"),
        (ARRAYS | {"y_train": LABELS + 300}, "has numbers of int64; expected whole ones from 0"),
        (ARRAYS | {"y_train": LABELS - 1}, "has numbers of int64; expected whole ones from 0"),
        (
            ARRAYS | {"y_train": LABELS + 1},
            "holds other train-labels-idx1-ubyte than MNIST: ",
        ),
    ],
)
def test_an_npz_of_other_arrays_is_one_sentence(tmp_path, arrays, why):
    np.savez(tmp_path / "any.npz", **arrays)
    with pytest.raises(DataError, match=why):
        mnist.load(tmp_path)


# Without a home -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [RuntimeError("no home"), KeyError("uid"), "~/.cache/gpubn"])
def test_without_a_home_the_cache_is_among_the_temporary_files(monkeypatch, tmp_path, answer):
    answers = Mock(side_effect=[answer])
    monkeypatch.setattr("platformdirs.user_cache_dir", answers)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert mnist.SOURCE.cache_folder() == tmp_path / f"gpubn-{os.getuid()}" / "mnist"


def test_a_home_that_there_is_not_is_one_sentence(monkeypatch):
    monkeypatch.setattr(Path, "expanduser", Mock(side_effect=RuntimeError("no home")))
    with pytest.raises(DataError, match=r"^~/mnist has no place \(no home\); expected a path with"):
        mnist.locate("~/mnist")


# Fashion-MNIST ------------------------------------------------------------------------------------


def test_clothes_are_told_from_digits_although_their_files_have_the_same_names(
    tmp_path, monkeypatch, fetched
):
    clothes = fill(tmp_path / "digits" / "fashion", payloads=OTHERS)
    for name, payload in PAYLOADS.items():
        (clothes.parent / name).write_bytes(payload)
    data = fashion.load(clothes)
    assert (data.name, data.y_train[-1], data.y_test[-1]) == ("fashion", 1, 1)
    assert data.checksums == {name: digest(payload) for name, payload in OTHERS.items()}
    for module, wrong in ((fashion, clothes.parent), (mnist, clothes)):
        with pytest.raises(DataError, match=r"has a payload of .* is expected"):
            module.load(wrong)
    monkeypatch.setenv("GPUBN_DATA", str(clothes.parent))
    assert load("fashion").checksums == data.checksums
    assert load("mnist").name == "mnist"
    monkeypatch.setenv("GPUBN_FASHION_DATA", str(tmp_path / "absent"))
    with pytest.raises(
        DataError, match=r"GPUBN_FASHION_DATA, is not a folder.* holds Fashion-MNIST"
    ):
        load("fashion")
    assert fetched == []


def test_clothes_have_a_cache_of_their_own(tmp_path, monkeypatch, fetched):
    monkeypatch.setenv("GPUBN_DATA", str(fill(tmp_path / "digits")))
    assert fashion.load().y_train[-1] == 1
    assert {path.parent for path in fetched} == {tmp_path / "cache" / "fashion"}
