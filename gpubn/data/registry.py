"""Datasets by name, each read once a process: a module of `gpubn.data.sets` or an extension's."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from gpubn import extensions
from gpubn.data import sets
from gpubn.data.dataset import Dataset
from gpubn.errors import DataError

_PUBLISHED = "mnist"


def dataset_names() -> tuple[str, ...]:
    """Return the names of all datasets, the published one first, those of extensions last.

    Raises:
        ExtensionError: one of an extension has the name of another.

    >>> dataset_names()
    ('mnist', 'digits', 'fashion')
    """
    found = sorted(module.name for module in iter_modules(sets.__path__))
    ours = tuple(sorted(found, key=lambda name: name != _PUBLISHED))
    return *ours, *_of_extensions(ours)


def _of_extensions(ours: Sequence[str] = ()) -> dict[str, tuple[extensions.Extension, Path]]:
    """Return the extension and the file of each dataset that is not ours."""
    found: dict[str, tuple[extensions.Extension, Path]] = {}
    for extension in extensions.extensions():
        for path in extension.files("sets/*.py"):
            if path.stem in found or path.stem in ours:
                raise extensions.exists("dataset", path.stem, extension.folder)
            found[path.stem] = extension, path
    return found


def load(name: str, root: Path | str | None = None) -> Dataset:
    """Return the dataset `name`; `root` is the folder of its files and means nothing to digits.

    The same object comes back every time, so its arrays are read-only.

    Raises:
        DataError: there is none, or its files are missing or damaged.

    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.y_train.dtype.name, digits.classes
    ((1437, 64), 'int64', 10)
    """
    # The folder is resolved first, so that a changed GPUBN_DATA is another key of the cache.
    return _load(name, _module(name).locate(root))


def dataset_definition(name: str) -> str:
    """Return where the arrays of a dataset are made from verified bytes, "module:name".

    Raises:
        DataError: there is none.

    >>> dataset_definition("digits")
    'gpubn.data.sets.digits:assemble'
    """
    return f"{_module(name).__name__}:assemble"


def _module(name: str) -> ModuleType:
    if name not in dataset_names():
        raise DataError(f"the dataset is {name!r}, but must be one of {', '.join(dataset_names())}")
    if name in (others := _of_extensions()):
        module = extensions.import_file(*others[name])
        if lacking := [f for f in ("locate", "load", "assemble") if not hasattr(module, f)]:
            raise DataError(f"{module.__file__} has no {lacking[0]}; expected what a dataset has")
        return module
    return import_module(f"{sets.__name__}.{name}")


def _held(folder: Path, otherwise: str) -> str | None:
    """Return the title of another dataset of ours whose files a folder holds."""
    for name in dataset_names():
        source = getattr(_module(name), "SOURCE", None)
        if name != otherwise and source is not None:
            with suppress(DataError):
                source.read(folder)
                return str(source.title)
    return None


@lru_cache(maxsize=4)
def _load(name: str, folder: Path | None) -> Dataset:
    module = _module(name)
    try:
        data: Dataset = module.load(folder)
    except DataError as error:
        if folder is not None and (other := _held(folder, name)) is not None:
            raise DataError(
                f"{folder} holds {other}; expected {module.SOURCE.title} for data={name}"
            ) from error
        raise
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.setflags(write=False)
    return data
