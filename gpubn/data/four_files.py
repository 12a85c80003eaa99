"""A dataset of four arrays: in a folder that the user names, else cached, else downloaded."""

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.data import layouts
from gpubn.data.download import download
from gpubn.data.idx import read_idx
from gpubn.data.layouts import Arrays
from gpubn.errors import DataError, DataUnavailableError, StoreError
from gpubn.files import sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Payload:
    """The decompressed content of a file; its gzip bytes differ from source to source."""

    sha256: str
    size: int


@dataclass(frozen=True)
class FourFiles:
    """The four files of a dataset, and where they are looked for.

    Attributes:
        title: what a person calls the dataset.
        variable: of the environment, which names the folder.
        cached: the folder in the user's cache.
        files: name -> payload; nothing else counts, wherever it lies and whatever it is called.
        mirrors: each is the beginning of the address of `<name>.gz`.
    """

    title: str
    variable: str
    cached: str
    files: Mapping[str, Payload]
    mirrors: tuple[str, ...]

    def locate(self, root: Path | str | None = None) -> Path | None:
        """Return the folder named by `root`, else by the variable; None stands for the cache."""
        named = root if root is not None else os.environ.get(self.variable) or None
        if named is None:
            return None
        try:
            return Path(named).expanduser().absolute()
        except RuntimeError as error:  # this user has no home folder
            raise DataError(f"{named} has no place ({error}); expected a path without ~") from None

    def read(self, folder: Path | None) -> Arrays:
        """Read and verify the files in a folder, or in the cache, where what lacks is downloaded.

        A folder that the user named is taken at its word: a missing or corrupt file there is an
        error, and neither the cache nor the network stands in for it.

        Raises:
            DataError: a file in the folder is missing or not what its name says.
            DataUnavailableError: one is not in the cache and cannot be downloaded.
        """
        return self._read_cache() if folder is None else self._read_folder(folder)

    def cache_folder(self) -> Path:
        """Return the folder of this user where downloaded files are kept."""
        import platformdirs  # here: whoever names a folder can do without

        try:
            folder = Path(platformdirs.user_cache_dir("gpubn"))
        except (KeyError, OSError, RuntimeError):
            folder = Path("~")
        if not folder.is_absolute():  # this user has no home folder, as in some containers
            folder = Path(tempfile.gettempdir()) / f"gpubn-{os.getuid()}"
        return folder / self.cached

    def _read_folder(self, folder: Path) -> Arrays:
        for place in layouts.idx_folders(folder, self.title):
            paths = {name: _find(place, name) for name in self.files}
            if found := {name: path for name, path in paths.items() if path is not None}:
                break
        if len(found) == len(self.files):
            return {name: read_idx(path, self.files[name].sha256) for name, path in found.items()}
        if not found and (npz := layouts.npz_of(folder)) is not None:
            return self._verified(layouts.read_npz(npz), npz)
        if not found and (parquet := layouts.parquet_of(folder)):
            return self._verified(layouts.read_parquet(parquet), folder)
        named_by = f"named by data.root or {self.variable}"
        if not folder.is_dir():
            raise DataError(
                f"{folder}, {named_by}, is not a folder, but must be one that holds {self.title}"
            )
        missing = [name for name in self.files if name not in found]
        raise DataError(
            f"{place if found else folder}, {named_by}, lacks {', '.join(missing)}, but must hold "
            f"all of {', '.join(self.files)}, each plain or with .gz, or an npz as Keras has it, "
            "or parquet files as Hugging Face has them"
        )

    def _verified(self, arrays: Arrays, where: Path) -> Arrays:
        for name, payload in self.files.items():
            seen = sha256(layouts.payload(arrays[name]))
            if seen != payload.sha256:
                raise DataError(
                    f"{where} holds other {name} than {self.title}: SHA-256 {seen}, "
                    f"but {payload.sha256} is expected"
                )
        return arrays

    def _read_cache(self) -> Arrays:
        folder = self.cache_folder()
        return {name: self._cached(folder, name, payload) for name, payload in self.files.items()}

    def _cached(self, folder: Path, name: str, payload: Payload) -> npt.NDArray[np.uint8]:
        path = _find(folder, name)
        if path is not None:
            try:
                return read_idx(path, payload.sha256)
            except DataError as error:
                log.warning("%s; it is downloaded again", error)
        target = path or folder / f"{name}.gz"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download(self.mirrors, name, target, payload.sha256, payload.size)
        except (DataUnavailableError, StoreError, OSError) as error:
            raise DataUnavailableError(self._how_to_provide(folder, error)) from error
        return read_idx(target, payload.sha256)

    def _how_to_provide(self, folder: Path, error: Exception) -> str:
        return (
            f"{self.title} is not on this machine and {error}: "
            f"(1) put the four files {', '.join(self.files)} (each plain or with .gz) in a folder "
            f"and set {self.variable} or data.root=FOLDER, or (2) put them in the cache folder "
            f"{folder}, or (3) go online so that they are downloaded, or use data=digits instead"
        )


def _find(folder: Path, name: str) -> Path | None:
    """Return the file under any of the spellings in use; plain first, as it reads faster."""
    dotted = name.replace("-idx", ".idx")
    candidates = (folder / f"{stem}{suffix}" for suffix in ("", ".gz") for stem in (name, dotted))
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error
