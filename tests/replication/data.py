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


class MissingError(Exception):
    """A file that is needed is not there."""


def find_files() -> dict[str, Path]:
    """Return the paths of the four files in the folder that GPUBN_DATA names."""
    folder = os.environ.get("GPUBN_DATA")
    if not folder:
        raise MissingError("Set GPUBN_DATA to the folder that holds the four MNIST IDX files.")
    paths = {}
    for key, name in FILES.items():
        found = sorted(Path(folder).glob(f"{name}*"))  # plain, or with .gz behind
        if not found:
            raise MissingError(f"GPUBN_DATA={folder} holds no {name}, nor {name}.gz.")
        paths[key] = found[0]
    return paths


def load() -> dict[str, torch.Tensor]:
    """Return images as (n, 784) float32 in [0, 1] and labels as (n,) int64."""
    found = {}
    for key, path in find_files().items():
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        values = torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).copy())
        images = key.endswith("_x")
        found[key] = values.view(-1, 784).to(torch.float32) / 255.0 if images else values.long()
    return found


def stream(seed: int, *names: object) -> torch.Generator:
    """Return a generator of its own for this seed and purpose."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def subset(data, split: str, count: int, generator: torch.Generator):
    """Return count images and labels drawn without replacement."""
    rows = torch.randperm(len(data[f"{split}_x"]), generator=generator)[:count]
    return data[f"{split}_x"][rows], data[f"{split}_y"][rows]


def batches(images, labels, size: int, generator: torch.Generator):
    """Yield batches for ever: a fresh shuffle for each pass, an incomplete last batch left out."""
    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) - size + 1, size):
            rows = order[start : start + size]
            yield images[rows], labels[rows]


def feed(seed: int, data, name: str):
    """Return batches of 32 of the 60,000 images in an order that depends on the seed alone."""
    return batches(data["train_x"], data["train_y"], 32, stream(seed, name, "order"))
