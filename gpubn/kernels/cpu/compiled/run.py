"""The loop that runs a tape: replica by replica, all its steps, each row by row.

One replica is run to the end before the next begins, so that its memory stays in the cache. None
reads what another wrote, so the order changes no number.
"""

import logging
from functools import cache, partial
from pathlib import Path

import numpy as np

from gpubn.files import sha256
from gpubn.kernels.cpu import layout
from gpubn.kernels.cpu.compiled import affine, batch_norm, philox, softmax_cross_entropy, training
from gpubn.kernels.cpu.compiled.activation import activate, through
from gpubn.kernels.cpu.compiled.lowlevel import jit, matrix, vector
from gpubn.kernels.cpu.layout import (
    ARRAYS,
    EACH,
    FIRST,
    KIND,
    LAST,
    MOST,
    OPERATION,
    OPTION,
    D,
    H,
    N,
)

log = logging.getLogger(__name__)

_OF_COLUMNS = (layout.BATCH_NORM, layout.BATCH_NORM_BACKWARD, layout.BATCH_NORM_INFERENCE)
_OF_OUTPUTS = (layout.AFFINE_BACKWARD, layout.AFFINE_DESCEND)
"""Operations with scratch memory, for each column or each output."""
wrapper = partial(jit, inline="always")
"""Unpacks a row for a kernel; within the loop, since what is compiled alone is compiled twice."""
_INDEX, _TRUTH, _WORD = np.int64(0), np.bool_(False), np.uint64(0)


@wrapper
def _batch_norm(row, at, real, size, scratch):
    n, pitch, width = row[N], size * row[D], row[LAST] - row[FIRST]
    eps, momentum, dof = real[0], real[1], row[H]
    mean, shift = vector(at[4], width, eps), vector(at[4] + pitch, width, eps)
    inv_std, var = vector(at[4] + 2 * pitch, width, eps), vector(at[4] + 3 * pitch, width, eps)
    if at[7] != 0:
        momentum = vector(at[7], 1, eps)[0]
    if at[8] != 0:
        eps = vector(at[8], 1, eps)[0]
    batch_norm.forward(
        at[0], at[1], pitch, n, vector(at[2], width, eps), vector(at[3], width, eps), mean, shift,
        inv_std, var, at[2] != 0, at[3] != 0, eps, dof, row[KIND], scratch,
    )  # fmt: skip
    if at[5] != 0:
        batch_norm.follow(
            vector(at[5], width, eps), vector(at[6], width, eps), mean, var, momentum, n, dof,
            row[OPTION] != 0,
        )  # fmt: skip


@wrapper
def _batch_norm_backward(row, at, like, size, scratch):
    pitch, width = size * row[D], row[LAST] - row[FIRST]
    batch_norm.backward(
        at[0], at[1], at[2], at[3], pitch, row[N], vector(at[4], width, like),
        vector(at[5] + pitch, width, like), vector(at[5] + 2 * pitch, width, like),
        vector(at[6], width, like), vector(at[7], width, like), at[4] != 0, row[H], row[KIND],
        scratch,
    )  # fmt: skip


@wrapper
def _batch_norm_inference(row, at, eps, size, scratch):
    width = row[LAST] - row[FIRST]
    if at[6] != 0:
        eps = vector(at[6], 1, eps)[0]
    batch_norm.inference(
        at[0], at[1], size * row[D], row[N], vector(at[2], width, eps), vector(at[3], width, eps),
        vector(at[4], width, eps), vector(at[5], width, eps), at[4] != 0, at[5] != 0, eps,
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
    """Write the address of each array in replica r, of its first column that is worked on."""
    for k in range(MOST):
        where = ARRAYS + EACH * k
        at[k] = row[where]
        if at[k] != 0:
            at[k] += r * row[where + 1] + row[FIRST] * row[where + 2]


@jit
def _scratch(whole):
    """Return how many numbers of 8 bytes the rows need at once."""
    most = 0
    for i in range(len(whole)):
        if whole[i, OPERATION] in _OF_COLUMNS:
            most = max(most, whole[i, LAST] - whole[i, FIRST])
        elif whole[i, OPERATION] in _OF_OUTPUTS:
            most = max(most, whole[i, H])
    return batch_norm.LANES * most


@cache
def compiled_loop():
    """Return run(blas, whole, real, begin, end, steps), compiled at the first call of a dtype.

    It runs a tape for the replicas from `begin` to before `end`. Numba keeps what it compiled on
    disk, but looks at the text of one file alone to tell whether that is stale. What a closure
    holds is looked at, too: here the text of all files.
    """
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("*.py")), folder.parent / "layout.py"]
    digest = sha256(b"".join(path.read_bytes() for path in sources))

    def run(blas, whole, real, begin, end, steps):
        _ = digest
        scratch, at = np.empty(_scratch(whole), np.float64), np.empty(MOST, np.int64)
        for r in range(begin, end):
            for step in range(steps):
                for i in range(len(whole)):
                    _locate(whole[i], r, at)
                    _run_row(whole[i], at, real[i], r, step, blas, scratch.ctypes.data)

    try:
        return jit(cache=True)(run)
    except RuntimeError as error:  # no folder can be written to
        log.warning("compiled kernels are compiled anew in each process (%s)", error)
        return jit(run)
