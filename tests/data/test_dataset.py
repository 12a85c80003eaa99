"""A Dataset refuses arrays that do not fit together, and names the value it refuses."""

from typing import Any

import numpy as np
import pytest

from gpubn.data import Dataset
from gpubn.errors import ArgumentError, DataError


def build(**changes: Any) -> Dataset:
    arguments: dict[str, Any] = {
        "name": "toy",
        "x_train": np.zeros((3, 2), np.float32),
        "y_train": np.array([0, 1, 2]),
        "x_test": np.ones((1, 2), np.float32),
        "y_test": np.array([2]),
        "classes": 3,
    }
    return Dataset(**(arguments | changes))


def test_accepts_what_fits():
    data = build()
    assert data.features == 2
    assert data.checksums == {}


def test_is_frozen():
    with pytest.raises(AttributeError):
        build().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("label", "index"), [(3, 1), (-1, 2)])
def test_label_out_of_range(label, index):
    labels = np.array([0, 1, 2])
    labels[index] = label
    with pytest.raises(DataError, match=rf"y_train .* label {label} at index {index}, .*0\.\.2"):
        build(y_train=labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.array([0, 1])}, r"3 rows and y_train has 2 labels"),
        ({"y_test": np.array([0, 1])}, r"x_test of toy has 1 rows and y_test has 2 labels"),
        ({"x_test": np.ones((1, 5), np.float32)}, r"2 columns and x_test has 5"),
        ({"x_train": np.zeros(3, np.float32)}, r"x_train of toy has shape \(3,\)"),
        ({"x_train": np.zeros((0, 2), np.float32)}, r"shape \(0, 2\).*not empty"),
        ({"x_train": np.zeros((3, 2))}, r"dtype float64, but must be float32"),
        ({"x_train": np.zeros((2, 3), np.float32).T}, r"must be C-contiguous"),
        ({"y_test": np.array([2], np.int32)}, r"y_test of toy has dtype int32"),
        ({"y_test": np.array([[2]])}, r"y_test of toy has shape \(1, 1\)"),
        ({"classes": 0}, r"classes of toy is 0"),
    ],
)
def test_wrong_shape_or_dtype(changes, message):
    with pytest.raises(ArgumentError, match=message):
        build(**changes)


@pytest.mark.parametrize(("value", "seen"), [(1.5, "0 to 1.5"), (-1, "-1 to 0"), (np.nan, "nan")])
def test_input_out_of_range(value, seen):
    x = np.zeros((3, 2), np.float32)
    x[1, 1] = value
    with pytest.raises(DataError, match=rf"x_train of toy spans {seen}.*\[0, 1\]"):
        build(x_train=x)
