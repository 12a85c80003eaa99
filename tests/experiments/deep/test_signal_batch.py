"""Growth of gradients at initialisation: against complex differentiation and against theory."""

from functools import partial

import numpy as np
import pytest

from gpubn import theory
from gpubn.errors import ConfigError
from tests.experiments.cells import PLACEMENTS, cell, run, values
from tests.experiments.deep.by_hand import complex_step

ACTIVATIONS = ["relu", "linear"]


make = partial(
    cell,
    "signal_batch",
    **{"kind": "he_normal", "features": 6, "examples": 8, "width": 6, "depth": 12},
    **{"activation": "relu", "dtype": "float64", "first_seed": 2},
)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_number_is_that_of_complex_differentiation(placement, activation):
    config = make(placement, activation=activation, features=4)
    rows = run(config)
    layers = {0, 5, 10, 11, 12}
    for seed in (2, 3, 4):
        passes = complex_step(config, seed)
        expected = {
            "activation_var": {layer: h.var() for layer, h in passes.h.items()},
            "signal_square": {layer: (g**2).mean() for layer, g in passes.signal.items()},
            "weight_grad_square": {layer: (g**2).mean() for layer, g in passes.weight_grad.items()},
        }
        for metric, by_layer in expected.items():
            found = {r.layer: r.value for r in rows if (r.metric, r.seed) == (metric, seed)}
            right = {layer: value for layer, value in by_layer.items() if layer in layers}
            assert found == pytest.approx(right, rel=1e-9), metric
        for metric in ("signal", "weight_grad"):
            fitted = [expected[f"{metric}_square"][layer] for layer in (5, 6, 7)]
            slope = np.polyfit((5, 6, 7), np.log(fitted), 1)[0]
            found = values(rows, f"{metric}_growth")[seed]
            assert found == pytest.approx(np.exp(-slope), rel=1e-9)
    assert {r.metric for r in rows} == {*expected, "signal_growth", "weight_grad_growth"}
    assert {r.step for r in rows} == {None}


@pytest.mark.parametrize("examples", [6, 16])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_growth_is_that_of_theory(activation, examples):
    size = {"width": 120, "features": 120, "depth": 25, "examples": examples, "seeds": 6}
    with_norm = getattr(theory, f"batchnorm_{activation}_gradient_growth")(examples)
    gain = getattr(theory, f"{activation}_gain")(120, 2 / 120)
    predicted = {"before": (with_norm, with_norm), "none": (gain, 1.0)}
    for placement, growth in predicted.items():
        rows = run(make(placement, activation=activation, **size))
        for metric, right in zip(("signal_growth", "weight_grad_growth"), growth, strict=True):
            assert np.mean([*values(rows, metric).values()]) == pytest.approx(right, rel=0.07)


def test_a_network_too_shallow_for_the_fit_is_refused():
    with pytest.raises(ConfigError, match=r"model\.depth is 10; expected at least 11"):
        run(make("before", depth=10))
    assert np.isfinite(list(values(run(make("before", depth=11)), "signal_growth").values())).all()
