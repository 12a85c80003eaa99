"""Every form of the fused batch norm against the oracle: on the CPU through the shim, on a GPU.

The kernel tests beside this one see the form that the launcher chooses; here each is asked for.
"""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import batch_norm, batch_norm_backward, batch_norm_inference
from gpubn.kernels.agnostic import activation as activations
from gpubn.kernels.agnostic.batch_norm import RunningStatistics
from gpubn.kernels.cuda import batch_norm_backward as cuda_backward
from gpubn.kernels.cuda import batch_norm_forward as cuda_forward
from gpubn.kernels.cuda import batch_norm_launch, source
from tests.cuda.shim import ORDERS

pytestmark = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)

# Two rows, one column, fewer rows than threads, a row more than a sweep, odd and even widths.
SHAPES = [(1, 2, 1), (1, 2, 8), (1, 5, 3), (3, 33, 7), (2, 65, 12), (1, 257, 20), (2, 700, 4)]
STORED = [*source.PACKS]
ACTIVATIONS = ["linear", "relu", "tanh", "sigmoid"]


def forms(backward, shape, dtype, pack):
    """Every way to run a direction: all plans of the launcher, and tiled ones with small tasks."""
    plans = [*batch_norm_launch.one_pass(backward, shape, dtype, pack, 90, least_rows=1)]
    tiled = batch_norm_launch.tiled(backward, shape, dtype, pack)
    stride = source.THREADS // tiled.lanes
    for rows in {stride, 2 * stride}:
        for together in {1, min(2, tiled.slabs), tiled.slabs}:
            plans.append(replace(tiled, rows=rows, together=together))
    return [tiled, *plans]


def label(plan):
    return f"{plan.form}-{plan.cluster}-lanes{plan.lanes}-rows{plan.rows}-{plan.together}"


def draw(rng, shape, stored):
    """x, gamma, beta, dy as float64 that `stored` holds exactly; one gamma and beta a replica."""
    replicas, _, d = shape
    wide = "float64" if stored == "float64" else "float32"
    x = (3 * rng.standard_normal(shape) + rng.standard_normal((replicas, 1, d))).astype(stored)
    dy = rng.standard_normal(shape).astype(stored)
    gamma, beta = (rng.standard_normal((replicas, d)).astype(wide) for _ in range(2))
    return x, gamma, beta, dy


def expect(oracle, x, gamma, beta, dy, activation, **options):
    """The oracle's results with an activation behind the batch norm."""
    plain = oracle.batch_norm(x.astype("float64"), gamma, beta, **options)
    y = activations.FORWARD[activation](plain.y, np)
    dz = activations.BACKWARD[activation](dy.astype("float64"), y, np)
    back = oracle.batch_norm(x.astype("float64"), gamma, beta, dz, **options)
    back.y = y
    return back


def close(actual, expected, *, rounding, atol):
    """Within `atol`, and what rounding to the stored format adds; NaN never passes."""
    error = np.abs(np.asarray(actual, dtype="float64") - expected)
    assert (error <= atol + rounding * np.abs(expected)).all(), error.max()


def check(oracle, backend, plans, host, activation="linear", **options):
    """Run all pairs of a forward and a backward plan, compare each result, return all of them."""
    device, (x, gamma, beta, dy) = device_of(backend.xp), host
    n, stored = x.shape[-2], x.dtype
    right = expect(oracle, *host, activation, **options)
    tolerance = 4 * oracle.tolerance(gamma.dtype, n)
    rounding = 0 if stored == gamma.dtype else float(ml_dtypes.finfo(stored).eps)
    on_device = [backend.asarray(a) for a in (x, gamma, beta)]
    found = []
    for forward, back in plans:
        y, cache = cuda_forward.batch_norm(
            *on_device,
            options.get("eps", 1e-5),
            options.get("correction", 0),
            *(activation, None, device, forward),
        )
        dx, dgamma, dbeta = cuda_backward.batch_norm_backward(
            backend.asarray(dy), cache, device, back
        )
        results = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        results |= {"mean": cache.mean, "var": cache.var}
        host_results = {name: backend.to_host(a) for name, a in results.items()}
        for name, value in host_results.items():
            # A ReLU of what is nearly 0 may fall on the other side; such values are not drawn.
            scale = right.scale.get(name, np.abs(getattr(right, name)).max())
            stored_here = rounding if name in ("y", "dx") else 0
            close(value, getattr(right, name), rounding=stored_here, atol=tolerance * scale)
        found.append(host_results)
    return found


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_form_is_right(backend, oracle, rng, shape, stored):
    host = draw(rng, shape, stored)
    for pack in {source.PACKS[stored], 1}:
        if shape[-1] % pack:
            continue
        plans = (forms(backward, shape, stored, pack) for backward in (False, True))
        check(oracle, backend, zip(*plans, strict=True), host)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_through_every_activation(backend, oracle, rng, stored, correction, activation):
    shape = (2, 65, 12)
    host = draw(rng, shape, stored)
    plans = (forms(backward, shape, stored, 1) for backward in (False, True))
    check(
        *(oracle, backend, [*zip(*plans, strict=True)], host, activation),
        correction=correction,
        eps=0.1,
    )


def test_the_same_bits_whatever_the_order_of_threads_and_blocks(backend, oracle, rng):
    shape = (2, 700, 4)
    host = draw(rng, shape, "float32")
    plans = [
        *zip(*(forms(backward, shape, "float32", 4) for backward in (False, True)), strict=True)
    ]
    device = device_of(backend.xp)
    orders = [*ORDERS.values(), 7, 8] if backend.device == "shim" else range(3)
    runs = []
    for order in orders:
        device.order = order
        try:
            runs.append(check(oracle, backend, plans, host))
        finally:
            device.order = 0
    for i, plan in enumerate(plans):
        for name in runs[0][i]:
            bits = {run[i][name].tobytes() for run in runs}
            assert len(bits) == 1, (name, label(plan[0]))


@pytest.mark.parametrize("stored", STORED)
def test_any_alignment(backend, oracle, rng, stored):
    """Arrays that start in the middle of a pack are moved one number at a time."""
    x, gamma, beta, dy = draw(rng, (1, 40, 8), stored)
    aligned, _ = batch_norm(*(backend.asarray(a) for a in (x, gamma, beta)))
    flat = backend.xp.empty(x.size + 1, x.dtype)
    flat[1:] = backend.asarray(x.ravel())
    shifted = flat[1:].reshape(x.shape)
    y, cache = batch_norm(shifted, backend.asarray(gamma), backend.asarray(beta))
    right = expect(oracle, x, gamma, beta, dy, "linear")
    rounding = 0 if stored == gamma.dtype else float(ml_dtypes.finfo(stored).eps)
    atol = 4 * oracle.tolerance(gamma.dtype, 40) * right.scale["y"]
    for found in (y, aligned):
        close(backend.to_host(found), right.y, rounding=rounding, atol=atol)
    dx = batch_norm_backward(backend.asarray(dy), cache)[0]
    atol = 4 * oracle.tolerance(gamma.dtype, 40) * right.scale["dx"]
    close(backend.to_host(dx), right.dx, rounding=rounding, atol=atol)


def test_strides_and_read_in_place_statistics(backend, rng):
    """What is not contiguous is copied, and running statistics are written where they are."""
    x = backend.asarray(rng.standard_normal((3, 6, 40)).astype("float32"))
    turned = x.swapaxes(-1, -2)
    both = backend.xp.zeros((3, 12), "float32")
    views = RunningStatistics(both[:, :6], both[:, 6:], 0.25)
    whole = RunningStatistics(*(backend.xp.zeros((3, 6), "float32") for _ in range(2)), 0.25)
    y, cache = batch_norm(turned, running=views)
    expected, cache_of_copy = batch_norm(backend.xp.ascontiguousarray(turned), running=whole)
    assert (backend.to_host(y) == backend.to_host(expected)).all()
    for i, part in enumerate((whole.mean, whole.spread)):
        assert (backend.to_host(both[:, 6 * i : 6 * i + 6]) == backend.to_host(part)).all()
    dy = y.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    for one, other in zip(
        batch_norm_backward(dy, cache), batch_norm_backward(y, cache_of_copy), strict=True
    ):
        assert (backend.to_host(one) == backend.to_host(other)).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("shape", [(7, 3), (2, 300, 8)], ids=str)
def test_inference(backend, rng, shape, stored, activation):
    wide = "float64" if stored == "float64" else "float32"
    x = rng.standard_normal(shape).astype(stored)
    mean, gamma, beta = (rng.standard_normal(shape[-1]).astype(wide) for _ in range(3))
    var = rng.random(shape[-1]).astype(wide)
    found = batch_norm_inference(
        *(backend.asarray(a) for a in (x, mean, var, gamma, beta)), eps=1e-3, activation=activation
    )
    host = (a.astype("float64") for a in (x, mean, var, gamma, beta))
    right = batch_norm_inference(*host, eps=1e-3, activation=activation)
    assert found.dtype == stored
    rounding = 0 if stored == wide else float(ml_dtypes.finfo(stored).eps)
    atol = 64 * np.finfo(wide).eps * np.abs(right).max()
    close(backend.to_host(found), right, rounding=rounding, atol=atol)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(backend, rng, stored):
    """The statistics are float32: the output is that of float32, rounded to what is stored."""
    x = (100 + rng.standard_normal((512, 4))).astype(stored)
    y, cache = batch_norm(backend.asarray(x))
    wide, wide_cache = batch_norm(backend.asarray(x.astype("float32")))
    assert (cache.mean.dtype, y.dtype) == ("float32", stored)
    assert (backend.to_host(y) == backend.to_host(wide).astype(stored)).all()
    assert (backend.to_host(cache.var) == backend.to_host(wide_cache.var)).all()
