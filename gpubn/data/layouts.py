"""The layouts in which people have a dataset: IDX files, an npz, a folder of parquet files.

Each layout gives payloads as the IDX files have them, so that one checksum decides for all.
"""

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpubn.errors import DataError

Arrays = dict[str, npt.NDArray[np.uint8]]
_NPZ = {
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}
"""Name of the IDX file -> that of the array in Keras' npz."""
_SPLITS = {"train": "train", "t10k": "test"}
"""Beginning of the IDX file's name -> that of the parquet files of its split."""


def idx_folders(folder: Path, title: str) -> Iterator[Path]:
    """Yield where IDX files may lie: the folder itself, and torchvision's below a root."""
    yield folder
    yield folder / "raw"
    yield folder / title.replace("-", "") / "raw"


def npz_of(path: Path) -> Path | None:
    """Return the npz that `path` is, or that lies in it; None where there is none or more."""
    found = [path] if path.is_file() else sorted(path.glob("*.npz"))
    return found[0] if len(found) == 1 and found[0].suffix == ".npz" else None


def read_npz(path: Path) -> Arrays:
    """Return the arrays of an npz as Keras has it, by the names of the IDX files."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: _bytes(archive[key], path) for name, key in _NPZ.items()}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); expected the arrays {', '.join(_NPZ.values())}"
        ) from error


def parquet_of(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet files below a folder by split, train and test; none, or of both."""
    files = sorted(folder.rglob("*.parquet"))
    found = {split: [f for f in files if f.name.startswith(split)] for split in _SPLITS.values()}
    return found if all(found.values()) else {}


def read_parquet(files: Mapping[str, Sequence[Path]]) -> Arrays:
    """Return the arrays of parquet files as Hugging Face has them: PNG images, labels.

    Raises:
        DataError: pandas cannot read parquet here, or the columns are others.
    """
    import pandas as pd
    from PIL import Image

    arrays: dict[str, Any] = {}
    for beginning, split in _SPLITS.items():
        try:
            table = pd.concat([pd.read_parquet(path) for path in files[split]])
            pictures = [Image.open(io.BytesIO(image["bytes"])) for image in table["image"]]
            images, labels = np.stack([np.asarray(p) for p in pictures]), table["label"].to_numpy()
        except (ImportError, OSError, KeyError, TypeError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise DataError(
                f"{files[split][0]} cannot be read ({first_line}); expected columns image and "
                "label, and pyarrow for pandas, or the four IDX files"
            ) from error
        arrays[f"{beginning}-images-idx3-ubyte"] = _bytes(images, files[split][0])
        arrays[f"{beginning}-labels-idx1-ubyte"] = _bytes(labels, files[split][0])
    return arrays


def payload(array: npt.NDArray[np.uint8]) -> bytes:
    """Return an array as the payload of an IDX file."""
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return header + array.tobytes()


def _bytes(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    """The array as unsigned bytes; labels may come wider."""
    if array.dtype.kind not in "iu" or array.min(initial=0) < 0 or array.max(initial=0) > 255:
        raise DataError(f"{path} has numbers of {array.dtype}; expected whole ones from 0 to 255")
    return array.astype(np.uint8)
