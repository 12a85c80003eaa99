"""Probes of the normalisation, and of what is normal, against the parameters worked out by hand."""

from statistics import fmean, pvariance

import numpy as np
import pytest
import scipy.stats

from gpubn.experiments.probes.activations import Normality
from gpubn.experiments.probes.normalisation import (
    IdentityDistance,
    ScaleShiftNumbers,
    StatisticsNoise,
    statistics_noise,
)
from gpubn.nn.layers import Activation
from gpubn.nn.norms.batch_norm import BatchNorm
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes.by_hand import build, check, layers_of, measured, seen

NORMED = PLACEMENTS[1:]


@pytest.mark.parametrize("placement", NORMED)
@pytest.mark.parametrize("learnable", [True, False])
def test_identity_distance_is_that_of_the_output_from_the_input(placement, learnable):
    network = build(placement, learnable=learnable)

    def distances(r):
        found = {}
        for number, x, _ in layers_of(seen(network, r), BatchNorm):
            norm = network.model.layers_of(BatchNorm)[number - 1]
            gamma, beta = (
                norm.params[p][r] if learnable else v for p, v in (("gamma", 1), ("beta", 0))
            )
            y = (x - x.mean(axis=0)) / x.std(axis=0) * gamma + beta
            size = fmean(pvariance(unit) for unit in x.T)
            found["identity_distance", number] = (((y - x) ** 2).mean() / size) ** 0.5
        return found

    check(IdentityDistance(), network, distances)


def test_gamma_and_beta_that_undo_a_batchnorm_are_at_no_distance():
    network = build("before", depth=1)
    (norm,) = network.model.layers_of(BatchNorm)
    for r in range(2):
        ((_, x, _),) = layers_of(seen(network, r), BatchNorm)
        norm.params["gamma"][r], norm.params["beta"][r] = x.std(axis=0), x.mean(axis=0)
    assert max(measured(IdentityDistance(), network)["identity_distance", 1].values()) < 1e-12


@pytest.mark.parametrize(
    ("options", "count"), [({}, 8), ({"learnable": False}, 0), ({"norm_kind": "mean_only"}, 4)]
)
def test_numbers_of_a_layer_and_of_a_unit(options, count):
    expected = {("scale_shift_numbers", n): count for n in (1, 2)}
    expected |= {("scale_shift_numbers_a_unit", n): count / 4 for n in (1, 2)}
    check(ScaleShiftNumbers(), build("before", **options), lambda r: expected)
    assert measured(ScaleShiftNumbers(), build("none")) == {}


def noise(x, m):
    """Of x (N, D) in batches of m, unit by unit."""
    batches = [x[i : i + m] for i in range(0, len(x) // m * m, m)]
    used = np.concatenate(batches)
    means, variances = (np.array([f(b, axis=0) for b in batches]) for f in (np.mean, np.var))
    mean = np.mean(np.var(means, axis=0))
    own = np.mean(np.var(variances, axis=0)) / np.mean(np.mean(variances, axis=0) ** 2)
    relative = mean / np.mean(np.var(used, axis=0))
    return {
        "mean_noise": mean**0.5,
        "relative_mean_noise": relative**0.5,
        "relative_var_noise": own**0.5,
    }


@pytest.mark.parametrize(("batch", "used"), [(5, 5), (10, 10), (99, 10)])
def test_scatter_of_batches_that_are_full(rng, batch, used):
    x = rng.standard_normal((2, 21, 3)) * [1, 2, 3] + 4
    found = statistics_noise(x, batch)
    for r in range(2):
        assert {k: v[r] for k, v in found.items()} == pytest.approx(noise(x[r], used), rel=1e-12)


@pytest.mark.parametrize("dropout_at", ["before_norm", "end"])
@pytest.mark.parametrize("placement", NORMED)
def test_noise_with_masks_over_without(placement, dropout_at):
    network = build(placement, dropout=0.5, dropout_at=dropout_at, batch=7)

    def ratios(r):
        masked, plain = (
            [noise(x, 7) for _, x, _ in layers_of(seen(network, r, training=mode), BatchNorm)]
            for mode in (True, False)
        )
        return {
            (f"{metric}_ratio", number): value / without[metric]
            for number, (of_layer, without) in enumerate(zip(masked, plain, strict=True), 1)
            for metric, value in of_layer.items()
        }

    check(StatisticsNoise(), network, ratios)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_normality_of_both_sides_of_an_activation(placement, activation):
    network = build(placement, activation=activation)

    def shape(unit):
        """Distance and kurtosis."""
        if np.ptp(unit) == 0:  # a dead unit
            return 0.5, -3.0
        fitted = scipy.stats.norm(unit.mean(), unit.std())
        return scipy.stats.kstest(unit, fitted.cdf)[0], scipy.stats.kurtosis(unit)

    def sides(r):
        found = {}
        for number, x, y in layers_of(seen(network, r), Activation):
            for side, values in (("pre", x), ("post", y)):
                distances, kurtoses = zip(*map(shape, values.T), strict=True)
                found[f"{side}_normal_distance", number] = fmean(distances)
                found[f"{side}_excess_kurtosis", number] = np.median(kurtoses)
        return found

    check(Normality(), network, sides, rtol=1e-5)
