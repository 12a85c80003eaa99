"""The catalog: datasets by name, whole or cut to their first training examples."""

import numpy as np
import pytest

from gpubn.data import load
from gpubn.errors import DataError


@pytest.mark.parametrize("examples", [1, 32, 1436])
def test_the_first_training_examples_are_kept(examples):
    whole, cut = load("digits"), load("digits", train_examples=examples)
    assert len(cut.x_train) == len(cut.y_train) == examples
    np.testing.assert_array_equal(cut.x_train, whole.x_train[:examples])
    np.testing.assert_array_equal(cut.y_train, whole.y_train[:examples])
    assert cut.x_test is whole.x_test
    assert cut.y_test is whole.y_test
    assert (cut.name, cut.classes, cut.checksums) == (whole.name, whole.classes, whole.checksums)
    assert len(load("digits").x_train) == 1437  # the whole is left alone


@pytest.mark.parametrize("examples", [1437, 10**9])
def test_at_most_so_many(examples):
    cut = load("digits", train_examples=examples)
    np.testing.assert_array_equal(cut.x_train, load("digits").x_train)


def test_0_keeps_all():
    assert load("digits", train_examples=0) is load("digits")


def test_the_same_object_comes_back_and_is_read_only():
    cut = load("digits", train_examples=50)
    assert load("digits", train_examples=50) is cut
    assert load("digits", train_examples=51) is not cut
    for array in (cut.x_train, cut.y_train):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_unknown_name_is_refused_whatever_is_kept_of_it():
    with pytest.raises(DataError, match="'cifar', but must be one of mnist, digits"):
        load("cifar", train_examples=10)
