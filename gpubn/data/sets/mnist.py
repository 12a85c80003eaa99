"""MNIST from a folder that the user names, else from the cache folder, else from the network."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.data.dataset import Dataset
from gpubn.data.download import download
from gpubn.data.idx import read_idx
from gpubn.errors import DataError, DataUnavailableError, StoreError

ENVIRONMENT_VARIABLE = "GPUBN_DATA"
MAX_PIXEL = 255

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Payload:
    """The decompressed content of a file; its gzip bytes differ from source to source."""

    sha256: str
    size: int


FILES = {
    "train-images-idx3-ubyte": Payload(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47040016
    ),
    "train-labels-idx1-ubyte": Payload(
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60008
    ),
    "t10k-images-idx3-ubyte": Payload(
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7840016
    ),
    "t10k-labels-idx1-ubyte": Payload(
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10008
    ),
}


def load(root: Path | str | None = None) -> Dataset:
    """Read and verify MNIST; see `locate` for where.

    A folder that the user named is taken at its word: a missing or corrupt file there is an
    error, and neither the cache nor the network stands in for it.
    """
    folder = locate(root)
    return assemble(_read_cache(cache_folder()) if folder is None else _read_folder(folder))


def assemble(arrays: dict[str, npt.NDArray[np.uint8]]) -> Dataset:
    """Make the dataset of the arrays in the four files."""
    return Dataset(
        name="mnist",
        x_train=_scaled(arrays["train-images-idx3-ubyte"]),
        y_train=arrays["train-labels-idx1-ubyte"].astype(np.int64),
        x_test=_scaled(arrays["t10k-images-idx3-ubyte"]),
        y_test=arrays["t10k-labels-idx1-ubyte"].astype(np.int64),
        classes=10,
        checksums={name: payload.sha256 for name, payload in FILES.items()},
    )


def locate(root: Path | str | None = None) -> Path | None:
    """Return the folder named by `root`, else by GPUBN_DATA; None stands for the cache folder."""
    named = root if root is not None else os.environ.get(ENVIRONMENT_VARIABLE) or None
    return None if named is None else Path(named).expanduser().absolute()


def cache_folder() -> Path:
    """Return the folder of this user where a downloaded MNIST is kept."""
    import platformdirs  # here: whoever names a folder can do without

    return Path(platformdirs.user_cache_dir("gpubn")) / "mnist"


def _read_folder(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    named_by = f"named by data.root or {ENVIRONMENT_VARIABLE}"
    paths = {name: _find(folder, name) for name in FILES}
    if not folder.is_dir():
        raise DataError(f"{folder}, {named_by}, is not a folder, but must be one that holds MNIST")
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise DataError(
            f"{folder}, {named_by}, lacks {', '.join(missing)}, "
            f"but must hold all of {', '.join(FILES)}, each plain or with .gz"
        )
    return {name: read_idx(path, FILES[name].sha256) for name, path in paths.items() if path}


def _read_cache(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    return {name: _read_cached(folder, name, payload) for name, payload in FILES.items()}


def _read_cached(folder: Path, name: str, payload: Payload) -> npt.NDArray[np.uint8]:
    path = _find(folder, name)
    if path is not None:
        try:
            return read_idx(path, payload.sha256)
        except DataError as error:
            logger.warning("%s; it is downloaded again", error)
    target = path or folder / f"{name}.gz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download(name, target, payload.sha256, payload.size)
    except (DataUnavailableError, StoreError, OSError) as error:
        raise DataUnavailableError(_how_to_provide(folder, error)) from error
    return read_idx(target, payload.sha256)


def _find(folder: Path, name: str) -> Path | None:
    """Return the file under any of the spellings in use; plain first, as it reads faster."""
    dotted = name.replace("-idx", ".idx")
    candidates = (folder / f"{stem}{suffix}" for suffix in ("", ".gz") for stem in (name, dotted))
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error


def _how_to_provide(folder: Path, error: Exception) -> str:
    return (
        f"MNIST is not on this machine and {error}: "
        f"(1) put the four files {', '.join(FILES)} (each plain or with .gz) in a folder and set "
        f"{ENVIRONMENT_VARIABLE} or data.root=FOLDER, or (2) put them in the cache folder "
        f"{folder}, or (3) go online so that they are downloaded, or use data=digits instead"
    )


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.divide(images.reshape(len(images), -1), MAX_PIXEL, dtype=np.float32)
