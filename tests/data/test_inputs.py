"""Inputs after a transformation, against moments by hand."""

import numpy as np
import pytest

from gpubn.config import DataConfig
from gpubn.data import Dataset, inputs, transformed
from gpubn.errors import ArgumentError


@pytest.fixture
def dataset(rng):
    """Correlated inputs, one of which never varies in training; the test ones are others."""
    mixed = rng.random((500, 6)) @ rng.random((6, 6)) / 6
    mixed[:, 4] = 0.25
    x = mixed.astype(np.float32)
    other = np.flip(x[:100] ** 2, axis=1).copy()
    labels = np.zeros(500, np.int64)
    return Dataset("mixed", x, labels, other, labels[:100], 1)


def test_the_names_are_those_of_the_configuration():
    for kind in inputs.INPUTS:
        assert DataConfig(inputs=kind).inputs == kind
    with pytest.raises(Exception, match=f"expected one of {', '.join(inputs.INPUTS)}"):
        DataConfig(inputs="other")


def test_raw_inputs_are_the_arrays_themselves(dataset):
    assert transformed(dataset, "raw") == (dataset.x_train, dataset.x_test)


@pytest.mark.parametrize("kind", inputs.INPUTS[1:])
def test_moments(dataset, kind, monkeypatch):
    """Of each eigenvalue v of what is divided by, v / (v + added) is left."""
    added = 0.002
    monkeypatch.setattr(inputs, "ADDED_VARIANCE", added)
    found = transformed(dataset, kind)
    x = dataset.x_train.astype(np.float64)
    covariance = np.cov(x.T, bias=True)
    if kind == "centred":
        matrix = np.eye(6)
    elif kind == "standardised":
        matrix = np.diag((np.diag(covariance) + added) ** -0.5)
    else:
        inverse = np.linalg.inv(covariance + added * np.eye(6))
        matrix = (found.train.T @ np.linalg.pinv((x - x.mean(axis=0)).T)).astype(np.float64)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-3)  # the symmetric root
        matrix[4], matrix[:, 4] = 0, 0
        matrix[4, 4] = added**-0.5
        np.testing.assert_allclose(matrix @ matrix, inverse, rtol=1e-3, atol=0.2)
    for split, of_split in (("train", found.train), ("test", found.test)):
        raw = getattr(dataset, f"x_{split}") - x.mean(axis=0)  # the mean of training alone
        np.testing.assert_allclose(of_split, raw @ matrix, rtol=1e-3, atol=2e-4)
        assert of_split.dtype == np.float32
        assert of_split.flags.c_contiguous
    left = np.cov(found.train.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(left, matrix @ covariance @ matrix.T, rtol=1e-3, atol=1e-4)


def test_an_unknown_one_is_refused(dataset):
    with pytest.raises(
        ArgumentError, match="inputs is 'white'; expected one of raw, centred, stan"
    ):
        transformed(dataset, "white")
