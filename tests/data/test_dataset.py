"""A Dataset refuses arrays that do not fit together, and names the value it refuses."""

import numpy as np
import pytest

from gpubn.data import Dataset
from gpubn.errors import ArgumentError, DataError

ZEROS = np.zeros((3, 2), np.float32)
FITS = {
    "name": "toy",
    "x_train": ZEROS,
    "y_train": np.array([0, 1, 2]),
    "x_test": np.ones((1, 2), np.float32),
    "y_test": np.array([2]),
    "classes": 3,
}


def spoilt(value):
    """Inputs in [0, 1], but for one."""
    x = ZEROS.copy()
    x[1, 1] = value
    return x


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("y_train", np.array([0, 3, 2]), DataError, r"y_train .* label 3 at index 1, .*0\.\.2"),
        ("y_train", np.array([0, 1, -1]), DataError, r"label -1 at index 2"),
        ("x_train", spoilt(1.5), DataError, r"x_train of toy spans 0 to 1\.5, .*\[0, 1\]"),
        ("x_train", spoilt(-1), DataError, "spans -1 to 0"),
        ("x_train", spoilt(np.nan), DataError, "spans nan to nan"),
        ("y_train", np.array([0, 1]), ArgumentError, "3 rows and y_train has 2 labels"),
        ("x_test", np.ones((1, 5), np.float32), ArgumentError, "2 columns and x_test has 5"),
        ("x_train", np.zeros(3, np.float32), ArgumentError, r"x_train of toy has shape \(3,\)"),
        ("x_train", ZEROS[:0], ArgumentError, r"shape \(0, 2\).*not empty"),
        ("x_train", ZEROS.astype(float), ArgumentError, "dtype float64, but must be float32"),
        ("x_train", ZEROS[:2].T, ArgumentError, "must be C-contiguous"),
        ("y_test", np.array([2], np.int32), ArgumentError, "y_test of toy has dtype int32"),
        ("classes", 0, ArgumentError, "classes of toy is 0"),
    ],
)
def test_what_does_not_fit_is_refused(name, value, error, message):
    assert Dataset(**FITS).features == 2
    with pytest.raises(error, match=message):
        Dataset(**FITS | {name: value})
