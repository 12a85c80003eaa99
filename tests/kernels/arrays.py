"""What the tests of all kernels share: layouts, arrays on a backend, comparisons, refusals."""

import ml_dtypes
import numpy as np
import pytest

from gpubn.errors import ArgumentError

DTYPES = ["float32", "float64"]
STORED = ["float16", "bfloat16", *DTYPES]
LAYOUTS = {
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "strided": lambda a: a.repeat(2, axis=-1).repeat(3, axis=-2)[..., ::3, ::2],
    "reversed": lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "replicas last": lambda a: a.T.copy().T,
}
"""The same numbers, not contiguous, for two axes and more."""


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


def place(backend, *host):
    """The arrays on the backend, which may share no memory with the host's; None stays None."""
    return [None if a is None else backend.asarray(a.copy()) for a in host]


def bits(backend, values):
    """What cannot be the same unless each number is; anything but arrays as it is."""
    return [backend.to_host(v).tobytes() if hasattr(v, "dtype") else v for v in values]


def refuses(message, call, *args, **kwargs):
    """The call raises one sentence that begins so."""
    with pytest.raises(ArgumentError) as error:
        call(*args, **kwargs)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def wide_of(stored):
    """The dtype of parameters and statistics where this one is stored."""
    return "float64" if stored == "float64" else "float32"


def close(actual, expected, *, atol):
    """Host arrays differ by no more than `atol` and one rounding to half precision.

    NaN and inf stand exactly where they are expected.
    """
    assert actual.shape == np.shape(expected)
    half = actual.dtype.itemsize == 2
    rounding = float(ml_dtypes.finfo(actual.dtype).eps) if half else 0.0
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype("longdouble") - expected)
        right = np.where(
            np.isfinite(expected),
            error <= atol + rounding * np.abs(expected),
            (actual == expected) | (np.isnan(actual) & np.isnan(expected)),
        )
    assert right.all(), f"{(~right).sum()} of {right.size} are wrong, by up to {error.max()}"
