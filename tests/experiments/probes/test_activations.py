"""Probes of activations against the same thing worked out from the parameters."""

from statistics import fmean

import numpy as np
import pytest

from gpubn.data import Dataset
from gpubn.experiments import array_statistics
from gpubn.experiments.probes.activations import Histograms, Percentiles, Saturation, UnitMeans
from gpubn.nn.layers import Activation
from tests.experiments.probes.by_hand import (
    CLASSES,
    PLACEMENTS,
    X,
    Y,
    build,
    check,
    each,
    examples,
    forward,
    measured,
    of_kind,
    own,
    seen,
)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_saturation(monkeypatch, placement, activation):
    monkeypatch.setattr(array_statistics, "SATURATED", 0.5)
    network = build(placement, activation=activation)
    network.model.layers[0].params["bias"][1] -= 9  # units that are dead for every example
    flat = {
        "relu": lambda y: y == 0,
        "tanh": lambda y: abs(y) > 0.5,
        "sigmoid": lambda y: (y < 0.25) | (y > 0.75),
    }[activation]
    expected = {}
    for layer in (1, 2):
        of = lambda r, layer=layer: of_kind(seen(network, r), Activation)[layer - 1][1]  # noqa: E731
        shut = each(network, lambda r, of=of: flat(of(r)))
        expected["saturated_share", layer] = [s.sum() / s.size for s in shut]
        expected["dead_share", layer] = [fmean(all(unit) for unit in s.T) for s in shut]
    assert expected["saturated_share", 1][0] > 0
    if placement != "before":
        assert expected["dead_share", 1][1] > 0
    check(measured(Saturation(3), network, 4), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_percentiles(placement):
    network = build(placement)
    expected = {}
    for layer in (1, 2):
        for q in (15, 50, 85):
            expected[f"activation_percentile[{q}]", layer] = []
            for r in range(2):
                _, y = of_kind(seen(network, r), Activation)[layer - 1]
                ordered = sorted(y.ravel())
                place = q / 100 * (len(ordered) - 1)
                low, share = int(place), place % 1
                value = ordered[low] + share * (ordered[low + 1] - ordered[low])
                expected[f"activation_percentile[{q}]", layer].append(value)
    check(measured(Percentiles(3), network, 4), expected)


@pytest.mark.parametrize("sample", [0, 1005])
def test_activations_are_those_of_a_thousand_examples_of_the_seed(sample):
    x, y = examples(1030)
    many = Dataset("many", x[:1010], y[:1010], X, Y, CLASSES)
    network = build("before", depth=1, dataset=many, sample=sample)
    found = measured(UnitMeans(), network)
    _, right = of_kind(forward(network, 0, own(network, 0, count=1000)[0]), Activation)[0]
    _, wrong = of_kind(forward(network, 0, x[:1000]), Activation)[0]
    for unit in range(4):
        mean = found[f"unit_mean[{unit}]", 1][2]
        assert mean == pytest.approx(fmean(right[:, unit]), rel=1e-10)
        assert mean != pytest.approx(fmean(wrong[:, unit]), rel=1e-6)


def bars(network):
    """The unit means that UnitMeans yields, alone."""
    found = measured(UnitMeans(), network)
    return {key: by_seed for key, by_seed in found.items() if key[0].startswith("unit_mean[")}


def test_unit_means_are_those_of_the_first_seed_alone():
    network = build("after")
    assert set(bars(network)) == {(f"unit_mean[{i}]", layer) for i in range(4) for layer in (1, 2)}
    for (metric, layer), by_seed in bars(network).items():
        _, y = of_kind(seen(network, 0), Activation)[layer - 1]
        assert by_seed == {2: pytest.approx(fmean(y[:, int(metric[10])]), rel=1e-12)}
    network.config.first_seed = 5
    assert {seed for by_seed in bars(network).values() for seed in by_seed} == {5}
    network.config.first_seed = 3  # in another group
    assert bars(network) == {}


def test_pinned_units_have_a_mean_above_09_or_099():
    network = build("none", depth=1)
    first = network.model.layers[0]
    first.params["weight"][...] = 0
    means = [[0.9899, 0.9901, 0.995, -0.9999], [0.999, 0.0, 0.9001, 0.8999]]
    first.params["bias"][...] = np.arctanh(means)
    expected = {("pinned_share[0.9]", 1): [0.75, 0.5], ("pinned_share[0.99]", 1): [0.5, 0.25]}
    found = measured(UnitMeans(), network)
    assert {key for key in found if key[0].startswith("pinned")} == set(expected)
    check({key: found[key] for key in expected}, expected)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_densities(placement, activation):
    network = build(placement, activation=activation, model={"width": 6})
    network.model.layers[0].params["weight"][...] *= 8  # some lie beyond the edges
    network.config.seeds = 5  # two of five: the other group has three
    found = measured(Histograms(every=4), network)
    for place, at, reach in (("pre", 0, 6.0), ("post", 1, 1.0)):
        pooled = np.concatenate(
            [
                of_kind(seen(network, r), Activation)[0][at].ravel().clip(-reach, reach)
                for r in range(2)
            ]
        )
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
        assert sum(part.values()) == pytest.approx(2 / 5, rel=1e-12)
    assert {seed for by_seed in found.values() for seed in by_seed} == {None}
    assert sorted(Histograms(every=4).at(network.config.optim)) == [0, 4, 8]
