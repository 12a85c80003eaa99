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


def test_generalisation(monkeypatch):
    targets = (50.0, 1.2, 1e-9)
    monkeypatch.setattr(generalisation, "EVALUATED", 25)
    monkeypatch.setattr(generalisation, "TRAIN_LOSSES", targets)
    network, probe = by_hand.build("before", dropout=0.3), Generalisation(2)
    path = {"train": [], "test": []}
    weight = network.model.layers[-1].params["weight"]
    start = weight.copy()
    for step, size in ((0, 1), (5, 0), (STEPS, 0.3)):
        weight[...] = start * size
        for part, losses in path.items():
            examples = [by_hand.own(network, r, part, 25) for r in range(2)]
            losses.append(
                [by_hand.loss(network, r, *own, training=False) for r, own in enumerate(examples)]
            )
        expected = {(f"{part}_loss_path", None): losses[-1] for part, losses in path.items()}
        if step == STEPS:
            train, test = (np.transpose(losses) for losses in path.values())
            for target in targets:
                at = [loss_at(train[r], test[r], target) for r in range(2)]
                expected[f"test_loss_at[{target:g}]", None] = at
            expected["best_test_loss", None] = test.min(axis=1)
        by_hand.check(by_hand.measured(probe, network, step), expected)
    assert expected["test_loss_at[50]", None] == pytest.approx(path["test"][0])
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


@pytest.mark.parametrize(
    ("placement", "options"),
    [
        ("before", {}),
        ("after", {"average": "std", "correction": 1}),
        ("before", {"ghost": 2}),
        ("after", {"dropout": 0.4, "dropout_at": "before_norm"}),
        ("none", {}),
    ],
)
def test_the_population_is_that_of_the_seeds_training_examples(placement, options):
    """Both losses by it, all layers after one another; and the running statistics come back."""
    network, probe = by_hand.build(placement, **options), Generalisation(1, population=True)
    layers = network.model.layers_of(BatchNorm)
    arrays = [(la.running_mean, la.running_spread) for la in layers]
    before, lowest = by_hand.state(network), []
    for step in (0, STEPS):
        found = by_hand.measured(probe, network, step)
        expected = {"train_loss_path": [], "test_loss_path": []}
        for metric, losses in expected.items():
            for r in range(2):
                x, y = by_hand.own(network, r, metric.split("_")[0])
                losses.append(by_hand.nats(by_population(network, r, x), y))
            right = dict(zip(SEEDS, losses, strict=True))
            assert found[metric, None] == pytest.approx(right, rel=1e-9)
        lowest.append(expected["test_loss_path"])
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
        ([8.0, 1.0], [4.0, 1.0], 4.0, 3.0),  # a third of the way
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 2.5, 5.0),  # below from the start
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 0.4, inf),
        ([2.0, 0.5, 2.0, 0.25], [5.0, 3.0, 9.0, 1.0], 1.0, 4.0),  # the first crossing counts
        ([np.nan, np.nan], [1.0, 1.0], 1.0, inf),
    ],
)
def test_loss_at(train, test, target, expected):
    found = loss_at(np.array(train), np.array(test), target)
    assert type(found) is float
    assert found == pytest.approx(expected, rel=1e-12)
