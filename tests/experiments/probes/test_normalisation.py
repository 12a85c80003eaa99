"""Probes of batchnorm against the same thing worked out from the parameters."""

from math import inf
from statistics import fmean, pvariance

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.experiments.probes.normalisation import NormInputVariance, NormParameters, ZeroVariance
from gpubn.nn.layers import Affine
from gpubn.nn.norms.batch_norm import BatchNorm
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import STEPS, X


@pytest.mark.parametrize("placement", ["before", "after"])
def test_norm_parameters(placement):
    network, expected = by_hand.build(placement), {}
    norms = [layer for layer in network.model.layers if isinstance(layer, BatchNorm)]
    for number, layer in enumerate(norms, start=1):
        for r in range(2):
            _, y = by_hand.of_kind(by_hand.seen(network, r), BatchNorm)[number - 1]
            found = {
                "norm_output_mean": fmean(fmean(u) ** 2 for u in y.T) ** 0.5,
                "norm_output_std": fmean(pvariance(u) ** 0.5 for u in y.T),
            }
            for name in ("gamma", "beta"):
                values = list(layer.params[name][r])
                found |= {f"{name}_mean": fmean(values), f"{name}_std": pvariance(values) ** 0.5}
            for metric, value in found.items():
                expected.setdefault((metric, number), []).append(value)
    by_hand.check(by_hand.measured(NormParameters(8), network, 3), expected)


def test_without_gamma_and_beta_there_is_only_the_output():
    found = by_hand.measured(NormParameters(8), by_hand.build("before", learnable=False))
    metrics = ("norm_output_mean", "norm_output_std")
    assert set(found) == {(metric, layer) for metric in metrics for layer in (1, 2)}


@pytest.mark.parametrize("placement", ["before", "after"])
def test_zero_variance_counts_the_units_that_do_not_vary(placement):
    """Constant units by zero weights: (step, layer, unit) of either replica."""
    constant = ({(1, 1, 0), (1, 2, 3), (2, 1, 0), (2, 1, 1)}, set())
    probe = ZeroVariance()
    for step in range(4):
        network = by_hand.build(placement)
        affine = network.model.layers_of(Affine)
        for r in range(2):
            for when, layer, unit in constant[r]:
                if when == step:
                    affine[layer - 1].params["weight"][r, :, unit] = 0
        x = np.stack([X[:9], X[9:18]]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])
    share = 4 / (4 * 2 * 4)  # of steps, layers and units
    expected = {("zero_variance_share", None): [share, 0], ("zero_variance_step", None): [1, inf]}
    by_hand.check(by_hand.measured(probe, network, STEPS), expected)
    assert sorted(probe.at(OptimConfig(steps=9))) == [9]


def test_without_batchnorm_no_unit_is_counted():
    network, probe = by_hand.build("none"), ZeroVariance()
    x = np.stack([X[:9], X[9:18]]).astype(np.float64)
    probe.observe(network, network.model.forward(x, training=True)[1])
    expected = {("zero_variance_share", None): [0, 0], ("zero_variance_step", None): [inf, inf]}
    by_hand.check(by_hand.measured(probe, network, STEPS), expected)


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        ("before", {"dropout": 0.5}),
        ("after", {"dropout": 0.5, "dropout_at": "before_norm"}),
        ("after", {}),
    ],
)
def test_norm_input_variance(placement, model):
    network, expected = by_hand.build(placement, **model), {}
    for r in range(2):
        train, infer = (
            [x for x, _ in by_hand.of_kind(by_hand.seen(network, r, training=mode), BatchNorm)]
            for mode in (True, False)
        )
        for layer in (1, 2):
            a, b = (fmean(pvariance(u) for u in x[layer - 1].T) for x in (infer, train))
            expected.setdefault(("norm_input_variance_ratio", layer), []).append(a / b)
    by_hand.check(by_hand.measured(NormInputVariance(), network), expected)
    first = expected["norm_input_variance_ratio", 1]
    # Before the first dropout, or without any, both modes agree.
    same = placement == "before" or not model
    assert (first == pytest.approx([1, 1], rel=1e-12)) == same


def test_norm_input_variance_without_batchnorm():
    network = by_hand.build("none", dropout=0.5)
    assert by_hand.measured(NormInputVariance(), network) == {}
