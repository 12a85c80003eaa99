"""MNIST from four IDX files, and this replication's own random streams and mini-batches."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import torch

FILES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}


class MissingDataError(Exception):
    """Raised when the folder or one of its files is not there."""


def read_idx(path: Path) -> torch.Tensor:
    """Return the bytes of one IDX file (gzip or plain) as a uint8 tensor of its own shape."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    dims = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * d : 8 + 4 * d], "big") for d in range(dims)]
    values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dims)
    return torch.from_numpy(values.copy()).reshape(shape)


def find_files() -> dict[str, Path]:
    """Return the paths of the four files in the folder that GPUBN_DATA names."""
    folder = os.environ.get("GPUBN_DATA")
    if not folder:
        raise MissingDataError("Set GPUBN_DATA to the folder that holds the four MNIST IDX files.")
    paths = {}
    for key, name in FILES.items():
        candidates = [Path(folder) / name, Path(folder) / f"{name}.gz"]
        found = [path for path in candidates if path.is_file()]
        if not found:
            raise MissingDataError(f"GPUBN_DATA={folder} holds neither {name} nor {name}.gz.")
        paths[key] = found[0]
    return paths


def load() -> dict[str, torch.Tensor]:
    """Return images as (n, 784) uint8 and labels as (n,) int64."""
    raw = {key: read_idx(path) for key, path in find_files().items()}
    return {k: v.flatten(1) if k.endswith("_x") else v.long() for k, v in raw.items()}


def stream(seed: int, *names: object) -> torch.Generator:
    """Return a generator of its own for this seed and purpose."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return pixels in [0, 1] as float32."""
    return images.to(torch.float32) / 255.0


def subset(images, labels, count: int, generator: torch.Generator):
    """Return count images and labels drawn without replacement."""
    rows = torch.randperm(len(images), generator=generator)[:count]
    return images[rows], labels[rows]


def batches(images, labels, size: int, generator: torch.Generator):
    """Yield batches for ever: a fresh shuffle for each pass, an incomplete last batch left out."""
    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) - size + 1, size):
            rows = order[start : start + size]
            yield to_float(images[rows]), labels[rows]
