"""Every form of the fused batch norm against the oracle: on the CPU through the shim, on a GPU.

The kernel tests beside this one see the form that the launcher chooses; here each is asked for.
"""

from dataclasses import replace

import numpy as np
import pytest

from gpubn.backend import device_of
from gpubn.kernels import batch_norm, batch_norm_backward, descend
from gpubn.kernels.agnostic import activation as activations
from gpubn.kernels.cuda import batch_norm_backward as cuda_backward
from gpubn.kernels.cuda import batch_norm_forward as cuda_forward
from gpubn.kernels.cuda import batch_norm_launch, catalog, source
from tests.cuda import shim
from tests.kernels.arrays import STORED, bits, close, wide_of

pytestmark = pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)

# Two rows, one column, fewer rows than threads, a row more than a sweep, odd and even widths.
SHAPES = [(1, 2, 1), (1, 2, 8), (1, 5, 3), (3, 33, 7), (2, 65, 12), (1, 257, 20), (2, 700, 4)]


def forms(backward, shape, dtype, pack):
    """Every way to run a direction: all plans of the launcher, and tiled ones with small tasks."""
    plans = [*batch_norm_launch.one_pass(backward, shape, dtype, pack, 90, least_rows=1)]
    tiled = batch_norm_launch.tiled(backward, shape, dtype, pack)
    stride = source.THREADS // tiled.lanes
    for rows in {stride, 2 * stride}:
        for together in {1, min(2, tiled.slabs), tiled.slabs}:
            plans.append(replace(tiled, rows=rows, together=together))
    return [tiled, *plans]


def pairs(shape, dtype, pack):
    """All forms of the forward pass, each with one of the backward pass."""
    return [*zip(*(forms(backward, shape, dtype, pack) for backward in (False, True)), strict=True)]


def draw(rng, shape, stored):
    """x, gamma, beta, dy as float64 that `stored` holds exactly; one gamma and beta a replica."""
    replicas, _, d = shape
    x = (3 * rng.standard_normal(shape) + rng.standard_normal((replicas, 1, d))).astype(stored)
    dy = rng.standard_normal(shape).astype(stored)
    gamma, beta = rng.standard_normal((2, replicas, d)).astype(wide_of(stored))
    return x, gamma, beta, dy


def expect(oracle, x, gamma, beta, dy, activation="linear", **options):
    """The oracle's results with an activation behind the batch norm."""
    plain = oracle.batch_norm(x.astype("float64"), gamma, beta, **options)
    y = activations.FORWARD[activation](plain.y, np)
    dz = activations.BACKWARD[activation](dy.astype("float64"), y, np)
    back = oracle.batch_norm(x.astype("float64"), gamma, beta, dz, **options)
    back.y = y
    return back


def check(oracle, backend, plans, host, activation="linear", limit=None, **options):
    """Run all pairs of a forward and a backward plan, compare each result, return all of them.

    The backward plan takes a step, too.
    """
    device, (x, gamma, beta, dy) = device_of(backend.xp), host
    right = expect(oracle, *host, activation, **options)
    limit = limit or 4 * oracle.tolerance(gamma.dtype, x.shape[-2])
    on_device = [backend.asarray(a) for a in (x, gamma, beta)]
    rates = np.linspace(1, 2, len(x)).astype(gamma.dtype)
    bias = backend.asarray(gamma - beta)
    right.mean = right.mean + gamma - beta
    right.scaled, right.scale["scaled"] = rates[:, None, None] * right.dx, 2 * right.scale["dx"]
    rates = backend.asarray(rates)
    found = []
    for forward, back in plans:
        y, cache = cuda_forward.batch_norm(
            *on_device,
            options.get("eps", 1e-5),
            options.get("correction", 0),
            *(activation, None, bias, device, forward),
        )
        slope = backend.asarray(dy)
        dx, dgamma, dbeta = cuda_backward.batch_norm_backward(slope, cache, device, back)
        stepped = on_device[1].copy(), on_device[2].copy()
        again, scaled = cuda_backward.batch_norm_descend(
            *(slope, cache, *stepped, rates, True, device, back)
        )
        apart = on_device[1].copy(), on_device[2].copy()
        descend(apart, [dgamma.copy(), dbeta.copy()], rates)
        assert bits(backend, [again, *stepped]) == bits(backend, [dx, *apart])
        assert (scaled is None) == (back.form == "tiled")
        results = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        results |= {} if scaled is None else {"scaled": scaled}
        results |= {"mean": cache.mean, "var": cache.var}
        found.append({name: backend.to_host(a) for name, a in results.items()})
        for name, value in found[-1].items():
            # A ReLU of what is nearly 0 may fall on the other side; such values are not drawn.
            scale = right.scale.get(name, np.abs(getattr(right, name)).max())
            close(value, getattr(right, name), atol=limit * scale)
    return found


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_form_is_right(backend, oracle, rng, shape, stored):
    host = draw(rng, shape, stored)
    for pack in {source.PACKS[stored], 1}:
        if shape[-1] % pack == 0:
            check(oracle, backend, pairs(shape, stored, pack), host)


@pytest.mark.parametrize("activation", activations.FORWARD)
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_through_every_activation(backend, oracle, rng, stored, correction, activation):
    host = draw(rng, (2, 65, 12), stored)
    plans = pairs((2, 65, 12), stored, 1)
    check(oracle, backend, plans, host, activation, correction=correction, eps=0.1)


ORDERS = (*shim.ORDERS.values(), 7, 8, 9)
HARD = (1, 700, 12)


def in_every_order(oracle, backend, rng):
    """What all forms compute in each order of threads and blocks, for columns that are hard."""
    x, gamma, beta, dy = draw(rng, HARD, "float32")
    x += 2e3
    x[:, 0] = -3e4  # a bad first row: what corrects the shift counts
    dy += 1
    runs, device = [], device_of(backend.xp)
    for order in ORDERS if backend.device == "shim" else range(3):
        device.order = order
        try:
            plans = pairs(HARD, "float32", 4)
            runs.append(check(oracle, backend, plans, (x, gamma, beta, dy), limit=2e-5))
        finally:
            device.order = 0
    return runs


def test_the_same_bits_whatever_the_order_of_threads_and_blocks(backend, oracle, rng):
    runs = in_every_order(oracle, backend, rng)
    for results in zip(*runs, strict=True):
        for name in results[0]:
            assert len({result[name].tobytes() for result in results}) == 1, name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  __syncthreads();\n#pragma unroll\n  for (int k", "#pragma unroll\n  for (int k"),
        ("  wait_for_statistics(counter, chunks);\n", ""),
    ],
    ids=["sums are read before all are written", "the second pass does not wait for the first"],
)
def test_a_missing_barrier_shows_in_some_order(
    backend, oracle, rng, tmp_path, monkeypatch, before, after
):
    if backend.device != "shim":
        pytest.skip("the order of threads is not ours to choose")
    stem = "batch_norm_forward"
    text = shim.shim_text(stem)
    assert text.count(before) == 1
    names = [kernel.name for kernel in catalog.instantiations(stem, 90)]
    of_float = [name for name in names if "<float, 4" in name]
    faulty = shim.Library(text.replace(before, after), of_float, tmp_path)
    sound = shim._library
    monkeypatch.setattr(
        shim, "_library", lambda wanted, folder: faulty if wanted == stem else sound(wanted, folder)
    )
    with pytest.raises((AssertionError, RuntimeError)):
        in_every_order(oracle, backend, rng)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("which", ["x", "dy"])
def test_arrays_that_start_in_the_middle_of_a_pack(backend, oracle, rng, stored, which):
    """They are moved one number at a time."""
    host = draw(rng, (1, 40, 8), stored)
    x, gamma, beta, dy = (backend.asarray(a) for a in host)
    given = {"x": x, "dy": dy}
    flat = backend.xp.empty(x.size + 1, x.dtype)
    flat[1:] = given[which].reshape(-1)
    given[which] = flat[1:].reshape(x.shape)
    y, cache = batch_norm(given["x"], gamma, beta)
    dx, _, _ = batch_norm_backward(given["dy"], cache)
    right = expect(oracle, *host)
    for name, value in (("y", y), ("dx", dx)):
        atol = 4 * oracle.tolerance(wide_of(stored), 40) * right.scale[name]
        close(backend.to_host(value), getattr(right, name), atol=atol)
    if backend.device == "shim":
        packs = [name.rpartition(", ")[2] for name in device_of(backend.xp).launched[-2:]]
        full = f"{source.PACKS[stored]}>"
        assert packs == (["1>", "1>"] if which == "x" else [full, "1>"])
