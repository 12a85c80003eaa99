"""Batch norm of a whole batch (ghost = 0) and of its groups, as layers."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.norms import make_norm
from gpubn.nn.norms.base import Site
from tests.nn.networks import norm_config, shake

R, N, D, GHOST = 3, 12, 3, 4
NUMBERS = {
    "eps": (1e-5, 0.0, 0.3),
    "momentum": (0.1, 1.0, 0.25),
    "initial_spread": (1.0, 0.0, 4.0),
    "initial_beta": (0.0, 1.0, -0.5),
}
whole_and_in_groups = pytest.mark.parametrize("ghost", [0, GHOST])


def make(backend, ghost, dtype="float64", replicas=R, **options):
    """A layer; an option that is a tuple has one number a replica."""
    norms = [
        norm_config(
            "before",
            ghost=ghost,
            **{name: v[r] if isinstance(v, tuple) else v for name, v in options.items()},
        )
        for r in range(replicas)
    ]
    return make_norm(norms, Site(range(replicas), D, 1, backend, dtype))


def draw(rng, n=N, dtype="float64"):
    """Groups that differ in mean and spread, so that it matters by which one normalises."""
    group = np.arange(n)[:, None] // GHOST
    return (rng.standard_normal((R, n, D)) * (group + 1) + 3 * group).astype(dtype)


def by_groups(x, ghost):
    """Host array (R, N, D) -> (R, groups, ghost, D)."""
    return x.reshape(len(x), -1, ghost or x.shape[1], x.shape[2])


def copies(backend, layer):
    return [backend.to_host(average).copy() for average in layer.running.values()]


@pytest.mark.parametrize(("momentum", "start"), [(0.1, 1.0), ((0.1, 0.75, 1.0), 3.0)], ids=str)
@pytest.mark.parametrize(("ghost", "n"), [(0, N), (0, 2), (GHOST, N)])
@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1])
def test_running_statistics_follow_the_recurrence_and_are_those_of_inference(
    backend, rng, correction, average, ghost, n, momentum, start
):
    options = {"correction": correction, "average": average, "momentum": momentum, "eps": 0.01}
    layer = make(backend, ghost, initial_spread=start, **options)
    mean, spread = np.zeros((R, D)), np.full((R, D), start)
    weight = np.broadcast_to(np.reshape(momentum, (-1, 1)), (R, 1))
    for step in range(4):
        variance = spread**2 if average == "std" else spread
        found = [backend.to_host(a) for a in (layer.running["mean"], layer.running_var)]
        np.testing.assert_allclose(found[0], mean, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found[1], variance, rtol=1e-12)
        x = draw(rng, n) + step
        layer.forward(backend.asarray(x), training=True, track=True)
        groups = by_groups(x, ghost)
        new = groups.var(axis=2, ddof=1)  # what is averaged is unbiased, whatever normalises
        if average == "std":
            new = groups.std(axis=2, ddof=correction)  # of what normalises
        mean = (1 - weight) * mean + weight * groups.mean(axis=2).mean(axis=1)
        spread = (1 - weight) * spread + weight * new.mean(axis=1)
    shake([layer], backend, rng)
    gamma, beta = (backend.to_host(a)[:, None] for a in layer.params.values())
    before = copies(backend, layer)
    x = draw(rng, 5)  # any number of examples will do
    y, cache = layer.forward(backend.asarray(x), training=False, track=True)
    variance = spread**2 if average == "std" else spread
    expected = (x - mean[:, None]) / np.sqrt(variance[:, None] + 0.01) * gamma + beta
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-11, atol=1e-12)
    assert cache is None
    for training, track in ((True, False), (False, False)):
        layer.forward(backend.asarray(draw(rng, n)), training=training, track=track)
    for one, other in zip(copies(backend, layer), before, strict=True):
        assert one.tobytes() == other.tobytes()


@whole_and_in_groups
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_normalises_every_group_by_its_own_statistics(
    backend, rng, oracle, dtype, learnable, correction, ghost
):
    options = {"eps": 0.01, "correction": correction, "learnable": learnable}
    layer = make(backend, ghost, dtype, **options)
    shake([layer], backend, rng)
    x, dy = draw(rng, dtype=dtype), rng.standard_normal((R, N, D)).astype(dtype)
    y, cache = layer.forward(backend.asarray(x), training=True, track=False)
    dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
    gamma, beta = (
        backend.to_host(layer.params[name])[:, None] if learnable else None
        for name in ("gamma", "beta")
    )
    right = oracle.batch_norm(
        *(by_groups(x, ghost), gamma, beta, by_groups(dy, ghost)), eps=0.01, correction=correction
    )
    near = oracle.tolerance(dtype, N)
    assert sorted(gradients) == sorted(layer.params)
    found = {"y": y, "dx": dx} | {f"d{name}": gradient for name, gradient in gradients.items()}
    for name, array in found.items():
        expected, scale = getattr(right, name), right.scale[name]
        if name in ("y", "dx"):
            expected = expected.reshape(x.shape)
        else:
            expected, scale = expected.sum(axis=1), scale * N / (ghost or N)
        assert array.dtype == dtype
        np.testing.assert_allclose(backend.to_host(array), expected, rtol=0, atol=near * scale)


@pytest.mark.parametrize("examples", [1, 3, 10, 13])
def test_a_batch_that_ghost_batches_do_not_fill_is_refused(backend, examples):
    layer, x = make(backend, GHOST), backend.asarray(np.zeros((R, examples, D)))
    text = rf"^x has a batch of {examples}; expected a multiple of norm\.ghost \(4\)$"
    with pytest.raises(ArgumentError, match=text):
        layer.forward(x, training=True, track=True)


@whole_and_in_groups
@pytest.mark.parametrize("names", [*[[n] for n in NUMBERS], [*NUMBERS], []], ids=str)
@pytest.mark.parametrize(("dtype", "average"), [("float32", "std"), ("float64", "var")])
def test_numbers_may_differ_between_replicas_whose_bits_are_those_alone(
    backend, same_bits, rng, dtype, average, names, ghost
):
    options, picked = {"average": average, "correction": 1}, {n: NUMBERS[n] for n in names}
    many = make(backend, ghost, dtype, **options, **picked)
    alone = [
        make(backend, ghost, dtype, 1, **options, **{n: picked[n][r] for n in names})
        for r in range(R)
    ]
    expected = NUMBERS["initial_beta"] if "initial_beta" in names else [0.0] * R
    assert backend.to_host(many.params["beta"]).tolist() == [[beta] * D for beta in expected]
    for _ in range(2):
        x, dy = (backend.asarray(draw(rng, dtype=dtype)) for _ in "12")
        y, cache = many.forward(x, training=True, track=True, activation="tanh")
        dx, gradients = many.backward(dy, cache, need_dx=True)
        inferred, _ = many.forward(x, training=False, track=False)
        for r, one in enumerate(alone):
            here = slice(r, r + 1)
            own, own_cache = one.forward(x[here], training=True, track=True, activation="tanh")
            own_dx, own_gradients = one.backward(dy[here], own_cache, need_dx=True)
            same_bits(y[here], own)
            same_bits(dx[here], own_dx)
            same_bits(inferred[here], one.forward(x[here], training=False, track=False)[0])
            for name, gradient in gradients.items():
                same_bits(gradient[here], own_gradients[name])
            for name, average in many.running.items():
                same_bits(average[here], one.running[name])
            same_bits(many.running_var[here], one.running_var)
