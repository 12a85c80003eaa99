"""Datasets by name, the same object every time; the bundled digits, whose split never changes."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gpubn.data import load
from gpubn.data.sets import digits
from gpubn.errors import DataError


def test_the_same_object_comes_back_whole_and_read_only(monkeypatch):
    whole = load("digits")
    monkeypatch.setenv("GPUBN_DATA", "elsewhere")  # the folder is that of MNIST
    assert load("digits") is load("digits", "/nowhere") is whole
    for array in (whole.x_train, whole.y_train, whole.x_test, whole.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match="'cifar', but must be one of mnist, digits, fashion"):
        load("cifar")


def test_the_split_is_fixed_and_complete_and_its_checksums_are_those_of_the_digits():
    data = digits.load()
    assert (data.x_train.shape, data.x_test.shape) == ((1437, 64), (360, 64))
    joined = np.column_stack(
        [np.vstack([data.x_train, data.x_test]) * 16, np.concatenate([data.y_train, data.y_test])]
    )
    everything = np.column_stack(load_digits(return_X_y=True))
    for part in (joined, everything):
        part[:] = part[np.lexsort(part.T)]
    np.testing.assert_array_equal(joined, everything)
    # Results are compared over the years, so the split itself is pinned.
    assert hashlib.sha256(data.y_test.astype(np.uint8)).hexdigest() == (
        "b02852589f29108dbadbf0d9d0293503d4e268225f5ddb8e319039b439e4bd02"
    )
    pixels, labels = load_digits(return_X_y=True)
    assert data.checksums == {
        "digits-images": hashlib.sha256(pixels.astype(np.uint8)).hexdigest(),
        "digits-labels": hashlib.sha256(labels.astype(np.uint8)).hexdigest(),
    }
