"""Probes of activations against the same thing worked out from the parameters."""

from statistics import fmean

import numpy as np
import pytest

from gpubn.experiments import array_statistics
from gpubn.experiments.probes.activations import Histograms, Percentiles, Saturation, UnitMeans
from gpubn.nn.layers import Activation
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes import by_hand


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_saturation(monkeypatch, placement, activation):
    monkeypatch.setattr(array_statistics, "SATURATED", 0.5)
    network = by_hand.build(placement, activation=activation)
    network.model.layers[0].params["bias"][1] -= 9  # units that are dead for every example
    flat = {
        "relu": lambda y: y == 0,
        "tanh": lambda y: abs(y) > 0.5,
        "sigmoid": lambda y: (y < 0.25) | (y > 0.75),
    }[activation]
    expected = {}
    for r in range(2):
        for layer, (_, y) in enumerate(by_hand.of_kind(by_hand.seen(network, r), Activation), 1):
            shut = flat(y)
            expected.setdefault(("saturated_share", layer), []).append(shut.sum() / shut.size)
            dead = fmean(all(unit) for unit in shut.T)
            expected.setdefault(("dead_share", layer), []).append(dead)
    assert expected["saturated_share", 1][0] > 0
    if placement != "before":
        assert expected["dead_share", 1][1] > 0
    by_hand.check(by_hand.measured(Saturation(3), network, 4), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_percentiles(placement):
    network, expected = by_hand.build(placement), {}
    for r in range(2):
        for layer, (_, y) in enumerate(by_hand.of_kind(by_hand.seen(network, r), Activation), 1):
            ordered = sorted(y.ravel())
            for q in (15, 50, 85):
                whole, share = divmod(q / 100 * (len(ordered) - 1), 1)
                low, high = ordered[int(whole) : int(whole) + 2]
                metric = f"activation_percentile[{q}]", layer
                expected.setdefault(metric, []).append(low + share * (high - low))
    by_hand.check(by_hand.measured(Percentiles(3), network, 4), expected)


def test_unit_means_are_those_of_the_first_seed_alone():
    network = by_hand.build("after")

    def bars():
        found = by_hand.measured(UnitMeans(), network)
        return {key: found[key] for key in found if key[0].startswith("unit_mean[")}

    assert set(bars()) == {(f"unit_mean[{i}]", layer) for i in range(4) for layer in (1, 2)}
    for (metric, layer), by_seed in bars().items():
        _, y = by_hand.of_kind(by_hand.seen(network, 0), Activation)[layer - 1]
        assert by_seed == {2: pytest.approx(fmean(y[:, int(metric[10])]), rel=1e-12)}
    network.config.first_seed = 3  # in another group
    assert bars() == {}


def test_pinned_units_have_a_mean_above_09_or_099():
    network = by_hand.build("none", depth=1)
    first = network.model.layers[0]
    first.params["weight"][...] = 0
    means = [[0.9899, 0.9901, 0.995, -0.9999], [0.999, 0.0, 0.9001, 0.8999]]
    first.params["bias"][...] = np.arctanh(means)
    expected = {("pinned_share[0.9]", 1): [0.75, 0.5], ("pinned_share[0.99]", 1): [0.5, 0.25]}
    found = by_hand.measured(UnitMeans(), network)
    assert {key for key in found if key[0].startswith("pinned")} == set(expected)
    by_hand.check({key: found[key] for key in expected}, expected)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_densities(placement, activation):
    network = by_hand.build(placement, activation=activation, width=6)
    network.model.layers[0].params["weight"][...] *= 8  # some lie beyond the edges
    network.config.seeds = 5  # two of five: the other group has three
    found = by_hand.measured(Histograms(every=4), network)
    for place, at, reach in (("pre", 0, 6.0), ("post", 1, 1.0)):
        pairs = [by_hand.of_kind(by_hand.seen(network, r), Activation)[0] for r in range(2)]
        pooled = np.concatenate([pair[at].ravel().clip(-reach, reach) for pair in pairs])
        width = 2 * reach / 60
        expected = {}
        for i in range(60):
            low, high = -reach + i * width, -reach + (i + 1) * width
            inside = (pooled >= low - 1e-12) & ((pooled < high - 1e-12) | (i == 59))
            share = inside.sum() / pooled.size * 2 / 5
            expected[f"{place}_activation_hist[{(low + high) / 2:+.3f}]", 1] = share
        part = {key: by_seed[None] for key, by_seed in found.items() if key[0].startswith(place)}
        assert part == pytest.approx(expected, abs=1e-12)
        assert len(part) == 60
    assert {seed for by_seed in found.values() for seed in by_seed} == {None}
    assert sorted(Histograms(every=4).at(network.config.optim)) == [0, 4, 8]
