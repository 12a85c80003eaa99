"""Layers: running statistics against the plain recurrence, modes, buffers, dropout's masks."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.kernels import affine_backward
from gpubn.nn.layers import Activation, Affine, Dropout
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.norms.ghost_batch_norm import GhostBatchNorm
from gpubn.nn.rng import generator
from tests.cuda.checkers import check_gradient

R, N, D = 2, 6, 3


def batches(rng, count, n=N):
    return [rng.standard_normal((R, n, D)) * (i + 1) + 3 * i for i in range(count)]


def running(values, momentum, average, correction, start=1.0):
    """Mean and variance by the recurrence, from mean 0 and this spread; plain loops on the host."""
    mean, spread = np.zeros((R, D)), np.full((R, D), start)
    for x in values:
        n = x.shape[1]
        for r in range(R):
            for d in range(D):
                column = [float(v) for v in x[r, :, d]]
                m = sum(column) / n
                squares = sum((v - m) ** 2 for v in column)
                new = squares / (n - 1)  # what is averaged is unbiased, whatever normalises
                if average == "std":
                    new = (squares / (n - correction)) ** 0.5  # of what normalises
                mean[r, d] = (1 - momentum) * mean[r, d] + momentum * m
                spread[r, d] = (1 - momentum) * spread[r, d] + momentum * new
    return mean, spread**2 if average == "std" else spread


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("n", [2, N])
@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1])
def test_running_statistics(backend, rng, correction, average, momentum, n, steps):
    options = {"momentum": momentum, "average": average, "correction": correction}
    layer = BatchNorm(R, D, backend, "float64", **options)
    values = batches(rng, steps, n)
    for x in values:
        layer.forward(backend.asarray(x), training=True, track=True)
    mean, var = running(values, momentum, average, correction)
    np.testing.assert_allclose(backend.to_host(layer.running_mean), mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(backend.to_host(layer.running_var), var, rtol=1e-12)


@pytest.mark.parametrize("average", ["var", "std"])
def test_they_start_at_mean_0_and_variance_1(backend, average):
    layer = BatchNorm(R, D, backend, "float32", average=average)
    assert backend.to_host(layer.running_mean).tolist() == [[0.0] * D] * R
    assert backend.to_host(layer.running_var).tolist() == [[1.0] * D] * R
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32


@pytest.mark.parametrize("start", [0.0, 3.0])
@pytest.mark.parametrize("average", ["var", "std"])
def test_the_spread_may_start_elsewhere(backend, rng, average, start):
    layer = BatchNorm(R, D, backend, "float64", average=average, initial_spread=start)
    first = start**2 if average == "std" else start
    assert backend.to_host(layer.running_var).tolist() == [[first] * D] * R
    values = batches(rng, 3)
    for x in values:
        layer.forward(backend.asarray(x), training=True, track=True)
    _, var = running(values, 0.1, average, 0, start)
    np.testing.assert_allclose(backend.to_host(layer.running_var), var, rtol=1e-12)


@pytest.mark.parametrize("average", ["var", "std"])
def test_running_statistics_keep_their_dtype(backend, rng, average):
    layer = BatchNorm(R, D, backend, "float32", average=average, correction=1)
    for x in batches(rng, 3):
        layer.forward(backend.asarray(x, "float32"), training=True, track=True)
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32


def test_running_statistics_match_torch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from gpubn.backend import resolve

    layer = BatchNorm(R, D, resolve("numpy"), "float64", eps=1e-3, momentum=0.2)
    theirs = [torch.nn.BatchNorm1d(D, eps=1e-3, momentum=0.2, dtype=torch.float64) for _ in "12"]
    for x in batches(rng, 5):
        y, _ = layer.forward(x, training=True, track=True)
        for r, module in enumerate(theirs):
            expected = module(torch.tensor(x[r])).detach().numpy()
            np.testing.assert_allclose(y[r], expected, rtol=0, atol=1e-12)
    x = batches(rng, 1)[0]
    y, _ = layer.forward(x, training=False, track=False)
    for r, module in enumerate(theirs):
        np.testing.assert_allclose(layer.running_mean[r], module.running_mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var[r], module.running_var, rtol=1e-12)
        expected = module.eval()(torch.tensor(x[r])).detach().numpy()
        np.testing.assert_allclose(y[r], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("training", "track"), [(True, False), (False, True), (False, False)])
def test_only_a_tracked_training_pass_changes_the_state(backend, rng, training, track):
    layer = BatchNorm(R, D, backend, "float64")
    first, second = batches(rng, 2)
    layer.forward(backend.asarray(first), training=True, track=True)
    state = [backend.to_host(a).copy() for a in (layer.running_mean, layer.running_var)]
    layer.forward(backend.asarray(second), training=training, track=track)
    for array, before in zip((layer.running_mean, layer.running_var), state, strict=True):
        assert backend.to_host(array).tobytes() == before.tobytes()


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("correction", [0, 1])
def test_training_normalises_by_the_batch(backend, rng, correction, track):
    layer = BatchNorm(R, D, backend, "float64", eps=0.0, correction=correction)
    (x,) = batches(rng, 1)
    y, _ = layer.forward(backend.asarray(x), training=True, track=track)
    y = backend.to_host(y)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=1, ddof=correction), 1, rtol=1e-13)


@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("learnable", [True, False])
def test_inference_uses_the_running_statistics(backend, rng, learnable, average):
    layer = BatchNorm(R, D, backend, "float64", eps=0.01, average=average, learnable=learnable)
    values = batches(rng, 3)
    for x in values:
        layer.forward(backend.asarray(x), training=True, track=True)
    gamma, beta = np.ones((R, D)), np.zeros((R, D))
    if learnable:
        gamma, beta = rng.standard_normal((2, R, D))
        layer.params["gamma"][...] = backend.asarray(gamma)
        layer.params["beta"][...] = backend.asarray(beta)
    mean, var = running(values, 0.1, average, 0)
    x = batches(rng, 1)[0]
    y, _ = layer.forward(backend.asarray(x), training=False, track=False)
    expected = gamma[:, None] * (x - mean[:, None]) / np.sqrt(var[:, None] + 0.01) + beta[:, None]
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-12, atol=1e-13)
    one = backend.asarray(x[:, :1])  # a batch of one is no trouble here
    alone, _ = layer.forward(one, training=False, track=False)
    np.testing.assert_allclose(backend.to_host(alone), expected[:, :1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("average", ["var", "std"])
def test_other_statistics_may_stand_in(backend, rng, average):
    layer = BatchNorm(R, D, backend, "float64", eps=0.01, average=average)
    mean, var = rng.standard_normal((R, D)), rng.uniform(0.5, 2, (R, D))
    own = layer.running_mean, layer.running_spread
    before = [backend.to_host(array).copy() for array in own]
    layer.set_statistics(backend.asarray(mean), backend.asarray(var))
    np.testing.assert_allclose(backend.to_host(layer.running_var), var, rtol=1e-14)
    x = rng.standard_normal((R, N, D))
    y, _ = layer.forward(backend.asarray(x), training=False, track=False)
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 0.01)
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-12, atol=1e-13)
    for array, was in zip(own, before, strict=True):  # what they replace is left as it was
        assert backend.to_host(array).tobytes() == was.tobytes()


def test_learnable_or_not(backend, rng):
    x, dy = (backend.asarray(a) for a in rng.standard_normal((2, R, N, D)))
    with_params = BatchNorm(R, D, backend, "float64")
    without = BatchNorm(R, D, backend, "float64", learnable=False)
    assert without.params == {}
    assert backend.to_host(with_params.params["gamma"]).tolist() == [[1.0] * D] * R
    assert backend.to_host(with_params.params["beta"]).tolist() == [[0.0] * D] * R
    results = []
    for layer in (with_params, without):
        y, cache = layer.forward(x, training=True, track=True)
        dx, gradients = layer.backward(dy, cache, need_dx=True)
        assert sorted(gradients) == sorted(layer.params)
        results.append([backend.to_host(y), backend.to_host(dx)])
        for name, gradient in gradients.items():
            assert gradient.shape == layer.params[name].shape
    for one, other in zip(*results, strict=True):  # gamma 1 and beta 0 do nothing
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("beta", [1.0, -0.25])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta_may_start_elsewhere(backend, rng, dtype, beta):
    layer = BatchNorm(R, D, backend, dtype, initial_beta=beta)
    assert layer.params["beta"].dtype == dtype
    assert backend.to_host(layer.params["beta"]).tolist() == [[beta] * D] * R
    assert backend.to_host(layer.params["gamma"]).tolist() == [[1.0] * D] * R
    plain = BatchNorm(R, D, backend, dtype)
    x = backend.asarray(rng.standard_normal((R, N, D)), dtype)
    for training in (True, False):
        shifted, centred = (
            backend.to_host(la.forward(x, training=training, track=True)[0])
            for la in (layer, plain)
        )
        np.testing.assert_allclose(
            shifted - beta, centred, atol=1e-5 if dtype == "float32" else 1e-14
        )
    bare = BatchNorm(R, D, backend, dtype, learnable=False, initial_beta=beta)
    y, _ = bare.forward(x, training=True, track=True)
    assert bare.params == {}
    assert abs(backend.to_host(y).mean()) < 1e-6  # without beta there is nothing to start


def test_replicas_do_not_share_statistics(backend, rng):
    x = rng.standard_normal((R, N, D))
    layer = BatchNorm(R, D, backend, "float64")
    layer.forward(backend.asarray(x), training=True, track=True)
    other = BatchNorm(R, D, backend, "float64")
    x[1] += 100
    other.forward(backend.asarray(x), training=True, track=True)
    one, two = (backend.to_host(la.running_mean) for la in (layer, other))
    assert (one[0] == two[0]).all()
    assert np.abs(two[1] - one[1] - 10).max() < 1e-12


def test_the_weight_gradients_of_several_steps_are_each_right(backend, rng):
    # One buffer serves all steps, and the optimiser scales what is in it.
    weight, bias = rng.standard_normal((R, D, 4)), rng.standard_normal((R, 4))
    layer = Affine(backend.asarray(weight.copy()), backend.asarray(bias.copy()))
    for _ in range(3):
        x, dy = rng.standard_normal((R, N, D)), rng.standard_normal((R, N, 4))
        y, cache = layer.forward(backend.asarray(x), training=True, track=True)
        dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
        np.testing.assert_allclose(
            backend.to_host(y), x @ weight + bias[:, None], rtol=1e-13, atol=1e-13
        )
        expected = {"weight": x.swapaxes(1, 2) @ dy, "bias": dy.sum(axis=1)}
        assert sorted(gradients) == sorted(expected)
        for name, right in expected.items():
            found = backend.to_host(gradients[name])
            np.testing.assert_allclose(found, right, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(
            backend.to_host(dx), dy @ weight.swapaxes(1, 2), rtol=1e-13, atol=1e-13
        )
        assert backend.to_host(layer.params["weight"]).tobytes() == weight.tobytes()
        for gradient in gradients.values():
            gradient *= float("nan")


def test_two_layers_have_a_buffer_each(backend, rng):
    weights = [backend.asarray(w) for w in rng.standard_normal((2, R, D, D))]
    layers = [Affine(w, backend.asarray(np.zeros((R, D)))) for w in weights]
    x, dy = (backend.asarray(a) for a in rng.standard_normal((2, R, N, D)))
    caches = [layer.forward(x, training=True, track=True)[1] for layer in layers]
    one, two = (
        layer.backward(factor * dy, cache, need_dx=False)
        for layer, cache, factor in zip(layers, caches, (1, 2), strict=True)
    )
    assert one[0] is None
    _, right, _ = affine_backward(dy, caches[0])
    for gradients, factor in ((one[1], 1), (two[1], 2)):
        np.testing.assert_allclose(
            backend.to_host(gradients["weight"]), factor * backend.to_host(right), rtol=1e-12
        )


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "linear"])
def test_activation(backend, rng, name):
    x, dy = rng.standard_normal((2, R, N, D))
    y, slope = {
        "relu": (np.maximum(x, 0), x > 0),
        "linear": (x, 1),
        "tanh": (np.tanh(x), 1 - np.tanh(x) ** 2),
        "sigmoid": (1 / (1 + np.exp(-x)), np.exp(-x) / (1 + np.exp(-x)) ** 2),
    }[name]
    layer = Activation(name)
    found, cache = layer.forward(backend.asarray(x), training=True, track=True)
    dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
    assert layer.params == gradients == {}
    np.testing.assert_allclose(backend.to_host(found), y, rtol=1e-12)
    np.testing.assert_allclose(backend.to_host(cache), y, rtol=1e-12)
    np.testing.assert_allclose(backend.to_host(dx), dy * slope, rtol=1e-11, atol=1e-14)


SEEDS = (4, 0, 9)


def mask_of(seed, layer, key, shape, rate):
    """The mask of one replica, drawn from its key alone."""
    return generator(seed, "dropout", layer, key).random(shape, np.float32) >= rate


def masked(backend, layer, x, *, track=True):
    """Where a training pass keeps something."""
    y, _ = layer.forward(backend.asarray(x), training=True, track=track)
    return backend.to_host(y) != 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_keeps_what_its_key_says_and_scales_it(backend, rng, rate, dtype):
    layer = Dropout(rate, SEEDS, 3, backend)
    assert layer.params == {}
    x, dy = rng.uniform(1, 2, (2, len(SEEDS), N, D)).astype(dtype)
    for step in range(3):
        y, cache = layer.forward(backend.asarray(x), training=True, track=True)
        dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
        kept = np.stack([mask_of(seed, 3, step, (N, D), rate) for seed in SEEDS])
        assert gradients == {}
        for found, given in ((y, x), (dx, dy)):
            assert found.dtype == dtype
            right = np.where(kept, given.astype(np.float64) / (1 - rate), 0)
            np.testing.assert_allclose(backend.to_host(found), right, rtol=1e-6)


def test_dropout_in_inference_is_the_identity_and_counts_no_pass(backend, rng):
    layer, other = (Dropout(0.5, SEEDS, 1, backend) for _ in "12")
    x = rng.uniform(1, 2, (len(SEEDS), N, D))
    for track in (True, False):
        y, cache = layer.forward(backend.asarray(x), training=False, track=track)
        assert cache is None
        assert backend.to_host(y).tobytes() == x.tobytes()
    assert (masked(backend, layer, x) == masked(backend, other, x)).all()


def test_every_tracked_pass_has_a_mask_of_its_own_and_untracked_ones_repeat(backend):
    layer, x = Dropout(0.5, SEEDS, 2, backend), np.ones((len(SEEDS), 40, 5))
    one = masked(backend, layer, x, track=False)
    first = masked(backend, layer, x)
    between = masked(backend, layer, x, track=False)
    second = masked(backend, layer, x)
    assert (one == between).all()
    for a, b in ((one, first), (first, second), (one, second)):
        for r in range(len(SEEDS)):
            assert 0.3 < (a[r] == b[r]).mean() < 0.7  # half of 200, by chance
    undisturbed = Dropout(0.5, SEEDS, 2, backend)
    assert (masked(backend, undisturbed, x) == first).all()
    assert (masked(backend, undisturbed, x) == second).all()


def test_a_mask_depends_on_seed_and_layer_and_not_on_the_group(backend):
    x = np.ones((len(SEEDS), 40, 5))
    together = masked(backend, Dropout(0.5, SEEDS, 2, backend), x)
    for r, seed in enumerate(SEEDS):
        alone = masked(backend, Dropout(0.5, [seed], 2, backend), x[:1])
        assert (alone[0] == together[r]).all()
    shuffled = masked(backend, Dropout(0.5, SEEDS[::-1], 2, backend), x)
    assert (shuffled == together[::-1]).all()
    deeper = masked(backend, Dropout(0.5, SEEDS, 3, backend), x)
    for a, b in ((together[0], together[1]), (together[0], deeper[0])):
        assert 0.3 < (a == b).mean() < 0.7


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_dropped_units_is_the_rate(backend, rate):
    kept = masked(backend, Dropout(rate, [1], 1, backend), np.ones((1, 200, 200)))
    assert abs(1 - kept.mean() - rate) < 5 * (rate * (1 - rate)) ** 0.5 / 200


def test_gradient_of_dropout(backend, rng):
    layer = Dropout(0.4, SEEDS, 1, backend)
    x = backend.asarray(rng.standard_normal((len(SEEDS), N, D)))
    _, cache = layer.forward(x, training=True, track=False)
    check_gradient(
        lambda x: layer.forward(x, training=True, track=False)[0],
        lambda dy: [layer.backward(dy, cache, need_dx=True)[0]],
        (x,),
        rng=rng,
    )


# Ghost batches ------------------------------------------------------------------------------------

GHOST, GROUPS = 4, 3


def ghost_input(rng, n=GHOST * GROUPS, replicas=R):
    """Of groups that differ in mean and spread, so that it matters by which one normalises."""
    group = np.arange(n)[:, None] // GHOST
    return rng.standard_normal((replicas, n, D)) * (group + 1) + 3 * group


def shaken(layer, backend, rng):
    """gamma and beta off 1 and 0."""
    for array in layer.params.values():
        array += backend.asarray(rng.uniform(-0.5, 0.5, array.shape).astype(str(array.dtype)))
    return layer


def by_groups(x):
    """Host array (R, N, D) -> (R, groups, ghost, D)."""
    return x.reshape(len(x), -1, GHOST, x.shape[2])


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_ghost_batch_has_its_own_statistics(
    backend, rng, oracle, dtype, learnable, correction
):
    options = {"eps": 0.01, "correction": correction, "learnable": learnable, "ghost": GHOST}
    layer = shaken(GhostBatchNorm(R, D, backend, dtype, **options), backend, rng)
    x, dy = (a.astype(dtype) for a in (ghost_input(rng), rng.standard_normal((R, 12, D))))
    y, cache = layer.forward(backend.asarray(x), training=True, track=False)
    dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
    assert y.shape == dx.shape == x.shape
    assert y.dtype == dx.dtype == dtype
    assert sorted(gradients) == sorted(layer.params)
    gamma, beta = (
        backend.to_host(layer.params[name])[:, None] if learnable else None
        for name in ("gamma", "beta")
    )
    right = oracle.batch_norm(
        by_groups(x), gamma, beta, by_groups(dy), eps=0.01, correction=correction
    )
    near = oracle.tolerance(dtype, GHOST * GROUPS)
    for name, found in (("y", y), ("dx", dx)):
        expected, scale = getattr(right, name).reshape(x.shape), right.scale[name]
        np.testing.assert_allclose(backend.to_host(found), expected, rtol=0, atol=near * scale)
    for name, gradient in gradients.items():
        assert gradient.dtype == dtype
        scale = GROUPS * right.scale[f"d{name}"]
        expected = getattr(right, f"d{name}").sum(axis=1)
        np.testing.assert_allclose(backend.to_host(gradient), expected, rtol=0, atol=near * scale)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid"])
def test_ghost_batches_are_separate_batch_norms_whatever_activation_follows(
    backend, same_bits, rng, activation
):
    layer = shaken(GhostBatchNorm(R, D, backend, "float64", ghost=GHOST), backend, rng)
    x, dy = (backend.asarray(a) for a in (ghost_input(rng), rng.standard_normal((R, 12, D))))
    y, cache = layer.forward(x, training=True, track=True, activation=activation)
    dx, gradients = layer.backward(dy, cache, need_dx=True)
    totals = {"gamma": 0, "beta": 0}
    for group in range(GROUPS):
        rows = slice(group * GHOST, (group + 1) * GHOST)
        one = BatchNorm(R, D, backend, "float64")
        one.params = layer.params
        y_one, one_cache = one.forward(
            x[:, rows].copy(), training=True, track=False, activation=activation
        )
        dx_one, of_one = one.backward(dy[:, rows].copy(), one_cache, need_dx=True)
        same_bits(y_one, y[:, rows])
        same_bits(dx_one, dx[:, rows])
        totals = {name: totals[name] + of_one[name] for name in totals}
    for name, total in totals.items():
        np.testing.assert_allclose(
            backend.to_host(gradients[name]), backend.to_host(total), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("activation", ["linear", "tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("correction", [0, 1])
def test_gradient_of_ghost_batch_norm(backend, rng, correction, activation):
    options = {"eps": 0.1, "correction": correction, "ghost": GHOST}
    layer = shaken(GhostBatchNorm(R, D, backend, "float64", **options), backend, rng)
    x = backend.asarray(rng.standard_normal((R, 12, D)))
    gamma, beta = layer.params.values()

    def forward(x, gamma, beta):
        layer.params = {"gamma": gamma, "beta": beta}
        return layer.forward(x, training=True, track=False, activation=activation)

    def backward(dy):
        dx, of_params = layer.backward(dy, forward(x, gamma, beta)[1], need_dx=True)
        return [dx, of_params["gamma"], of_params["beta"]]

    check_gradient(
        lambda *inputs: forward(*inputs)[0], backward, (x, gamma, beta), rng=rng, eps=1e-5
    )


@pytest.mark.parametrize("momentum", [0.1, 1.0, (0.1, 0.75)], ids=str)
@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1])
def test_running_statistics_of_ghost_batches_follow_their_means(
    backend, rng, correction, average, momentum
):
    options = {"average": average, "correction": correction, "initial_spread": 2.0}
    layer = GhostBatchNorm(R, D, backend, "float64", ghost=GHOST, momentum=momentum, **options)
    mean, spread = np.zeros((R, D)), np.full((R, D), 2.0)
    a = np.broadcast_to(np.reshape(momentum, (-1, 1)), (R, 1))
    for step in range(3):
        x = ghost_input(rng) + step
        layer.forward(backend.asarray(x), training=True, track=True)
        groups = by_groups(x)
        new = groups.var(axis=2, ddof=1)
        if average == "std":
            new = groups.std(axis=2, ddof=correction)  # of what normalises
        mean += a * (groups.mean(axis=2).mean(axis=1) - mean)
        spread += a * (new.mean(axis=1) - spread)
    var = spread**2 if average == "std" else spread
    np.testing.assert_allclose(backend.to_host(layer.running_mean), mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(backend.to_host(layer.running_var), var, rtol=1e-12)
    # They are what inference uses, for whom any number of examples will do.
    x = rng.standard_normal((R, 5, D))
    y, cache = layer.forward(backend.asarray(x), training=False, track=True)
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    assert cache is None
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(backend.to_host(layer.running_mean), mean, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("training", "track"), [(True, False), (False, True), (False, False)])
def test_only_a_tracked_training_pass_changes_the_state_of_ghost_batch_norm(
    backend, rng, training, track
):
    layer = GhostBatchNorm(R, D, backend, "float32", ghost=GHOST)
    first, second = (backend.asarray(ghost_input(rng), "float32") for _ in "12")
    layer.forward(first, training=True, track=True)
    assert layer.running_mean.dtype == layer.running_spread.dtype == np.float32
    state = [backend.to_host(a).copy() for a in (layer.running_mean, layer.running_spread)]
    assert state[0].any()
    layer.forward(second, training=training, track=track)
    for array, before in zip((layer.running_mean, layer.running_spread), state, strict=True):
        assert backend.to_host(array).tobytes() == before.tobytes()


@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_ghost_batch_is_batch_norm(backend, same_bits, rng, dtype, correction, average):
    options = {"correction": correction, "average": average, "initial_beta": 0.5}
    ghost = GhostBatchNorm(R, D, backend, dtype, ghost=12, **options)
    plain = BatchNorm(R, D, backend, dtype, **options)
    near = 1e-5 if dtype == "float32" else 1e-13
    for _ in range(3):
        x, dy = (backend.asarray(a.astype(dtype)) for a in (ghost_input(rng), ghost_input(rng)))
        (y, cache), (right, right_cache) = (
            layer.forward(x, training=True, track=True, activation="tanh")
            for layer in (ghost, plain)
        )
        same_bits(y, right)
        found, expected = (
            layer.backward(dy, of_layer, need_dx=True)
            for layer, of_layer in ((ghost, cache), (plain, right_cache))
        )
        same_bits(found[0], expected[0])
        for name in ("gamma", "beta"):
            same_bits(found[1][name], expected[1][name])
    for name in ("running_mean", "running_spread"):
        one, other = (backend.to_host(getattr(layer, name)) for layer in (ghost, plain))
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=near, atol=near)


@pytest.mark.parametrize("examples", [1, 3, 10, 13])
def test_a_batch_that_ghost_batches_do_not_fill_is_refused(backend, examples):
    layer = GhostBatchNorm(R, D, backend, "float64", ghost=GHOST)
    x = backend.asarray(np.zeros((R, examples, D)))
    text = rf"x has a batch of {examples}; expected a multiple of norm\.ghost \(4\)"
    for track in (True, False):
        with pytest.raises(ArgumentError, match=f"^{text}$"):
            layer.forward(x, training=True, track=track)
    layer.forward(x, training=False, track=False)


@pytest.mark.parametrize("learnable", [True, False])
def test_ghost_batches_and_replicas_do_not_mix(backend, rng, learnable):
    layer = GhostBatchNorm(R, D, backend, "float64", ghost=GHOST, learnable=learnable)
    x, dy = ghost_input(rng), rng.standard_normal((R, 12, D))

    def pass_through(x):
        y, cache = layer.forward(backend.asarray(x), training=True, track=False)
        dx, _ = layer.backward(backend.asarray(dy), cache, need_dx=True)
        return [backend.to_host(a) for a in (y, dx)]

    moved = x.copy()
    moved[1, GHOST : 2 * GHOST] *= rng.uniform(2, 3, (GHOST, D))  # the second group of the second
    for before, after in zip(pass_through(x), pass_through(moved), strict=True):
        changed = (by_groups(before) != by_groups(after)).any(axis=(2, 3))
        assert changed.tolist() == [[False] * 3, [False, True, False]]


# One number a replica -----------------------------------------------------------------------------

NUMBERS = {
    "eps": (1e-5, 0.0, 0.3),
    "momentum": (0.1, 1.0, 0.25),
    "initial_spread": (1.0, 0.0, 4.0),
    "initial_beta": (0.0, 1.0, -0.5),
}
MANY = len(NUMBERS["eps"])


@pytest.mark.parametrize("names", [*[[n] for n in NUMBERS], [*NUMBERS], []], ids=str)
@pytest.mark.parametrize("average", ["var", "std"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_batch_norm_may_differ_between_replicas(
    backend, same_bits, rng, dtype, average, names
):
    chosen = {name: NUMBERS[name] for name in names}
    options = {"average": average, "correction": 1}
    x, dy = (backend.asarray(a.astype(dtype)) for a in rng.standard_normal((2, MANY, N, D)))
    for r in range(MANY):
        one = BatchNorm(
            1, D, backend, dtype, **options, **{name: chosen[name][r] for name in names}
        )
        here = slice(r, r + 1)
        many = BatchNorm(MANY, D, backend, dtype, **options, **chosen)
        for step in range(3):
            (y, cache), (alone, alone_cache) = (
                layer.forward(part, training=True, track=True)
                for layer, part in ((many, x * (step + 1)), (one, x[here] * (step + 1)))
            )
            same_bits(y[here], alone)
            grads = [
                layer.backward(of_dy, of_cache, need_dx=True)
                for layer, of_dy, of_cache in ((many, dy, cache), (one, dy[here], alone_cache))
            ]
            same_bits(grads[0][0][here], grads[1][0])
            for name in ("gamma", "beta"):
                same_bits(grads[0][1][name][here], grads[1][1][name])
        for name in ("running_mean", "running_spread", "running_var"):
            assert getattr(many, name).dtype == dtype
            same_bits(getattr(many, name)[here], getattr(one, name))
        for name in ("gamma", "beta"):
            same_bits(many.params[name][here], one.params[name])
        assert many.params["beta"].shape == many.running_spread.shape == (MANY, D)
        same_bits(
            many.forward(x, training=False, track=False)[0][here],
            one.forward(x[here], training=False, track=False)[0],
        )


@pytest.mark.parametrize("names", [*[[n] for n in NUMBERS], [*NUMBERS], []], ids=str)
@pytest.mark.parametrize(("dtype", "average"), [("float32", "var"), ("float64", "std")])
def test_numbers_of_ghost_batch_norm_may_differ_between_replicas(
    backend, same_bits, rng, dtype, average, names
):
    options = {"average": average, "correction": 1, "ghost": GHOST}
    picked = {name: NUMBERS[name] for name in names}
    many = GhostBatchNorm(MANY, D, backend, dtype, **options, **picked)
    alone = [
        GhostBatchNorm(1, D, backend, dtype, **options, **{n: picked[n][r] for n in names})
        for r in range(MANY)
    ]
    for _ in range(2):
        x, dy = (ghost_input(rng, replicas=MANY).astype(dtype) for _ in "12")
        x, dy = backend.asarray(x), backend.asarray(dy)
        y, cache = many.forward(x, training=True, track=True, activation="tanh")
        dx, gradients = many.backward(dy, cache, need_dx=True)
        for r, one in enumerate(alone):
            here = slice(r, r + 1)
            of_one, one_cache = one.forward(x[here], training=True, track=True, activation="tanh")
            same_bits(y[here], of_one)
            dx_one, of_params = one.backward(dy[here], one_cache, need_dx=True)
            same_bits(dx[here], dx_one)
            for name in gradients:
                same_bits(gradients[name][here], of_params[name])
            for name in ("running_mean", "running_spread"):
                assert getattr(many, name).dtype == dtype
                same_bits(getattr(many, name)[here], getattr(one, name))


@pytest.mark.parametrize("name", NUMBERS)
def test_as_many_numbers_as_replicas(backend, name):
    BatchNorm(3, 5, backend, "float32", **{name: [0.5]})  # one for all
    for count in (2, 4, 5, 0):
        with pytest.raises(ValueError):
            BatchNorm(3, 5, backend, "float32", **{name: [0.25, 0.5, 1.0, 0.1, 0.2][:count]})


def test_rates_of_dropout_may_differ_between_replicas(backend, same_bits, rng):
    seeds, rates = (4, 0, 4, 9), (0.2, 0.5, 0.9, 0.0)
    many = Dropout(rates, seeds, 3, backend)
    x, dy = (backend.asarray(a.astype("float32")) for a in rng.uniform(1, 2, (2, 4, N, D)))
    for track in (True, False, True):
        y, cache = many.forward(x, training=True, track=track)
        dx, _ = many.backward(dy, cache, need_dx=True)
        for r, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
            alone = Dropout(rate, [seed], 3, backend)
            alone._passes = many._passes - track
            here = slice(r, r + 1)
            y_alone, alone_cache = alone.forward(x[here], training=True, track=track)
            same_bits(y[here], y_alone)
            same_bits(dx[here], alone.backward(dy[here], alone_cache, need_dx=True)[0])


def test_replicas_of_one_seed_drop_by_the_same_draw(backend):
    x = np.ones((4, 40, 5))
    layer = Dropout([0.2, 0.5, 0.5, 0.8], [7] * 4, 1, backend)
    least, one, twin, most = masked(backend, layer, x)
    assert (one == twin).all()
    assert (least >= one).all()
    assert (one >= most).all()
    assert least.sum() > one.sum() > most.sum()


def test_a_rate_for_each_replica(backend):
    for rates in ([0.1, 0.2], [0.1, 0.2, 0.3, 0.4]):
        with pytest.raises(ValueError):
            Dropout(rates, SEEDS, 1, backend)


# Some of the replicas -----------------------------------------------------------------------------

SOME = [slice(0, 1), slice(1, 3), slice(2, 3), slice(0, 3)]


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_of_batch_norm_is_a_view(backend, same_bits, rng, some):
    whole = BatchNorm(MANY, D, backend, "float64", **NUMBERS)
    part = whole.select(some)
    x = backend.asarray(rng.standard_normal((MANY, N, D)))
    does_as_the_whole(part, whole, x, some, same_bits)
    for name in ("running_mean", "running_spread"):
        getattr(part, name)[...] = 5
    part.params["gamma"][...] = 6
    for array, value in ((whole.running_mean, 5), (whole.running_var, 5)):
        assert [row[0] == value for row in backend.to_host(array)] == chosen(some)
    assert [row[0] == 6 for row in backend.to_host(whole.params["gamma"])] == chosen(some)
    part.forward(x[some] + 9, training=True, track=True)
    assert [row[0] == 5 for row in backend.to_host(whole.running_mean)] == [False] * MANY


def does_as_the_whole(part, whole, x, some, same_bits):
    for training in (True, False):  # the first pass moves the state of the whole
        y, cache = whole.forward(x, training=training, track=True)
        y_part, part_cache = part.forward(x[some], training=training, track=False)
        same_bits(y_part, y[some])
        if training:
            dx, gradients = whole.backward(x, cache, need_dx=True)
            dx_part, of_part = part.backward(x[some], part_cache, need_dx=True)
            same_bits(dx_part, dx[some])
            for name in gradients:
                same_bits(of_part[name], gradients[name][some])


def chosen(some):
    return [r in range(MANY)[some] for r in range(MANY)]


def test_a_part_of_batch_norm_without_parameters(backend):
    assert BatchNorm(MANY, D, backend, "float64", learnable=False).select(slice(1, 2)).params == {}


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_of_ghost_batch_norm_is_a_view(backend, same_bits, rng, some):
    whole = GhostBatchNorm(MANY, D, backend, "float64", ghost=2, **NUMBERS)
    part = whole.select(some)
    x = backend.asarray(rng.standard_normal((MANY, N, D)))
    does_as_the_whole(part, whole, x, some, same_bits)
    whole.running_mean[...] = 5
    part.params["gamma"][...] = 6
    assert [row[0] == 6 for row in backend.to_host(whole.params["gamma"])] == chosen(some)
    part.forward(x[some] + 9, training=True, track=True)
    moved = [row[0] != 5 for row in backend.to_host(whole.running_mean)]
    assert moved == chosen(some)


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_of_an_affine_map_is_a_view(backend, same_bits, rng, some):
    weight, bias = (backend.asarray(rng.standard_normal(s)) for s in ((MANY, D, 4), (MANY, 4)))
    whole = Affine(weight, bias)
    x, dy = (backend.asarray(rng.standard_normal((MANY, N, d))) for d in (D, 4))
    part = whole.select(some)
    y, cache = whole.forward(x, training=True, track=True)
    dx, gradients = whole.backward(dy, cache, need_dx=True)
    kept = {name: backend.to_host(g).copy() for name, g in gradients.items()}
    y_part, part_cache = part.forward(x[some], training=True, track=True)
    dx_part, of_part = part.backward(dy[some] * 1, part_cache, need_dx=True)
    same_bits(y_part, y[some])
    same_bits(dx_part, dx[some])
    for name, gradient in of_part.items():
        same_bits(gradient, gradients[name][some])
        gradient *= float("nan")  # in a buffer of its own
        assert backend.to_host(gradients[name]).tobytes() == kept[name].tobytes()
    part.params["weight"][...] = 5
    part.params["bias"][...] = 6
    assert [w[0, 0] == 5 for w in backend.to_host(whole.params["weight"])] == chosen(some)
    assert [b[0] == 6 for b in backend.to_host(whole.params["bias"])] == chosen(some)


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_of_dropout_has_its_masks_and_counts_for_itself(backend, same_bits, some):
    whole = Dropout([0.2, 0.5, 0.8], SEEDS, 1, backend)
    x = np.ones((MANY, 40, 5))
    masked(backend, whole, x)
    part = whole.select(some)
    same = masked(backend, whole, x, track=False)[some]
    assert (masked(backend, part, x[some], track=False) == same).all()
    one, two = (masked(backend, part, x[some]) for _ in "12")
    assert (one != two).any()
    assert (masked(backend, whole, x)[some] == one).all()


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "linear"])
def test_a_part_of_an_activation_is_itself(name):
    layer = Activation(name)
    assert layer.select(slice(1, 2)) is layer
