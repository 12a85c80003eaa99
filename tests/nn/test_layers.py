"""Layers: buffers of the affine map, and dropout's masks."""

import numpy as np
import pytest

from gpubn.nn.layers import Affine, Dropout
from gpubn.nn.rng import generator

R, N, D, H = 3, 6, 3, 4
SOME = pytest.mark.parametrize("some", [slice(0, 1), slice(1, 3), slice(0, 3)], ids=str)


def train_pass(layer, x, dy, **options):
    """y, dx and the gradients of a training pass."""
    y, cache = layer.forward(x, training=True, track=True)
    return y, *layer.backward(dy, cache, need_dx=True, **options)


def affine_maps(backend, rng, count):
    """Layers and their host parameters."""
    hosts = [(rng.standard_normal((R, D, H)), rng.standard_normal((R, H))) for _ in range(count)]
    return hosts, [Affine(*(backend.asarray(a.copy()) for a in host)) for host in hosts]


def test_the_gradients_of_several_steps_and_layers_are_each_right(backend, rng):
    # One buffer of each layer serves all steps, and the optimiser scales what is in it.
    hosts, layers = affine_maps(backend, rng, 2)
    for _ in range(3):
        x, dy = rng.standard_normal((R, N, D)), rng.standard_normal((R, N, H))
        found = [train_pass(la, backend.asarray(x), backend.asarray(dy)) for la in layers]
        for (weight, bias), layer, (y, dx, gradients) in zip(hosts, layers, found, strict=True):
            dweight = x.swapaxes(1, 2) @ dy
            for array, right in (
                (y, x @ weight + bias[:, None]),
                (dx, dy @ weight.swapaxes(1, 2)),
                (gradients["weight"], dweight),
                (gradients["bias"], dy.sum(axis=1)),
            ):
                near = {"rtol": 1e-13, "atol": 1e-13}
                np.testing.assert_allclose(backend.to_host(array), right, **near)
            assert backend.to_host(layer.params["weight"]).tobytes() == weight.tobytes()
            gradients["weight"] *= float("nan")
    _, cache = layers[0].forward(backend.asarray(x), training=True, track=True)
    assert layers[0].backward(backend.asarray(dy), cache, need_dx=False)[0] is None


@SOME
def test_a_part_of_an_affine_map_is_a_view_with_a_buffer_of_its_own(backend, same_bits, rng, some):
    _, (whole,) = affine_maps(backend, rng, 1)
    x, dy = (backend.asarray(rng.standard_normal((R, N, d))) for d in (D, H))
    part = whole.select(some)
    y, dx, gradients = train_pass(whole, x, dy)
    kept = {name: backend.to_host(g).copy() for name, g in gradients.items()}
    y_part, dx_part, of_part = train_pass(part, x[some], dy[some] * 1)
    same_bits(y_part, y[some])
    same_bits(dx_part, dx[some])
    for name, gradient in of_part.items():
        same_bits(gradient, gradients[name][some])
        gradient *= float("nan")
        assert backend.to_host(gradients[name]).tobytes() == kept[name].tobytes()
        part.params[name][...] = 5
        found = backend.to_host(whole.params[name])
        assert [(of_r == 5).all() for of_r in found] == [r in range(R)[some] for r in range(R)]


# Dropout ------------------------------------------------------------------------------------------

SEEDS = (4, 0, 9)
ONES = np.ones((R, 40, 5))


def masked(backend, layer, x=ONES, *, track=True):
    """Where a training pass keeps something."""
    y, _ = layer.forward(backend.asarray(x), training=True, track=track)
    return backend.to_host(y) != 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("seeds", "rates"), [(SEEDS, [0.2] * 3), ((7, 7, 4), (0.9, 0.2, 0.0))], ids=str
)
def test_dropout_keeps_what_seed_layer_and_pass_say_and_scales_it(
    backend, rng, seeds, rates, dtype
):
    layer = Dropout(rates[0] if len({*rates}) == 1 else rates, seeds, 3, backend)
    x, dy = rng.uniform(1, 2, (2, R, N, D)).astype(dtype)
    for key in (0, "untracked", 1, "untracked", 2):
        y, cache = layer.forward(backend.asarray(x), training=True, track=key != "untracked")
        dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
        inferred, nothing = layer.forward(backend.asarray(x), training=False, track=True)
        assert nothing is None
        assert backend.to_host(inferred).tobytes() == x.tobytes()
        assert gradients == layer.params == {}
        for found, given in ((y, x), (dx, dy)):
            assert found.dtype == dtype
            for r, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
                draws = generator(seed, "dropout", 3, key).random((N, D), np.float32)
                right = np.where(draws >= rate, given[r].astype(np.float64) / (1 - rate), 0)
                np.testing.assert_allclose(backend.to_host(found)[r], right, rtol=1e-6)


@pytest.mark.parametrize("rates", [[0.1, 0.2], [0.1, 0.2, 0.3, 0.4]], ids=str)
def test_there_is_a_rate_for_each_replica(backend, rates):
    with pytest.raises(ValueError):
        Dropout(rates, SEEDS, 1, backend)


@SOME
def test_a_part_of_dropout_has_its_masks_and_counts_for_itself(backend, some):
    whole = Dropout([0.2, 0.5, 0.8], SEEDS, 1, backend)
    masked(backend, whole)
    part = whole.select(some)
    same = masked(backend, whole, track=False)[some]
    assert (masked(backend, part, ONES[some], track=False) == same).all()
    one, two = (masked(backend, part, ONES[some]) for _ in "12")
    assert (one != two).any()
    assert (masked(backend, whole)[some] == one).all()
