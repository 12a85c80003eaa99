"""Batch norm of one replica, (N, D), or of some of its columns.

Rows are taken in chunks that stay in the cache, less the first row, which keeps a constant column
exactly zero and |mean| >> std exact. Sums of a chunk are of the dtype of x; those of all chunks are
float64, so that their number adds no error. Notation and formulas: `agnostic.batch_norm`.
"""

import math

import numpy as np

from gpubn.kernels.cpu.compiled.activation import activate, through
from gpubn.kernels.cpu.compiled.lowlevel import jit, vector
from gpubn.kernels.cpu.layout import LINEAR

CHUNK = 64
"""Rows that are summed in the dtype of x."""
LANES = 9
"""Numbers of 8 bytes a column that scratch memory has."""


@jit
def forward(
    x, y, pitch, n, gamma, beta, mean, shift, inv_std, var, has_gamma, has_beta, eps, dof, kind,
    scratch,
):  # fmt: skip
    """Normalise, scale, shift and activate; write the statistics.

    Args:
        x, y: addresses of matrices of n rows that lie `pitch` bytes apart.
        gamma, beta, mean, shift, inv_std, var: (D,) each.
        scratch: see `LANES`.
    """
    d, lane, kinds = len(mean), 8 * len(mean), mean.dtype.type
    zero, one = kinds(0), kinds(1)
    scale, offset = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    total, square = vector(scratch + 2 * lane, d, 0.0), vector(scratch + 3 * lane, d, 0.0)
    _moments(x, pitch, n, total, square, scale, offset, vector(scratch + 4 * lane, d, zero))
    pivot = vector(x, d, zero)
    for j in range(d):
        from_pivot = total[j] / n
        var[j] = kinds(square[j] / dof)
        mean[j] = kinds(pivot[j] + from_pivot)
        shift[j] = kinds(from_pivot)
        spread = var[j] + eps
        inv_std[j] = zero if spread == zero else one / math.sqrt(spread)
        scale[j] = inv_std[j]
        offset[j] = zero
    if has_gamma:
        for j in range(d):
            scale[j] *= gamma[j]
    if has_beta:
        for j in range(d):
            offset[j] = beta[j]
    line = vector(scratch + 4 * lane, d, zero)
    for i in range(n - 1, -1, -1):  # the last rows are still in the cache
        row, out = vector(x + i * pitch, d, zero), vector(y + i * pitch, d, zero)
        scaled = out if kind == LINEAR else line  # two arrays: a loop on one may not vectorise
        for j in range(d):
            scaled[j] = ((row[j] - pivot[j]) - shift[j]) * scale[j] + offset[j]
        if kind != LINEAR:
            activate(scaled, out, kind)


@jit
def _moments(x, pitch, n, total, square, sums, rests, squares):
    """total = sum(x - x[0]) and square = the sum of squares about the mean, chunk by chunk."""
    d, kinds = len(sums), sums.dtype.type
    zero = kinds(0)
    pivot = vector(x, d, zero)
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        rows = kinds(stop - start)
        for j in range(d):
            sums[j] = zero
        i = start
        while i + 4 <= stop:
            at = x + i * pitch
            a, b = vector(at, d, zero), vector(at + pitch, d, zero)
            c, e = vector(at + 2 * pitch, d, zero), vector(at + 3 * pitch, d, zero)
            for j in range(d):
                p = pivot[j]
                sums[j] += ((a[j] - p) + (b[j] - p)) + ((c[j] - p) + (e[j] - p))
            i += 4
        while i < stop:
            a = vector(x + i * pitch, d, zero)
            for j in range(d):
                sums[j] += a[j] - pivot[j]
            i += 1
        for j in range(d):
            sums[j] /= rows
        _squares(x + start * pitch, pitch, stop - start, pivot, sums, rests, squares)
        for j in range(d):
            # The mean has rounded: what it left is added, and its square taken off.
            rest = np.float64(rests[j])
            of_chunk = np.float64(sums[j]) * rows + rest
            about = squares[j] - rest * rest / rows
            if start == 0:
                total[j], square[j] = of_chunk, about
            else:
                apart = of_chunk / rows - total[j] / start
                square[j] += about + apart * apart * (np.float64(start) * rows / stop)
                total[j] += of_chunk


@jit
def _squares(x, pitch, n, pivot, mean, rests, squares):
    """The sums of the deviations from a rounded mean, counted from the pivot, and their squares."""
    d, zero = len(mean), mean.dtype.type(0)
    for j in range(d):
        squares[j] = zero
        rests[j] = zero
    i = 0
    while i + 4 <= n:
        at = x + i * pitch
        a, b = vector(at, d, zero), vector(at + pitch, d, zero)
        c, e = vector(at + 2 * pitch, d, zero), vector(at + 3 * pitch, d, zero)
        for j in range(d):
            p, m = pivot[j], mean[j]
            s, t, u, v = (a[j] - p) - m, (b[j] - p) - m, (c[j] - p) - m, (e[j] - p) - m
            rests[j] += (s + t) + (u + v)
            squares[j] += (s * s + t * t) + (u * u + v * v)
        i += 4
    while i < n:
        a = vector(x + i * pitch, d, zero)
        for j in range(d):
            s = (a[j] - pivot[j]) - mean[j]
            rests[j] += s
            squares[j] += s * s
        i += 1


@jit
def follow(average_mean, average_spread, mean, var, momentum, n, dof, of_std):
    """Move the running averages towards the statistics of the batch."""
    kinds = mean.dtype.type
    unbiased, kept = kinds(np.float64(dof) / np.float64(n - 1)), kinds(1) - momentum
    for j in range(len(mean)):
        average_mean[j] = kept * average_mean[j] + momentum * mean[j]
    if of_std:
        for j in range(len(mean)):
            average_spread[j] = kept * average_spread[j] + momentum * math.sqrt(var[j])
    else:
        for j in range(len(mean)):
            average_spread[j] = kept * average_spread[j] + momentum * (var[j] * unbiased)


@jit
def backward(
    x, dy, y, dx, pitch, n, gamma, shift, inv_std, dgamma, dbeta, has_gamma, dof, kind, scratch
):
    """dx, dgamma and dbeta from the input and the statistics; y is what the activation gave."""
    d, lane, kinds = len(shift), 8 * len(shift), shift.dtype.type
    zero = kinds(0)
    pivot = vector(x, d, zero)
    sums, products = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    total, product = vector(scratch + 2 * lane, d, 0.0), vector(scratch + 3 * lane, d, 0.0)
    scale = vector(scratch + 4 * lane, d, zero)
    for j in range(d):
        total[j] = product[j] = 0.0
        scale[j] = inv_std[j]
    if has_gamma:
        for j in range(d):
            scale[j] *= gamma[j]
    lines = scratch + 5 * lane
    line = vector(lines, d, zero)
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        for j in range(d):
            sums[j] = zero
            products[j] = zero
        i = start
        while i + 4 <= stop:
            of_x, slopes, between = x + i * pitch, dy + i * pitch, pitch
            if kind != LINEAR:
                for k in range(4):
                    at, out = (i + k) * pitch, vector(lines + k * lane, d, zero)
                    through(vector(dy + at, d, zero), vector(y + at, d, zero), out, kind)
                slopes, between = lines, lane
            a, b = vector(of_x, d, zero), vector(of_x + pitch, d, zero)
            c, e = vector(of_x + 2 * pitch, d, zero), vector(of_x + 3 * pitch, d, zero)
            s, t = vector(slopes, d, zero), vector(slopes + between, d, zero)
            u, v = vector(slopes + 2 * between, d, zero), vector(slopes + 3 * between, d, zero)
            for j in range(d):
                p, m = pivot[j], shift[j]
                sums[j] += (s[j] + t[j]) + (u[j] + v[j])
                products[j] += (s[j] * ((a[j] - p) - m) + t[j] * ((b[j] - p) - m)) + (
                    u[j] * ((c[j] - p) - m) + v[j] * ((e[j] - p) - m)
                )
            i += 4
        while i < stop:
            row, slope = vector(x + i * pitch, d, zero), vector(dy + i * pitch, d, zero)
            if kind != LINEAR:
                through(slope, vector(y + i * pitch, d, zero), line, kind)
                slope = line
            for j in range(d):
                sums[j] += slope[j]
                products[j] += slope[j] * ((row[j] - pivot[j]) - shift[j])
            i += 1
        for j in range(d):
            total[j] += sums[j]
            product[j] += products[j]
    of_mean, of_var = sums, products
    for j in range(d):
        dbeta[j] = kinds(total[j])
        dgamma[j] = kinds(product[j] * inv_std[j])
        of_mean[j] = kinds(total[j] / n)
        of_var[j] = kinds(product[j] * inv_std[j] / dof) * inv_std[j]
    for i in range(n - 1, -1, -1):  # the last rows are still in the cache
        row, slope = vector(x + i * pitch, d, zero), vector(dy + i * pitch, d, zero)
        if kind != LINEAR:
            through(slope, vector(y + i * pitch, d, zero), line, kind)
            slope = line
        out = vector(dx + i * pitch, d, zero)
        for j in range(d):
            c = (row[j] - pivot[j]) - shift[j]
            out[j] = ((slope[j] - of_mean[j]) - c * of_var[j]) * scale[j]


@jit
def inference(x, y, pitch, n, mean, var, gamma, beta, has_gamma, has_beta, eps, kind, scratch):
    """Normalise with given statistics, scale, shift and activate."""
    d, lane, kinds = len(mean), 8 * len(mean), mean.dtype.type
    zero, one = kinds(0), kinds(1)
    scale, offset = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    for j in range(d):
        spread = var[j] + eps
        scale[j] = zero if spread == zero else one / math.sqrt(spread)
        offset[j] = zero
    if has_gamma:
        for j in range(d):
            scale[j] *= gamma[j]
    if has_beta:
        for j in range(d):
            offset[j] = beta[j]
    line = vector(scratch + 2 * lane, d, zero)
    for i in range(n):
        row, out = vector(x + i * pitch, d, zero), vector(y + i * pitch, d, zero)
        scaled = out if kind == LINEAR else line
        for j in range(d):
            scaled[j] = (row[j] - mean[j]) * scale[j] + offset[j]
        if kind != LINEAR:
            activate(scaled, out, kind)
