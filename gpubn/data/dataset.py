"""A dataset: two pairs of arrays, checked once when they are put together."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gpubn.errors import ArgumentError, DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs in [0, 1] and labels in 0..classes-1, split into training and test examples.

    `checksums` maps the name of each payload to its SHA-256, so that a result can say which
    bytes it was computed from. Comparison is by identity, because arrays have no single truth.

    Raises:
        ArgumentError: an array has another shape, dtype or order than is noted here.
        DataError: an input or a label is out of range.

    >>> x, y = np.zeros((2, 3), np.float32), np.array([0, 1])
    >>> Dataset("mine", x, y, x, y, classes=2).features
    3
    """

    name: str
    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]
    classes: int
    checksums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that a training loop would only trip over much later."""
        if self.classes < 1:
            raise ArgumentError(f"classes of {self.name} is {self.classes}, but must be at least 1")
        for part, x, y in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
        ):
            _check_inputs(f"x_{part} of {self.name}", x)
            _check_labels(f"y_{part} of {self.name}", y, self.classes)
            if len(x) != len(y):
                raise ArgumentError(
                    f"x_{part} of {self.name} has {len(x)} rows and y_{part} has {len(y)} labels, "
                    "but there must be one label per row"
                )
        if self.x_train.shape[1] != self.x_test.shape[1]:
            raise ArgumentError(
                f"x_train of {self.name} has {self.x_train.shape[1]} columns and x_test has "
                f"{self.x_test.shape[1]}, but both must have the same number"
            )

    @property
    def features(self) -> int:
        """The number of inputs per example."""
        return int(self.x_train.shape[1])


def _check_inputs(what: str, x: npt.NDArray[np.float32]) -> None:
    if x.ndim != 2 or x.size == 0:
        raise ArgumentError(f"{what} has shape {x.shape}, but must be (N, D) and not empty")
    if x.dtype != np.float32:
        raise ArgumentError(f"{what} has dtype {x.dtype}, but must be float32")
    if not x.flags.c_contiguous:
        raise ArgumentError(f"{what} has strides {x.strides}, but must be C-contiguous")
    low, high = float(x.min()), float(x.max())
    # Written so that NaN, which compares false with everything, is refused too.
    if not (low >= 0.0 and high <= 1.0):
        raise DataError(f"{what} spans {low:g} to {high:g}, but must lie in [0, 1]")


def _check_labels(what: str, y: npt.NDArray[np.int64], classes: int) -> None:
    if y.ndim != 1 or y.size == 0:
        raise ArgumentError(f"{what} has shape {y.shape}, but must be (N,) and not empty")
    if y.dtype != np.int64:
        raise ArgumentError(f"{what} has dtype {y.dtype}, but must be int64")
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{what} holds label {int(y[first])} at index {first}, "
            f"but labels must lie in 0..{classes - 1}"
        )
