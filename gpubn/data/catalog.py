"""Datasets by name, each read once per process."""

from functools import lru_cache
from pathlib import Path

from gpubn.data.dataset import Dataset
from gpubn.data.digits import load_digits
from gpubn.data.mnist import load_mnist, locate
from gpubn.errors import DataError

NAMES = ("mnist", "digits")


def load(name: str, root: Path | str | None = None) -> Dataset:
    """Return the dataset `name`; `root` is the folder of MNIST and means nothing to digits.

    The same object comes back every time, so its arrays are read-only.
    """
    if name not in NAMES:
        raise DataError(f"the dataset is {name!r}, but must be one of {', '.join(NAMES)}")
    # The folder is resolved first, so that a changed GPUBN_DATA is another key of the cache.
    return _load(name, locate(root) if name == "mnist" else None)


@lru_cache(maxsize=4)
def _load(name: str, folder: Path | None) -> Dataset:
    data = load_digits() if name == "digits" else load_mnist(folder)
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.setflags(write=False)
    return data
