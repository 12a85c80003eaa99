"""Batch norm of one replica, (N, D), in three phases a direction, which threads may share.

Rows are taken in chunks that stay in the cache, less the first row, the pivot, which keeps a
constant column exactly zero and |mean| >> std exact. Sums of a chunk are of the dtype of x; those
of all chunks are float64, so that their number adds no error, and are added in their order, so that
it does not matter who computed them. Notation and formulas: `agnostic.batch_norm`.
"""

import math

import numpy as np

from gpubn.kernels.cpu.compiled.activation import activate, through
from gpubn.kernels.cpu.compiled.lowlevel import jit, vector
from gpubn.kernels.cpu.layout import CHUNK, LINEAR

LANES, SUMS = 9, 7
"""Numbers of 8 bytes a column that scratch memory has; the first of two for sums of one chunk."""


@jit
def moments(x, pitch, n, pivot, sums, scratch):
    """Write the sum of each chunk's deviations from the pivot, and of squares about its mean.

    Args:
        x: the address of n rows that lie `pitch` bytes apart.
        sums: the address of (2, D) float64 a chunk.
        scratch: see `LANES`.
    """
    d = len(pivot)
    for start in range(0, n, CHUNK):
        at, rows = sums + start // CHUNK * 16 * d, min(CHUNK, n - start)
        of_chunk, about = vector(at, d, 0.0), vector(at + 8 * d, d, 0.0)
        _moments(x + start * pitch, pitch, rows, pivot, of_chunk, about, scratch)


@jit
def statistics(sums, pitch, n, dof, eps, pivot, mean, shift, inv_std, var, scratch):
    """Write the statistics from the sums of all chunks, which are of `pitch` columns."""
    d, kinds = len(mean), mean.dtype.type
    zero, one = kinds(0), kinds(1)
    total, square = vector(scratch, d, 0.0), vector(scratch + 8 * d, d, 0.0)
    for before in range(0, n, CHUNK):
        at, rows = sums + before // CHUNK * 16 * pitch, min(CHUNK, n - before)
        of_chunk, about = vector(at, d, 0.0), vector(at + 8 * pitch, d, 0.0)
        if before == 0:
            for j in range(d):
                total[j], square[j] = of_chunk[j], about[j]
            continue
        share = np.float64(before) * rows / (before + rows)
        for j in range(d):
            apart = of_chunk[j] / rows - total[j] / before
            square[j] += about[j] + apart * apart * share
            total[j] += of_chunk[j]
    for j in range(d):
        from_pivot = total[j] / n
        var[j] = kinds(square[j] / dof)
        mean[j] = kinds(pivot[j] + from_pivot)
        shift[j] = kinds(from_pivot)
        spread = var[j] + eps
        inv_std[j] = zero if spread == zero else one / math.sqrt(spread)


@jit
def output_of(
    x, y, pitch, n, pivot, shift, inv_std, gamma, beta, has_gamma, has_beta, kind, scratch
):
    """Write y from the statistics."""
    d, lane, zero = len(shift), 8 * len(shift), shift.dtype.type(0)
    scale, offset = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    line = vector(scratch + 2 * lane, d, zero)
    for j in range(d):
        scale[j] = inv_std[j]
        offset[j] = zero
    if has_gamma:
        for j in range(d):
            scale[j] *= gamma[j]
    if has_beta:
        for j in range(d):
            offset[j] = beta[j]
    for i in range(n):
        row, out = vector(x + i * pitch, d, zero), vector(y + i * pitch, d, zero)
        scaled = out if kind == LINEAR else line  # two arrays: a loop on one may not vectorise
        for j in range(d):
            scaled[j] = ((row[j] - pivot[j]) - shift[j]) * scale[j] + offset[j]
        if kind != LINEAR:
            activate(scaled, out, kind)


@jit
def _moments(x, pitch, n, pivot, of_chunk, about, scratch):
    """of_chunk = sum(x - pivot) and about = the sum of squares about the mean, of one chunk."""
    d, lane, kinds = len(pivot), 8 * len(pivot), pivot.dtype.type
    zero, rows = kinds(0), kinds(n)
    sums, rests = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    squares = vector(scratch + 2 * lane, d, zero)
    for j in range(d):
        sums[j] = zero
    i = 0
    while i + 4 <= n:
        at = x + i * pitch
        a, b = vector(at, d, zero), vector(at + pitch, d, zero)
        c, e = vector(at + 2 * pitch, d, zero), vector(at + 3 * pitch, d, zero)
        for j in range(d):
            p = pivot[j]
            sums[j] += ((a[j] - p) + (b[j] - p)) + ((c[j] - p) + (e[j] - p))
        i += 4
    while i < n:
        a = vector(x + i * pitch, d, zero)
        for j in range(d):
            sums[j] += a[j] - pivot[j]
        i += 1
    for j in range(d):
        sums[j] /= rows
    _squares(x, pitch, n, pivot, sums, rests, squares)
    for j in range(d):
        # The mean has rounded: what it left is added, and its square taken off.
        rest = np.float64(rests[j])
        of_chunk[j] = np.float64(sums[j]) * rows + rest
        about[j] = squares[j] - rest * rest / rows


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
def gradient_sums(x, dy, y, pitch, n, pivot, shift, sums, kind, scratch):
    """Write the sums of dy and of dy (x - mean) of each chunk; y is what the activation gave.

    Args:
        sums: the address of (2, D) numbers a chunk.
    """
    d, zero, size = len(shift), shift.dtype.type(0), shift.itemsize
    for start in range(0, n, CHUNK):
        at, to = start * pitch, sums + start // CHUNK * 2 * size * d
        _gradient_sums(
            x + at, dy + at, y + at, pitch, min(CHUNK, n - start), pivot, shift,
            vector(to, d, zero), vector(to + size * d, d, zero), kind, scratch,
        )  # fmt: skip


@jit
def gradients(sums, pitch, n, dof, inv_std, dgamma, dbeta, of_mean, of_var, scratch):
    """Write dgamma, dbeta and what dx needs from the sums of all chunks, of `pitch` columns."""
    d, kinds, size = len(inv_std), inv_std.dtype.type, inv_std.itemsize
    total, product = vector(scratch, d, 0.0), vector(scratch + 8 * d, d, 0.0)
    for j in range(d):
        total[j] = product[j] = 0.0
    for start in range(0, n, CHUNK):
        at = sums + start // CHUNK * 2 * size * pitch
        of_chunk, products = vector(at, d, kinds(0)), vector(at + size * pitch, d, kinds(0))
        for j in range(d):
            total[j] += of_chunk[j]
            product[j] += products[j]
    for j in range(d):
        dbeta[j] = kinds(total[j])
        dgamma[j] = kinds(product[j] * inv_std[j])
        of_mean[j] = kinds(total[j] / n)
        of_var[j] = kinds(product[j] * inv_std[j] / dof) * inv_std[j]


@jit
def input_gradient(
    x, dy, y, dx, pitch, n, pivot, shift, inv_std, gamma, of_mean, of_var, has_gamma, kind, scratch
):
    """Write dx from the sums."""
    d, lane, zero = len(shift), 8 * len(shift), shift.dtype.type(0)
    scale, line = vector(scratch, d, zero), vector(scratch + lane, d, zero)
    for j in range(d):
        scale[j] = inv_std[j]
    if has_gamma:
        for j in range(d):
            scale[j] *= gamma[j]
    for i in range(n):
        row, slope = vector(x + i * pitch, d, zero), vector(dy + i * pitch, d, zero)
        if kind != LINEAR:
            through(slope, vector(y + i * pitch, d, zero), line, kind)
            slope = line
        out = vector(dx + i * pitch, d, zero)
        for j in range(d):
            c = (row[j] - pivot[j]) - shift[j]
            out[j] = ((slope[j] - of_mean[j]) - c * of_var[j]) * scale[j]


@jit
def _gradient_sums(x, dy, y, pitch, n, pivot, shift, sums, products, kind, scratch):
    """The sums of dy and of dy (x - mean) of one chunk."""
    d, lane, zero = len(shift), 8 * len(shift), shift.dtype.type(0)
    line = vector(scratch, d, zero)
    for j in range(d):
        sums[j] = zero
        products[j] = zero
    i = 0
    while i + 4 <= n:
        of_x, slopes, between = x + i * pitch, dy + i * pitch, pitch
        if kind != LINEAR:
            for k in range(4):
                at, out = (i + k) * pitch, vector(scratch + k * lane, d, zero)
                through(vector(dy + at, d, zero), vector(y + at, d, zero), out, kind)
            slopes, between = scratch, lane
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
    while i < n:
        row, slope = vector(x + i * pitch, d, zero), vector(dy + i * pitch, d, zero)
        if kind != LINEAR:
            through(slope, vector(y + i * pitch, d, zero), line, kind)
            slope = line
        for j in range(d):
            sums[j] += slope[j]
            products[j] += slope[j] * ((row[j] - pivot[j]) - shift[j])
        i += 1


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
