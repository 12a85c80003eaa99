"""Losses along the way against the same thing worked out from the parameters."""

from math import inf

import numpy as np
import pytest

from gpubn.experiments.probes import (
    generalisation,
)
from gpubn.experiments.probes.base import Network
from gpubn.experiments.probes.generalisation import Generalisation, loss_at
from gpubn.nn.layers import Activation, Affine
from gpubn.nn.norms.batch_norm import BatchNorm
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import EPS, SEEDS, STEPS

PARTS = ("train", "test")


def test_generalisation(monkeypatch):
    monkeypatch.setattr(generalisation, "EVALUATED", 25)
    monkeypatch.setattr(generalisation, "TRAIN_LOSSES", (50.0, 1.2, 1e-9))
    network, probe, path = by_hand.build("before", model={"dropout": 0.3}), Generalisation(2), []
    rng = np.random.default_rng(5)

    def at_rest(r, part):
        own = by_hand.own(network, r, part, 25)
        return by_hand.loss(network, r, *own, training=False)

    weight = network.model.layers[-1].params["weight"]
    start = weight.copy()
    for step in (0, 5, STEPS):
        path.append(
            [by_hand.each(network, lambda r, part=part: at_rest(r, part)) for part in PARTS]
        )
        expected = {("train_loss_path", None): path[-1][0], ("test_loss_path", None): path[-1][1]}
        if step == STEPS:
            train, test = (np.array([p[i] for p in path]) for i in (0, 1))
            for target in (50.0, 1.2, 1e-9):
                at = [loss_at(train[:, r], test[:, r], target) for r in range(2)]
                expected[f"test_loss_at[{target:g}]", None] = at
            expected["best_test_loss", None] = [min(of_seed) for of_seed in test.T]
        by_hand.check(by_hand.measured(probe, network, step), expected)
        weight[...] = start * rng.uniform(0, 0.5)
        weight[...] = 0 if step == 0 else weight
    assert expected["test_loss_at[50]", None] == pytest.approx(path[0][1])
    assert expected["test_loss_at[1e-09]", None] == [inf, inf]


def by_population(network, r, x):
    """Logits of replica r, each batchnorm by the seed's own training examples as they stand."""
    parameters_of = by_hand.parameters(network, r)
    pair = [part.astype(np.float64) for part in (by_hand.own(network, r)[0], x)]
    for layer, p in zip(network.model.layers, parameters_of, strict=True):
        if isinstance(layer, Affine):
            pair = [a @ p["weight"] + p["bias"] for a in pair]
        elif isinstance(layer, Activation):
            pair = [np.tanh(a) for a in pair]
        elif isinstance(layer, BatchNorm):
            mean, var = pair[0].mean(axis=0), pair[0].var(axis=0)
            pair = [(a - mean) / np.sqrt(var + EPS) * p["gamma"] + p["beta"] for a in pair]
    return pair[1]


def nats(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize(
    ("placement", "norm", "model"),
    [
        ("before", {}, {}),
        ("after", {"average": "std", "correction": 1}, {}),
        ("before", {"ghost": 2}, {}),
        ("after", {}, {"dropout": 0.4, "dropout_at": "before_norm"}),
        ("none", {}, {}),
    ],
)
def test_the_population_is_that_of_the_seeds_training_examples(placement, norm, model):
    """Both losses by it, all layers after one another; and the running statistics come back."""
    network, probe = (
        by_hand.build(placement, norm=norm, model=model),
        Generalisation(1, population=True),
    )
    layers = network.model.layers_of(BatchNorm)
    arrays = [(la.running_mean, la.running_spread) for la in layers]
    before, lowest = by_hand.state(network), []
    for step in (0, STEPS):
        found = by_hand.measured(probe, network, step)
        by_part = {
            f"{part}_loss_path": [
                nats(by_population(network, r, x), y)
                for r in range(2)
                for x, y in [by_hand.own(network, r, part)]
            ]
            for part in ("train", "test")
        }
        by_hand.check(
            {key: found[key] for key in found if key[0] in by_part},
            {(name, None): expected for name, expected in by_part.items()},
        )
        lowest.append(by_part["test_loss_path"])
        for layer, (mean, spread) in zip(layers, arrays, strict=True):
            assert layer.running_mean is mean
            assert layer.running_spread is spread
        if step == 0:
            assert by_hand.state(network) == before
            for layer in network.model.layers_of(Affine):
                layer.params["weight"] += 0.3
    best = dict(zip(SEEDS, np.min(lowest, axis=0), strict=True))
    assert found["best_test_loss", None] == pytest.approx(best, rel=1e-9)
    plain = by_hand.measured(Generalisation(1), network, 0)["test_loss_path", None]
    differs = plain != pytest.approx(found["test_loss_path", None], rel=1e-3)
    assert differs == (placement != "none")


def test_the_best_loss_is_the_lowest_on_the_way_or_nan(monkeypatch):
    network, probe = by_hand.build("none"), Generalisation(2)
    path = iter(np.repeat([[3.0, 2.0], [1.5, np.nan], [2.5, 1.0]], 2, axis=0))  # of both parts
    monkeypatch.setattr(Network, "evaluate", lambda self, part, count: (next(path), None))
    for step in (0, 5, STEPS):
        found = by_hand.measured(probe, network, step)
    assert found["best_test_loss", None] == pytest.approx({2: 1.5, 5: np.nan}, nan_ok=True)


@pytest.mark.parametrize(
    ("train", "test", "target", "expected"),
    [
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 1.0, 3.0),  # on a measurement
        ([2.0, 1.0, 0.25], [5.0, 3.0, 1.0], 0.5, 2.0),  # halfway on the logarithm
        ([8.0, 1.0], [4.0, 1.0], 4.0, 3.0),  # a third of the way
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 2.5, 5.0),  # below from the start
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 0.4, inf),
        ([2.0, 0.5, 2.0, 0.25], [5.0, 3.0, 9.0, 1.0], 1.0, 4.0),  # the first crossing counts
        ([np.nan, np.nan], [1.0, 1.0], 1.0, inf),
        ([2.0, np.nan, np.nan], [1.0, 1.0, 1.0], 1.0, inf),
    ],
)
def test_loss_at(train, test, target, expected):
    found = loss_at(np.array(train), np.array(test), target)
    assert type(found) is float
    assert found == pytest.approx(expected, rel=1e-12)
