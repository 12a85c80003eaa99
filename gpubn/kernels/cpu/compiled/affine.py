"""The affine map of one replica, x (N, D) and weight (D, H), by BLAS; rows start as the bias."""

from gpubn.kernels.cpu.compiled.lowlevel import jit, lane_of, multiply, vector

CHUNK = 64
"""Rows that are summed in the dtype of dy."""


@jit
def forward(blas, x, weight, bias, y, has_bias):
    """y = x W + b."""
    (n, d), h = x.shape, weight.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    if has_bias:
        for i in range(n):
            for j in range(h):
                y[i, j] = bias[j]
    a, b, out = x.ctypes.data, weight.ctypes.data, y.ctypes.data
    multiply(blas, False, False, n, h, d, one, a, b, one if has_bias else zero, out, one)


@jit
def backward(blas, x, weight, dy, dx, dweight, dbias, need_dx, scratch):
    """dx = dy W', dW = x' dy, db = sum(dy)."""
    (n, d), h = x.shape, weight.shape[1]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    if need_dx:
        _dx(blas, weight, dy, dx)
    a, b, out = x.ctypes.data, dy.ctypes.data, dweight.ctypes.data
    multiply(blas, True, False, d, h, n, one, a, b, zero, out, one)
    _sum_rows(dy, dbias, scratch)


@jit
def descend(blas, x, weight, dy, dx, bias, rate, need_dx, scratch):
    """dx from the weights as they are; then W -= rate x' dy by the product itself, b likewise."""
    (n, d), h = x.shape, weight.shape[1]
    one = x.dtype.type(1)
    if need_dx:
        _dx(blas, weight, dy, dx)
    a, b, out = x.ctypes.data, dy.ctypes.data, weight.ctypes.data
    multiply(blas, True, False, d, h, n, -rate, a, b, one, out, one)
    dbias = vector(scratch + lane_of(h), h, one)
    _sum_rows(dy, dbias, scratch)
    for j in range(h):
        bias[j] -= rate * dbias[j]


@jit
def _dx(blas, weight, dy, dx):
    (n, h), d = dy.shape, dx.shape[1]
    one, zero = dy.dtype.type(1), dy.dtype.type(0)
    a, b, out = dy.ctypes.data, weight.ctypes.data, dx.ctypes.data
    multiply(blas, False, True, n, d, h, one, a, b, zero, out, one)


@jit
def _sum_rows(a, total, scratch):
    """total = the sum over the rows of a; sums of chunks are added in float64."""
    n, d = a.shape
    kinds = a.dtype.type
    zero = kinds(0)
    all_chunks = vector(scratch, d, 0.0)
    for j in range(d):
        all_chunks[j] = 0.0
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        for j in range(d):
            total[j] = zero
        i = start
        while i + 4 <= stop:
            p, q, r, s = a[i], a[i + 1], a[i + 2], a[i + 3]
            for j in range(d):
                total[j] += (p[j] + q[j]) + (r[j] + s[j])
            i += 4
        while i < stop:
            p = a[i]
            for j in range(d):
                total[j] += p[j]
            i += 1
        for j in range(d):
            all_chunks[j] += total[j]
    for j in range(d):
        total[j] = kinds(all_chunks[j])
