"""Growth of gradients at initialisation: against complex differentiation and against theory."""

import numpy as np
import pytest

from gpubn import theory
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig
from gpubn.errors import ConfigError
from gpubn.experiments.deep import signal_batch
from tests.experiments.cells import run, values
from tests.experiments.deep.by_hand import complex_step

ACTIVATIONS = ["relu", "linear"]
PLACEMENTS = ["none", "before", "after"]


def make(placement="before", activation="relu", *, examples=8, width=6, depth=12, **options):
    return Config(
        name="signal_batch",
        data=DataConfig("gaussian", examples=examples, features=options.pop("features", width)),
        model=ModelConfig("deep", depth, width, activation),
        norm=NormConfig(name=placement, placement=placement),
        init=InitConfig(name="he", kind="he_normal"),
        **{"dtype": "float64", "seeds": 3, "first_seed": 2} | options,
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_number_is_that_of_complex_differentiation(placement, activation):
    config = make(placement, activation, features=4)
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


def test_growth_of_a_geometric_series():
    squares = 3.0 * np.array([1.5, 0.25]) ** -np.arange(7)[:, None]
    np.testing.assert_allclose(signal_batch.growth(squares), [1.5, 0.25], rtol=1e-12)
    # It is the fit of a line, not of the two ends.
    rng = np.random.default_rng(0)
    noisy = squares * np.exp(rng.standard_normal(squares.shape))
    expected = np.exp(-np.polyfit(np.arange(7), np.log(noisy), 1)[0])
    np.testing.assert_allclose(signal_batch.growth(noisy), expected, rtol=1e-12)


def test_growth_lets_what_is_not_finite_through():
    squares = np.array([[1.0, 1.0], [np.nan, np.inf], [1.0, 1.0]])
    assert not np.isfinite(signal_batch.growth(squares)).any()


@pytest.mark.parametrize("examples", [6, 16])
@pytest.mark.parametrize(
    ("activation", "predicted"),
    [
        ("relu", theory.batchnorm_relu_gradient_growth),
        ("linear", theory.batchnorm_linear_gradient_growth),
    ],
)
def test_growth_with_batchnorm_is_that_of_theory(activation, predicted, examples):
    config = make("before", activation, examples=examples, width=160, depth=25, seeds=6)
    rows = run(config)
    for metric in ("signal_growth", "weight_grad_growth"):
        mean = np.mean(list(values(rows, metric).values()))
        assert mean == pytest.approx(predicted(examples), rel=0.05)


@pytest.mark.parametrize(("activation", "predicted"), [("relu", 1.0), ("linear", 2.0)])
def test_growth_without_batchnorm_is_the_gain(activation, predicted):
    gain = {"relu": theory.relu_gain, "linear": theory.linear_gain}[activation]
    assert gain(120, 2 / 120) == pytest.approx(predicted)
    rows = run(make("none", activation, examples=16, width=120, depth=25, seeds=6))
    signal = np.mean(list(values(rows, "signal_growth").values()))
    assert signal == pytest.approx(predicted, rel=0.07)
    weight_grad = np.mean(list(values(rows, "weight_grad_growth").values()))
    assert weight_grad == pytest.approx(1.0, rel=0.07)


def test_a_network_too_shallow_for_the_fit_is_refused():
    with pytest.raises(ConfigError, match=r"model\.depth is 10; expected at least 11"):
        run(make(depth=10))
    assert np.isfinite(list(values(run(make(depth=11)), "signal_growth").values())).all()
