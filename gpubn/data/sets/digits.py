"""The 8x8 digits that come with scikit-learn: real data for a machine without MNIST."""

import hashlib
from pathlib import Path

import numpy as np

from gpubn.data.dataset import Dataset

TEST_EXAMPLES = 360
SPLIT_SEED = 0
MAX_PIXEL = 16


def locate(root: Path | str | None = None) -> None:
    """There is no folder: the digits are in scikit-learn."""


def load(root: Path | str | None = None) -> Dataset:
    """Read the digits."""
    # Imported here because scikit-learn takes about a second and MNIST does not need it.
    from sklearn.datasets import load_digits

    return assemble(*load_digits(return_X_y=True))


def assemble(pixels: np.ndarray, labels: np.ndarray) -> Dataset:
    """Return 1437 training and 360 test examples, split by a fixed permutation."""
    order = np.random.Generator(np.random.Philox(SPLIT_SEED)).permutation(len(labels))
    train, test = order[:-TEST_EXAMPLES], order[-TEST_EXAMPLES:]
    x = pixels.astype(np.float32) / np.float32(MAX_PIXEL)
    y = labels.astype(np.int64)
    return Dataset(
        name="digits",
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
        classes=10,
        checksums={
            "digits-images": _sha256_of_bytes(pixels),
            "digits-labels": _sha256_of_bytes(labels),
        },
    )


def _sha256_of_bytes(values: np.ndarray) -> str:
    """Hash small whole numbers as single bytes, which is the same on every platform."""
    return hashlib.sha256(values.astype(np.uint8).tobytes()).hexdigest()
