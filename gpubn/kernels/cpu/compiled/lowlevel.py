"""Shared by compiled functions: how they are compiled, memory by address, bits, BLAS.

Nothing vectorises by itself. It takes division as NumPy defines it (`error_model`), permission to
contract a product and a sum (never more: NaN and the order of sums stay), constants of the dtype
(a literal would make float64 of float32), and functions of the C library by LLVM's own names.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from threadpoolctl import threadpool_info

jit: Callable[..., Any] = partial(
    numba.njit, nogil=True, fastmath={"contract"}, error_model="numpy"
)

_INTEGER = {32: types.int32, 64: types.int64}
_LLVM = {32: ir.FloatType(), 64: ir.DoubleType()}
LINE = 64
"""Bytes of a line of the cache."""
N, T = ord("N"), ord("T")
"""BLAS's names of a matrix as it is and of its transpose."""
ALIGNED, ROWS = 16, 64
"""Rows or columns of a piece are a multiple of this; examples of a piece at most."""
SMALL_PRODUCTS = ("SkylakeX", "Cooperlake", "SapphireRapids", "Zen4", "Zen5")
"""Kinds of CPU for which OpenBLAS has products without packing."""


def products(itemsize: int) -> tuple[int, int, int]:
    """Return the address of BLAS's product of matrices, as SciPy ships it, and its limits.

    The limits are those up to which OpenBLAS does not pack matrices first, on a CPU where it can.
    """
    name = "sgemm" if itemsize == 4 else "dgemm"
    address = int(get_cython_function_address("scipy.linalg.cython_blas", name))
    kinds = {library.get("architecture") for library in threadpool_info()}
    if kinds.isdisjoint(SMALL_PRODUCTS):
        return address, 1 << 62, 1 << 62
    return address, 600_000, 1_200


@intrinsic
def _pointer(typing, address, like):
    return types.CPointer(like)(
        types.int64, like
    ), lambda context, builder, signature, args: builder.inttoptr(
        args[0], context.get_value_type(signature.return_type)
    )


@jit(forceinline=True)
def matrix(address, n, d, like):
    """The (n, d) array at an address, of the dtype of `like`."""
    return numba.carray(_pointer(address, like), (n, d))


@jit(forceinline=True)
def vector(address, n, like):
    """The array of n numbers at an address, of the dtype of `like`."""
    return numba.carray(_pointer(address, like), (n,))


@jit
def lane_of(d):
    """Return the bytes of d numbers of 8 bytes in scratch memory, in whole lines."""
    return -(-8 * d // LINE) * LINE


@intrinsic
def bits(typing, x):
    """The bits of a float, as an integer of its size."""
    width = x.bitwidth
    return _INTEGER[width](x), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(width)
    )


@intrinsic
def from_bits(typing, i):
    """The float of these bits."""
    width = i.bitwidth
    kind = types.float32 if width == 32 else types.float64
    return kind(i), lambda context, builder, signature, args: builder.bitcast(args[0], _LLVM[width])


@intrinsic
def high_half(typing, a, b):
    """The upper 64 bits of the product of two whole numbers without sign."""

    def generate(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(arg, wide) for arg in args))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def copysign(typing, size, sign):
    """The first number with the sign of the second."""
    kind = _LLVM[size.bitwidth]

    def generate(context, builder, signature, args):
        function = builder.module.declare_intrinsic(
            "llvm.copysign", [kind], ir.FunctionType(kind, [kind] * 2)
        )
        return builder.call(function, args)

    return size(size, size), generate


@intrinsic
def _call_blas(typing, at, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    byte = ir.IntType(8).as_pointer()
    signature = types.void(
        types.int64, types.uint8, types.uint8, *[types.int32] * 3, alpha, types.int64, types.int32,
        types.int64, types.int32, alpha, types.int64, types.int32,
    )  # fmt: skip

    def generate(context, builder, signature, args):
        at, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args

        def stored(value):
            return builder.bitcast(cgutils.alloca_once_value(builder, value), byte)

        function = builder.inttoptr(at, ir.FunctionType(ir.VoidType(), [byte] * 13).as_pointer())
        numbers = [stored(value) for value in (ta, tb, m, n, k, alpha)]
        builder.call(
            function,
            [
                *(*numbers, builder.inttoptr(a, byte), stored(lda), builder.inttoptr(b, byte)),
                *(stored(ldb), stored(beta), builder.inttoptr(c, byte), stored(ldc)),
            ],
        )
        return context.get_dummy_value()

    return signature, generate


@jit
def _product(blas, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, out, ldc):
    """out = alpha op(a) op(b) + beta out by rows, as BLAS, which counts by columns, sees it."""
    _call_blas(
        blas[0], T if transpose_b else N, T if transpose_a else N, n, m, k, alpha, b, ldb, a, lda,
        beta, out, ldc,
    )  # fmt: skip


@intrinsic
def _size(typing, x):
    width = x.bitwidth // 8
    return types.int64(x), lambda context, builder, signature, args: ir.Constant(
        ir.IntType(64), width
    )


@jit
def multiply(blas, transpose_a, transpose_b, m, n, k, alpha, a, b, beta, out, one):
    """out = alpha op(a) op(b) + beta out, out (m, n), op(a) (m, k), op(b) (k, n), by addresses.

    A large product is taken in pieces, which OpenBLAS multiplies up to twice as fast: it need not
    pack them first.

    Args:
        blas: the address of the routine; the most multiplications of a piece, and the most results
            where b is transposed.
        one: 1, of the dtype.
    """
    size = _size(one)
    if transpose_b:
        step = _piece(n, m, blas[2]) if k * blas[2] <= blas[1] else n
        for first in range(0, n, step):
            columns, of_b = min(step, n - first), b + size * first * k
            _product(
                blas, False, True, m, columns, k, alpha, a, k, of_b, k, beta, out + size * first, n
            )
        return
    rows = ROWS if m * n * k > blas[1] else max(m, k)
    if transpose_a:
        for start in range(0, k, rows):
            terms, keep = min(rows, k - start), beta if start == 0 else one
            of_b, step = b + size * start * n, _piece(m, n * terms, blas[1])
            for first in range(0, m, step):
                of_a, to = a + size * (start * m + first), out + size * first * n
                _product(
                    blas, True, False, min(step, m - first), n, terms, alpha, of_a, m, of_b, n,
                    keep, to, n,
                )  # fmt: skip
        return
    for start in range(0, m, rows):
        count, to = min(rows, m - start), out + size * start * n
        step = _piece(k, count * n, blas[1])
        for first in range(0, k, step):
            of_a, of_b = a + size * (start * k + first), b + size * first * n
            keep = beta if first == 0 else one
            _product(
                blas, False, False, count, n, min(step, k - first), alpha, of_a, k, of_b, n, keep,
                to, n,
            )  # fmt: skip


@jit
def _piece(count, each, limit):
    """Return how many of `count`, at `each`, make equal pieces within the limit; all if few do."""
    most = limit // each // ALIGNED * ALIGNED
    if most == 0 or most >= count:
        return count
    share = -(-count // -(-count // most))
    return -(-share // ALIGNED) * ALIGNED
