"""Runs the rows of a tape: each is unpacked for the kernel that it names."""

from functools import partial

import numpy as np

from gpubn.kernels.cpu import layout
from gpubn.kernels.cpu.compiled import affine, batch_norm, philox, softmax_cross_entropy, training
from gpubn.kernels.cpu.compiled.activation import activate, through
from gpubn.kernels.cpu.compiled.lowlevel import jit, lane_of, matrix, vector
from gpubn.kernels.cpu.layout import (
    ARRAYS,
    CHUNK,
    EACH,
    FIRST,
    KIND,
    LAST,
    MOST,
    OPERATION,
    OPTION,
    PHASE,
    D,
    H,
    N,
)

_OF_COLUMNS = (layout.BATCH_NORM, layout.BATCH_NORM_BACKWARD, layout.BATCH_NORM_INFERENCE)
_OF_OUTPUTS = (layout.AFFINE_BACKWARD, layout.AFFINE_DESCEND)
"""Operations with scratch memory, for each column or each output."""
AT, TURN, ROW, OWN = 0, 16, 24, 72
"""Places in the memory of a thread, in numbers of 8 bytes: of the addresses of a row's arrays; of
its turn in a team, and of its row there; of what the operations need."""
wrapper = partial(jit, inline="always")
"""Unpacks a row for a kernel; within the loop, since what is compiled alone is compiled twice."""
_INDEX, _TRUTH, _WORD = np.int64(0), np.bool_(False), np.uint64(0)


@wrapper
def _batch_norm(row, at, real, size, scratch):
    n, d, phase, like = row[N], row[D], row[PHASE], real[0]
    pitch, rows, to = size * d, _rows(row), _first(row) * size * d
    sums = at[9] if at[9] != 0 else scratch + batch_norm.SUMS * lane_of(d)
    if phase in (0, 1):
        of_chunk = sums + _first(row) // CHUNK * 16 * d
        batch_norm.moments(at[0] + to, pitch, rows, vector(at[0], d, like), of_chunk, scratch)
    if phase in (0, 2):
        first, width = _columns(row)
        by, eps, momentum = size * first, like, real[1]
        if at[8] != 0:
            eps = vector(at[8], 1, like)[0]
        if at[7] != 0:
            momentum = vector(at[7], 1, like)[0]
        pivot, mean = vector(at[0] + by, width, like), vector(at[4] + by, width, like)
        var = vector(at[4] + 3 * pitch + by, width, like)
        batch_norm.statistics(
            sums + 8 * first, d, n, row[H], eps, pivot, mean,
            vector(at[4] + pitch + by, width, like), vector(at[4] + 2 * pitch + by, width, like),
            var, scratch,
        )  # fmt: skip
        if at[5] != 0:
            batch_norm.follow(
                vector(at[5] + by, width, like), vector(at[6] + by, width, like), mean, var,
                momentum, n, row[H], row[OPTION] != 0,
            )  # fmt: skip
    if phase in (0, 3):
        batch_norm.output_of(
            at[0] + to, at[1] + to, pitch, rows, vector(at[0], d, like),
            vector(at[4] + pitch, d, like), vector(at[4] + 2 * pitch, d, like),
            vector(at[2], d, like), vector(at[3], d, like), at[2] != 0, at[3] != 0, row[KIND],
            scratch,
        )  # fmt: skip


@wrapper
def _batch_norm_backward(row, at, like, size, scratch):
    n, d, phase = row[N], row[D], row[PHASE]
    pitch, rows, to = size * d, _rows(row), _first(row) * size * d
    shift, inv_std = at[5] + pitch, at[5] + 2 * pitch
    sums = at[8] if at[8] != 0 else scratch + batch_norm.SUMS * lane_of(d)
    if phase in (0, 1):
        of_chunk = sums + _first(row) // CHUNK * 2 * pitch
        batch_norm.gradient_sums(
            at[0] + to, at[1] + to, at[2] + to, pitch, rows, vector(at[0], d, like),
            vector(shift, d, like), of_chunk, row[KIND], scratch,
        )  # fmt: skip
    if phase in (0, 2):
        first, width = _columns(row)
        by = size * first
        batch_norm.gradients(
            sums + by, d, n, row[H], vector(inv_std + by, width, like),
            vector(at[6] + by, width, like), vector(at[7] + by, width, like),
            vector(sums + by, width, like), vector(sums + pitch + by, width, like), scratch,
        )  # fmt: skip
    if phase in (0, 3):  # what it needs stands where the sums of the first chunk were
        batch_norm.input_gradient(
            at[0] + to, at[1] + to, at[2] + to, at[3] + to, pitch, rows, vector(at[0], d, like),
            vector(shift, d, like), vector(inv_std, d, like), vector(at[4], d, like),
            vector(sums, d, like), vector(sums + pitch, d, like), at[4] != 0, row[KIND], scratch,
        )  # fmt: skip


@jit
def _first(row):
    """Return the first of the rows that a phase works on by chunks, or at once."""
    return row[FIRST] * CHUNK if row[PHASE] != 0 else 0


@jit
def _rows(row):
    """Return the number of rows that a phase works on by chunks, or at once."""
    return min(row[LAST] * CHUNK, row[N]) - row[FIRST] * CHUNK if row[PHASE] != 0 else row[N]


@jit
def _columns(row):
    """Return the first of the columns that a phase works on, and their number."""
    return (row[FIRST], row[LAST] - row[FIRST]) if row[PHASE] != 0 else (0, row[D])


@wrapper
def _batch_norm_inference(row, at, eps, size, scratch):
    d, rows = row[D], row[LAST] - row[FIRST]
    mean, var = vector(at[2], d, eps), vector(at[3], d, eps)
    gamma, beta = vector(at[4], d, eps), vector(at[5], d, eps)
    if at[6] != 0:
        eps = vector(at[6], 1, eps)[0]
    batch_norm.inference(
        at[0], at[1], size * d, rows, mean, var, gamma, beta, at[4] != 0, at[5] != 0, eps,
        row[KIND], scratch,
    )  # fmt: skip


@wrapper
def _affine(row, at, like, blas, scratch):
    n, d, h = row[N], row[D], row[H]
    x, weight = matrix(at[0], n, d, like), matrix(at[1], d, h, like)
    if row[OPERATION] == layout.AFFINE:
        affine.forward(
            blas, x, weight, vector(at[2], h, like), matrix(at[3], n, h, like), at[2] != 0
        )
        return
    dy, dx = matrix(at[2], n, h, like), matrix(at[3], n, d, like)
    if row[OPERATION] == layout.AFFINE_BACKWARD:
        dweight, dbias = matrix(at[4], d, h, like), vector(at[5], h, like)
        affine.backward(blas, x, weight, dy, dx, dweight, dbias, at[3] != 0, scratch)
    else:
        bias, rate = vector(at[4], h, like), vector(at[5], 1, like)[0]
        affine.descend(blas, x, weight, dy, dx, bias, rate, at[3] != 0, scratch)


@wrapper
def _elementwise(row, at, real, like):
    width = row[LAST] - row[FIRST]
    x, y = vector(at[0], width, like), vector(at[1], width, like)
    if row[OPERATION] == layout.ACTIVATION:
        activate(x, y, row[KIND])
    elif row[OPERATION] == layout.ACTIVATION_BACKWARD:
        through(x, y, vector(at[2], width, like), row[KIND])
    elif row[OPERATION] == layout.DESCEND_AVERAGED:
        average, rate = vector(at[2], width, like), vector(at[3], 1, like)[0]
        training.descend_averaged(x, y, average, rate, real[0], real[1])
    else:
        training.descend(x, y, vector(at[2], 1, like)[0])


@wrapper
def _dropout(row, at, like, step):
    width = row[LAST] - row[FIRST]
    mask = vector(at[2], width, _TRUTH)
    if at[4] != 0:
        key = at[4] + row[H] * (step + vector(at[5], 1, _INDEX)[0])
        philox.at_least(vector(key, 2, _WORD), vector(at[6], 1, _WORD)[0], mask)
    x, y = vector(at[0], width, like), vector(at[1], width, like)
    training.drop(x, mask, y, vector(at[3], 1, like)[0])


@wrapper
def _softmax_cross_entropy(row, at, like):
    n, classes = row[N], row[D]
    logits, labels = matrix(at[0], n, classes, like), vector(at[1], n, _INDEX)
    loss, dlogits = vector(at[2], 1, like), matrix(at[3], n, classes, like)
    loss[0] = softmax_cross_entropy.loss_and_gradient(logits, labels, dlogits)


@wrapper
def _begin_step(row, at, like, r, step):
    n, d, replicas, rates, examples = row[N], row[D], row[H], row[OPTION], row[KIND]
    step += vector(at[4], 1, _INDEX)[0]
    first = (step * replicas + r) * n
    order = vector(at[2], first + n, _INDEX)[first:]
    data, labels = matrix(at[0], examples, d, like), vector(at[1], examples, _INDEX)
    training.fetch(data, labels, order, matrix(at[5], n, d, like), vector(at[6], n, _INDEX))
    of_replica = r if rates > 1 else 0
    table = vector(at[3], (step + 1) * rates, like)
    vector(at[7], rates, like)[of_replica] = table[step * rates + of_replica]


@wrapper
def _end_step(row, at, like, r, step):
    replicas = row[D]
    step += vector(at[2], 1, _INDEX)[0]
    losses = vector(at[0], (step + 1) * replicas, like)
    losses[step * replicas + r] = vector(at[1], 1, like)[0]


@wrapper
def _run_row(row, at, real, r, step, blas, scratch):
    operation, size, like = row[OPERATION], real.itemsize, real[0]
    if operation == layout.BATCH_NORM:
        _batch_norm(row, at, real, size, scratch)
    elif operation == layout.BATCH_NORM_BACKWARD:
        _batch_norm_backward(row, at, like, size, scratch)
    elif operation == layout.BATCH_NORM_INFERENCE:
        _batch_norm_inference(row, at, like, size, scratch)
    elif operation in (layout.AFFINE, layout.AFFINE_BACKWARD, layout.AFFINE_DESCEND):
        _affine(row, at, like, blas, scratch)
    elif operation == layout.SOFTMAX_CROSS_ENTROPY:
        _softmax_cross_entropy(row, at, like)
    elif operation == layout.DROPOUT:
        _dropout(row, at, like, step)
    elif operation == layout.BEGIN_STEP:
        _begin_step(row, at, like, r, step)
    elif operation == layout.END_STEP:
        _end_step(row, at, like, r, step)
    else:
        _elementwise(row, at, real, like)


@jit
def _locate(row, r, at):
    """Write the address of each array in replica r, of its first item that is worked on."""
    for k in range(MOST):
        where = ARRAYS + EACH * k
        at[k] = row[where]
        if at[k] != 0:
            at[k] += r * row[where + 1] + row[FIRST] * row[where + 2]


@jit
def memory_of(whole):
    """Return how many numbers of 8 bytes a thread needs: see `AT` to `OWN`, and what rows need."""
    most = 0
    for i in range(len(whole)):
        if whole[i, OPERATION] in _OF_COLUMNS:
            most = max(most, whole[i, D])
        elif whole[i, OPERATION] in _OF_OUTPUTS:
            most = max(most, whole[i, H])
    return OWN + batch_norm.LANES * lane_of(most) // 8


@wrapper
def run_rows(blas, whole, real, begin, end, steps, memory):
    """Run a tape for the replicas from `begin` to before `end`, with the memory at an address."""
    at, scratch = vector(memory + 8 * AT, MOST, _INDEX), memory + 8 * OWN
    for r in range(begin, end):
        for step in range(steps):
            for i in range(len(whole)):
                _locate(whole[i], r, at)
                _run_row(whole[i], at, real[i], r, step, blas, scratch)
