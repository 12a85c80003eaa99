"""MNIST: 60,000 training and 10,000 test images of digits, 28 x 28."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpubn.data.dataset import Dataset
from gpubn.data.four_files import FourFiles, Payload

MAX_PIXEL = 255

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
SOURCE = FourFiles(
    "MNIST",
    "GPUBN_DATA",
    "mnist",
    FILES,
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)


def locate(root: Path | str | None = None) -> Path | None:
    """Return the folder named by `root`, else by GPUBN_DATA; None stands for the cache folder."""
    return SOURCE.locate(root)


def load(root: Path | str | None = None) -> Dataset:
    """Read and verify MNIST; see `locate` for where."""
    return assemble(SOURCE.read(locate(root)))


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


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.divide(images.reshape(len(images), -1), MAX_PIXEL, dtype=np.float32)
