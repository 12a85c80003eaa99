"""The way out of where training ended: its losses worked out one replica at a time."""

from math import log

import numpy as np
import pytest

from gpubn.experiments.probes import basin
from gpubn.experiments.probes.basin import Basin
from gpubn.nn.layers import Affine
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes.by_hand import build, check, forward, measured, own, parameters


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss(h, weight, bias, labels):
    chosen = softmax(h @ weight + bias)[range(len(labels)), labels]
    return -np.log(chosen).mean()


def descended(h, weight, bias, labels):
    for _ in range(basin.STEPS):
        d = softmax(h @ weight + bias)
        d[range(len(labels)), labels] -= 1
        weight = weight - basin.RATE * h.T @ d / len(labels)
        bias = bias - basin.RATE * d.mean(axis=0)
    return loss(h, weight, bias, labels)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_losses_where_it_ends_below_and_beyond(monkeypatch, placement):
    monkeypatch.setattr(basin, "STEPS", 3)
    network = build(placement)

    def losses(r):
        (x, labels), params = own(network, r), parameters(network, r)
        weight, bias = params[-1]["weight"], params[-1]["bias"]
        h = forward(network, r, x, params)[-1][1]
        guess = h.mean(axis=0) @ weight
        here = loss(h, weight, bias, labels)
        way = [loss(h, (1 - t) * weight, bias + t * guess, labels) for t in basin.WAY]
        after = descended(h, weight, bias, labels)
        for layer, of_layer in zip(network.model.layers[:-1], params, strict=False):
            if isinstance(layer, Affine):
                of_layer["weight"] *= basin.SHRINK
        shrunk = forward(network, r, x, params)[-1][1]
        shares = [np.mean(labels == label) for label in set(labels.tolist())]
        return {
            ("sample_loss", None): here,
            ("label_entropy", None): -sum(share * log(share) for share in shares),
            ("descent_loss", None): after,
            ("path_rise", None): max(0, *(value - here for value in way)),
            ("path_loss", None): descended(shrunk, 0 * weight, bias + guess, labels),
        }

    check(Basin(), network, losses, rtol=1e-7)


def test_where_units_are_pinned_the_way_is_level_and_descent_ends_at_the_entropy():
    network = build("none", depth=1, activation="tanh")
    first, last = network.model.layers_of(Affine)
    first.params["bias"] += 50
    before = last.params["weight"].copy()
    found = measured(Basin(), network)
    for seed in network.seeds:
        assert found["path_rise", None][seed] < 1e-12
        end, least = found["descent_loss", None][seed], found["label_entropy", None][seed]
        assert least - 1e-12 < end < least + 1e-3 < found["sample_loss", None][seed]
    assert (last.params["weight"] == before).all()
