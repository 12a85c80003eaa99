"""Shapes and zeros of a drawn network, against passes by hand that share no line."""

from functools import partial

import numpy as np
import pytest
import scipy.stats

from gpubn.errors import ConfigError
from gpubn.experiments import array_statistics, get
from gpubn.experiments.deep.listing_backward import FAULTS
from tests.experiments.cells import PLACEMENTS, cell, run
from tests.experiments.deep.by_hand import complex_step, listing

SEEDS = (5, 6, 7)
SMALL = {"kind": "normal", "std": 0.4, "depth": 4, "width": 8, "examples": 12, "features": 8}
SMALL |= {"activation": "relu", "eps": 0.1, "dtype": "float64", "first_seed": 5}
make = partial(cell, "signal_shape", **SMALL)


@pytest.mark.parametrize("arithmetic", ["published", "corrected"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_number(monkeypatch, placement, arithmetic):
    monkeypatch.setattr(array_statistics, "SMALL", 0.3)  # below it are some of the few values
    config, published = make(placement, arithmetic=arithmetic), arithmetic == "published"
    rows, last = run(config), 4 - published
    for seed in SEEDS:
        passes = listing(config, seed, FAULTS) if published else complex_step(config, seed)
        expected = {}
        gradients = {i: g for i, g in passes.weight_grad.items() if i <= last}
        for name, of_layers in (("activation", passes.h), ("weight_grad", gradients)):
            for layer, values in of_layers.items():
                z = scipy.stats.zscore(values, axis=None).ravel()
                expected[f"{name}_distance", layer] = scipy.stats.kstest(z, "norm").statistic
                expected[f"{name}_skewness", layer] = scipy.stats.skew(z)
                expected[f"{name}_kurtosis", layer] = scipy.stats.kurtosis(z)
        signals = {i: g for i, g in passes.signal.items() if i < last}
        for name, of_layers, top in (
            ("weight_grad", gradients, gradients[last]),
            ("signal", signals, passes.signal[last]),
        ):
            for layer, values in of_layers.items():
                expected[f"{name}_zero_share", layer] = (values == 0).mean()
                near = np.abs(values) < 0.3 * np.std(top)
                expected[f"{name}_small_share", layer] = near.mean()
        found = {(r.metric, r.layer): r.value for r in rows if r.seed == seed}
        assert found == pytest.approx(
            expected, rel=1e-7, abs=3e-7
        )  # the normal distribution is right to 1e-7
        assert expected["weight_grad_small_share", last] > expected["weight_grad_zero_share", last]


def test_an_arithmetic_of_one_fault_is_refused():
    with pytest.raises(ConfigError, match="'sign'; expected published or corrected for signal_sha"):
        get("signal_shape").check(make("before", arithmetic="sign"))
