"""Batch norm of one replica, (N, D), in three phases a direction, which threads may share.

Rows are taken in chunks that stay in the cache, less the first row, the pivot, which keeps a
constant column exactly zero and |mean| >> std exact. Sums of a chunk are of the dtype of x; those
of all chunks are float64, so that their number adds no error, and are added in their order, so that
it does not matter who computed them.

Vectors that cross a line of the cache cost up to a third of the time. So what is read in every row
lies in scratch memory, where arrays begin a line. Where x begins within one, as NumPy's do, and y
likewise, what is computed for each number alone goes by windows: rows that begin as many columns
earlier as makes them begin a line. Notation and formulas: `agnostic.batch_norm`.
"""

import math

import numpy as np

from gpubn.kernels.cpu.compiled.activation import activate, through
from gpubn.kernels.cpu.compiled.lowlevel import LINE, jit, lane_of, vector
from gpubn.kernels.cpu.layout import CHUNK, LINEAR

LANES, SUMS = 10, 8
"""Lanes that scratch memory has; the first of two for the sums of the only chunk."""


@jit
def _fill(values, number):
    for j in range(len(values)):
        values[j] = number


@jit
def _columns_ahead(pitch, x, y, size):
    """Return how many columns before its rows a window begins."""
    return x % LINE // size if pitch % LINE == 0 and x % LINE == y % LINE else 0


@jit
def _copied(values, at, ahead):
    """Return a copy at an address, by the columns of windows."""
    d = len(values)
    copy = vector(at, d, values.dtype.type(0))
    for j in range(ahead):
        copy[j] = values[d - ahead + j]
    for j in range(d - ahead):
        copy[ahead + j] = values[j]
    return copy


@jit
def _at_hand(values, at, ahead, n):
    """Return where the values are by the columns of windows: a copy, if that pays for n rows."""
    if ahead == 0 and n < CHUNK:
        return values.ctypes.data
    _copied(values, at, ahead)
    return at


@jit
def moments(x, pitch, n, pivot, sums, scratch):
    """Write the sum of each chunk's deviations from the pivot, and of squares about its mean.

    Args:
        x: the address of n rows that lie `pitch` bytes apart.
        sums: the address of (2, D) float64 a chunk.
        scratch: see `LANES`.
    """
    d = len(pivot)
    pivot = vector(_at_hand(pivot, scratch + 3 * lane_of(d), 0, n), d, pivot.dtype.type(0))
    for start in range(0, n, CHUNK):
        at, rows = sums + start // CHUNK * 16 * d, min(CHUNK, n - start)
        of_chunk, about = vector(at, d, 0.0), vector(at + 8 * d, d, 0.0)
        _moments(x + start * pitch, pitch, rows, pivot, of_chunk, about, scratch)


@jit
def statistics(sums, pitch, n, dof, eps, pivot, mean, shift, inv_std, var, scratch):
    """Write the statistics from the sums of all chunks, which are of `pitch` columns."""
    d, kinds = len(mean), mean.dtype.type
    zero, one = kinds(0), kinds(1)
    total, square = vector(scratch, d, 0.0), vector(scratch + lane_of(d), d, 0.0)
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
    d, lane, zero, size = len(shift), lane_of(len(shift)), shift.dtype.type(0), shift.itemsize
    ahead = _columns_ahead(pitch, x, y, size)
    scale, of_beta = _copied(inv_std, scratch, ahead), scratch + lane
    if has_gamma:
        factor = vector(_at_hand(gamma, of_beta, ahead, n), d, zero)
        for j in range(d):
            scale[j] *= factor[j]
    if has_beta:
        of_beta = _at_hand(beta, of_beta, ahead, n)
    else:
        _fill(vector(of_beta, d, zero), zero)
    of_pivot = _at_hand(pivot, scratch + 3 * lane, ahead, n)
    of_shift = _at_hand(shift, scratch + 4 * lane, ahead, n)
    at, by, width = 0, ahead * size, d - ahead
    for i in range(n + 1):
        row, out = vector(x + at, width, zero), vector(y + at, width, zero)
        a, b = vector(scratch + by, width, zero), vector(of_beta + by, width, zero)
        p, m = vector(of_pivot + by, width, zero), vector(of_shift + by, width, zero)
        # Two arrays: a loop on one may not vectorise.
        scaled = out if kind == LINEAR else vector(scratch + 2 * lane + by, width, zero)
        for j in range(width):
            scaled[j] = ((row[j] - p[j]) - m[j]) * a[j] + b[j]
        if kind != LINEAR:
            activate(scaled, out, kind)
        at, by, width = at + width * size, 0, d if i < n - 1 else ahead


@jit
def _moments(x, pitch, n, pivot, of_chunk, about, scratch):
    """of_chunk = sum(x - pivot) and about = the sum of squares about the mean, of one chunk."""
    d, lane, kinds = len(pivot), lane_of(len(pivot)), pivot.dtype.type
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
    d, lane, zero, size = len(shift), lane_of(len(shift)), shift.dtype.type(0), shift.itemsize
    pivot = vector(_at_hand(pivot, scratch + 4 * lane, 0, n), d, zero)
    shift = vector(_at_hand(shift, scratch + 5 * lane, 0, n), d, zero)
    several = n > CHUNK
    of_chunk = vector(scratch + 6 * lane if several else sums, d, zero)
    products = vector(scratch + 7 * lane if several else sums + size * d, d, zero)
    for start in range(0, n, CHUNK):
        at, to = start * pitch, sums + start // CHUNK * 2 * size * d
        _gradient_sums(
            x + at, dy + at, y + at, pitch, min(CHUNK, n - start), pivot, shift, of_chunk,
            products, kind, scratch,
        )  # fmt: skip
        if several:
            _copied(of_chunk, to, 0)
            _copied(products, to + size * d, 0)


@jit
def gradients(sums, pitch, n, dof, inv_std, dgamma, dbeta, of_mean, of_var, scratch):
    """Write dgamma, dbeta and what dx needs from the sums of all chunks, of `pitch` columns."""
    d, kinds, size = len(inv_std), inv_std.dtype.type, inv_std.itemsize
    total, product = vector(scratch, d, 0.0), vector(scratch + lane_of(d), d, 0.0)
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
    d, lane, zero, size = len(shift), lane_of(len(shift)), shift.dtype.type(0), shift.itemsize
    ahead = _columns_ahead(pitch, x, dx, size) if x % LINE == dy % LINE else 0
    scale = _copied(inv_std, scratch, ahead)
    if has_gamma:
        factor = vector(_at_hand(gamma, scratch + lane, ahead, n), d, zero)
        for j in range(d):
            scale[j] *= factor[j]
    of_pivot = _at_hand(pivot, scratch + 2 * lane, ahead, n)
    of_shift = _at_hand(shift, scratch + 3 * lane, ahead, n)
    mean_at = _at_hand(of_mean, scratch + 4 * lane, ahead, n)
    var_at = _at_hand(of_var, scratch + 5 * lane, ahead, n)
    at, by, width = 0, ahead * size, d - ahead
    for i in range(n + 1):
        row, slope = vector(x + at, width, zero), vector(dy + at, width, zero)
        if kind != LINEAR:
            line = vector(scratch + lane + by, width, zero)
            through(slope, vector(y + at, width, zero), line, kind)
            slope = line
        out, a = vector(dx + at, width, zero), vector(scratch + by, width, zero)
        p, m = vector(of_pivot + by, width, zero), vector(of_shift + by, width, zero)
        b, v = vector(mean_at + by, width, zero), vector(var_at + by, width, zero)
        for j in range(width):
            out[j] = ((slope[j] - b[j]) - ((row[j] - p[j]) - m[j]) * v[j]) * a[j]
        at, by, width = at + width * size, 0, d if i < n - 1 else ahead


@jit
def _gradient_sums(x, dy, y, pitch, n, pivot, shift, sums, products, kind, scratch):
    """The sums of dy and of dy (x - mean) of one chunk."""
    d, lane, zero = len(shift), lane_of(len(shift)), shift.dtype.type(0)
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
    d, lane, kinds, size = len(mean), lane_of(len(mean)), mean.dtype.type, mean.itemsize
    zero, one, ahead = kinds(0), kinds(1), _columns_ahead(pitch, x, y, size)
    scale, of_beta = _copied(var, scratch, ahead), scratch + lane
    for j in range(d):
        spread = scale[j] + eps
        scale[j] = zero if spread == zero else one / math.sqrt(spread)
    if has_gamma:
        factor = vector(_at_hand(gamma, of_beta, ahead, n), d, zero)
        for j in range(d):
            scale[j] *= factor[j]
    if has_beta:
        of_beta = _at_hand(beta, of_beta, ahead, n)
    else:
        _fill(vector(of_beta, d, zero), zero)
    of_mean = _at_hand(mean, scratch + 3 * lane, ahead, n)
    at, by, width = 0, ahead * size, d - ahead
    for i in range(n + 1):
        row, out = vector(x + at, width, zero), vector(y + at, width, zero)
        a, b = vector(scratch + by, width, zero), vector(of_beta + by, width, zero)
        m = vector(of_mean + by, width, zero)
        scaled = out if kind == LINEAR else vector(scratch + 2 * lane + by, width, zero)
        for j in range(width):
            scaled[j] = (row[j] - m[j]) * a[j] + b[j]
        if kind != LINEAR:
            activate(scaled, out, kind)
        at, by, width = at + width * size, 0, d if i < n - 1 else ahead
