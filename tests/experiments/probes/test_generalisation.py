"""Losses along the way against the same thing worked out from the parameters."""

from math import inf

import numpy as np
import pytest

from gpubn.experiments.probes import generalisation
from gpubn.experiments.probes.generalisation import Generalisation, loss_at
from gpubn.nn.layers import Affine
from gpubn.nn.norms.batch_norm import BatchNorm
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import SEEDS, STEPS


def test_losses_of_both_parts_on_the_way_and_what_the_end_makes_of_them(monkeypatch):
    targets = (50.0, 1.2, 1e-9)
    monkeypatch.setattr(generalisation, "EVALUATED", 25)
    monkeypatch.setattr(generalisation, "TRAIN_LOSSES", targets)
    network, probe = by_hand.build("before", dropout=0.3), Generalisation(2)
    weight = network.model.layers[-1].params["weight"]
    start, paths = weight.copy(), {(part, r): [] for part in ("train", "test") for r in range(2)}

    def losses(r):
        found = {}
        for part in ("train", "test"):
            x, y = by_hand.own(network, r, part, 25)
            paths[part, r].append(by_hand.loss(network, r, x, y, training=False))
            found[f"{part}_loss_path", None] = paths[part, r][-1]
        if step == STEPS:
            train, test = (np.array(paths[part, r]) for part in ("train", "test"))
            found |= {(f"test_loss_at[{t:g}]", None): loss_at(train, test, t) for t in targets}
            found["best_test_loss", None] = min(test)
        return found

    for step, size in ((0, 1), (5, 0), (STEPS, 0.3)):
        weight[...] = start * size
        one, _ = by_hand.check(probe, network, losses, step)
    assert one["test_loss_at[50]", None] == pytest.approx(paths["test", 0][0])
    assert one["test_loss_at[1e-09]", None] == inf


@pytest.mark.parametrize(
    ("placement", "options"),
    [
        ("before", {}),
        ("after", {"average": "std", "correction": 1}),
        ("before", {"ghost": 2}),
        ("after", {"dropout": 0.4, "dropout_at": "before_norm"}),
        ("none", {}),
        ("before", {"residual": True, "depth": 3}),
    ],
)
def test_the_population_is_that_of_the_seeds_training_examples(placement, options):
    """Both losses by it, all layers after one another; and the running statistics come back."""
    network, probe = by_hand.build(placement, **options), Generalisation(1, population=True)
    averages = [dict(layer.running) for layer in network.model.layers_of(BatchNorm)]
    for step in (0, STEPS):
        before = by_hand.state(network)
        found = by_hand.measured(probe, network, step)
        assert by_hand.state(network) == before
        for r, seed in enumerate(SEEDS):
            population, _ = by_hand.own(network, r)
            for part in ("train", "test"):
                x, y = by_hand.own(network, r, part)
                both, n = np.concatenate([population, x]), len(population)
                passes = by_hand.forward(network, r, both, training=False, population=n)
                loss = by_hand.nats(passes[-1][2][n:], y)
                assert found[f"{part}_loss_path", None][seed] == pytest.approx(loss, rel=1e-9)
        for layer, had in zip(network.model.layers_of(BatchNorm), averages, strict=True):
            assert all(layer.running[name] is array for name, array in had.items())
        for layer in network.model.layers_of(Affine):
            layer.params["weight"] += 0.3


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
    assert loss_at(np.array(train), np.array(test), target) == pytest.approx(expected, rel=1e-12)
