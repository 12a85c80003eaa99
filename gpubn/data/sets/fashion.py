"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): images of clothes in files named as MNIST's.

The payloads are those of the gzip files whose MD5 sums its authors publish.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.data.dataset import Dataset
from gpubn.data.four_files import FourFiles, Payload
from gpubn.data.sets import mnist

FILES = {
    "train-images-idx3-ubyte": Payload(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47040016
    ),
    "train-labels-idx1-ubyte": Payload(
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60008
    ),
    "t10k-images-idx3-ubyte": Payload(
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7840016
    ),
    "t10k-labels-idx1-ubyte": Payload(
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10008
    ),
}
SOURCE = FourFiles(
    "Fashion-MNIST",
    "GPUBN_FASHION_DATA",
    "fashion",
    FILES,
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)


def locate(root: Path | str | None = None) -> Path | None:
    """Return the folder named by `root`, else by GPUBN_FASHION_DATA; None stands for the cache.

    Without either it is `fashion` in MNIST's folder, where that is there.
    """
    named = SOURCE.locate(root)
    beside = mnist.locate()
    if named is None and beside is not None and (beside / SOURCE.cached).is_dir():
        return beside / SOURCE.cached
    return named


def load(root: Path | str | None = None) -> Dataset:
    """Read and verify Fashion-MNIST; see `locate` for where."""
    return assemble(SOURCE.read(locate(root)))


def assemble(arrays: dict[str, npt.NDArray[np.uint8]]) -> Dataset:
    """Make the dataset of the arrays in the four files, as MNIST is made of its own."""
    checksums = {name: payload.sha256 for name, payload in FILES.items()}
    return replace(mnist.assemble(arrays), name="fashion", checksums=checksums)
