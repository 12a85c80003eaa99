"""Datasets by name, whole, and the same object every time."""

import pytest

from gpubn.data import load
from gpubn.errors import DataError


def test_the_same_object_comes_back_whole_and_read_only():
    whole = load("digits")
    assert load("digits") is whole
    assert load("digits", "/nowhere") is whole  # the folder is that of MNIST
    assert (len(whole.x_train), len(whole.x_test)) == (1437, 360)
    for array in (whole.x_train, whole.y_train, whole.x_test, whole.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("name", ["cifar", "", "MNIST"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(DataError, match=f"'{name}', but must be one of mnist, digits"):
        load(name)
