"""Matrix products of cuBLAS through nvmath-python's bindings.

CuPy's own products cannot be captured into a graph, copy a transposed operand first, and cannot
add to what is there. A handle of our own with a workspace of its own can do all three.
"""

from types import ModuleType

import numpy as np

from gpubn.backend.arrays import Array
from gpubn.errors import BackendError

_WORKSPACE = 32 << 20
"""Bytes, what cuBLAS recommends on sm_90; without one of its own a capture could not reuse it."""


class Blas:
    """cuBLAS on one device. Products run in full float32: no TF32 unless the user's environment
    asks for it."""

    def __init__(self, cupy: ModuleType) -> None:
        try:
            from nvmath.bindings import cublas
        except ImportError as error:
            raise BackendError(
                "backend=cupy needs nvmath-python for matrix products, which is not installed; "
                "install the extra that fits the driver: pip install '.[cuda12]' or '.[cuda13]'"
            ) from error
        self._cublas = cublas
        self._handle = cublas.create()
        self._workspace = cupy.cuda.alloc(_WORKSPACE)
        self._stream: int | None = None

    def multiply(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool,
        transpose_b: bool,
        alpha: float,
        beta: float,
        stream: int,
    ) -> None:
        """out = alpha op(a) op(b) + beta out; see `gpubn.backend.device.Device`."""
        if stream != self._stream:
            self._cublas.set_stream(self._handle, stream)  # takes the workspace away
            self._cublas.set_workspace(self._handle, self._workspace.ptr, _WORKSPACE)
            self._stream = stream
        scalars = np.array([alpha, beta], out.dtype)  # read before the call returns
        at = scalars.ctypes.data
        routine = {"float32": "sgemm", "float64": "dgemm"}[out.dtype.name]
        arguments = gemm_arguments(a, b, out, transpose_a, transpose_b, at, at + scalars.itemsize)
        getattr(self._cublas, f"{routine}_strided_batched")(self._handle, *arguments)


def gemm_arguments(
    a: Array,
    b: Array,
    out: Array,
    transpose_a: bool,
    transpose_b: bool,
    alpha: int,
    beta: int,
) -> tuple[int, ...]:
    """Return the arguments of cuBLAS, which counts by columns, for C-contiguous (R, ., .) arrays.

    A matrix by rows is its transpose by columns, so out' = op(b)' op(a)' is asked for. `alpha` and
    `beta` are addresses on the host.
    """
    replicas, m, n = out.shape
    k = a.shape[-2] if transpose_a else a.shape[-1]
    stride_a, stride_b = (
        0 if len(v) == 1 < replicas else v.shape[-2] * v.shape[-1] for v in (a, b)
    )
    return (
        *(int(transpose_b), int(transpose_a), n, m, k, alpha),
        *(b.data.ptr, b.shape[-1], stride_b),
        *(a.data.ptr, a.shape[-1], stride_a),
        *(beta, out.data.ptr, n, m * n, replicas),
    )
