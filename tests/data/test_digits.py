"""The bundled digits: shapes, range, and a split that never changes."""

import hashlib

import numpy as np
import pytest

from gpubn.data import load
from gpubn.data.sets import digits
from gpubn.errors import DataError


def test_shapes_range_and_labels():
    data = digits.load()
    assert data.name == "digits"
    assert data.classes == 10
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    assert data.x_train.dtype == np.float32
    assert data.y_test.dtype == np.int64
    for x in (data.x_train, data.x_test):
        assert x.flags.c_contiguous
        assert (x.min(), x.max()) == (0.0, 1.0)
    for y in (data.y_train, data.y_test):
        assert set(y.tolist()) == set(range(10))


def test_split_is_fixed_and_complete():
    from sklearn.datasets import load_digits as load_bundled

    pixels, labels = load_bundled(return_X_y=True)
    data = digits.load()
    joined = np.column_stack(
        [np.vstack([data.x_train, data.x_test]) * 16, np.concatenate([data.y_train, data.y_test])]
    )
    everything = np.column_stack([pixels, labels])
    np.testing.assert_array_equal(np.unique(joined, axis=0), np.unique(everything, axis=0))
    assert len(joined) == len(everything)
    # Results are compared over the years, so the split itself is pinned.
    assert hashlib.sha256(data.y_test.astype(np.uint8)).hexdigest() == (
        "b02852589f29108dbadbf0d9d0293503d4e268225f5ddb8e319039b439e4bd02"
    )


def test_second_load_gives_equal_arrays():
    first, second = digits.load(), digits.load()
    assert first is not second
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    assert first.checksums == second.checksums
    assert set(first.checksums) == {"digits-images", "digits-labels"}


def test_catalog_loads_once_and_read_only(monkeypatch):
    data = load("digits")
    monkeypatch.setenv("GPUBN_DATA", "elsewhere")
    assert load("digits", root="anywhere") is data
    with pytest.raises(ValueError, match="read-only"):
        data.x_train[0, 0] = 0.5


def test_unknown_name():
    with pytest.raises(DataError, match="'cifar', but must be one of mnist, digits"):
        load("cifar")
