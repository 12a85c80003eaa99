"""Datasets by name, each read once a process: every module of `gpubn.data.sets` is one."""

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from gpubn.data import sets
from gpubn.data.dataset import Dataset
from gpubn.errors import DataError

_PUBLISHED = "mnist"


def dataset_names() -> tuple[str, ...]:
    """Return the names of all datasets, the published one first.

    >>> dataset_names()
    ('mnist', 'digits')
    """
    found = sorted(module.name for module in iter_modules(sets.__path__))
    return tuple(sorted(found, key=lambda name: name != _PUBLISHED))


def load(name: str, root: Path | str | None = None) -> Dataset:
    """Return the dataset `name`; `root` is the folder of MNIST and means nothing to digits.

    The same object comes back every time, so its arrays are read-only.

    Raises:
        DataError: there is none, or its files are missing or damaged.
    """
    # The folder is resolved first, so that a changed GPUBN_DATA is another key of the cache.
    return _load(name, _module(name).locate(root))


def dataset_definition(name: str) -> str:
    """Return where the arrays of a dataset are made from verified bytes, "module:name"."""
    return f"{sets.__name__}.{name}:assemble"


def _module(name: str) -> ModuleType:
    if name not in dataset_names():
        raise DataError(f"the dataset is {name!r}, but must be one of {', '.join(dataset_names())}")
    return import_module(f"{sets.__name__}.{name}")


@lru_cache(maxsize=4)
def _load(name: str, folder: Path | None) -> Dataset:
    data: Dataset = _module(name).load(folder)
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.setflags(write=False)
    return data
