"""`signal` is the cell of the experiments, at once; what it cannot take is named."""

import numpy as np
import pytest

from gpubn.config import InitConfig, NormConfig
from gpubn.errors import ArgumentError, ConfigError
from gpubn.experiments import signal
from gpubn.nn.init import initial_weight
from gpubn.nn.rng import generator
from tests.experiments.cells import cell, run

SIZE = {"depth": 3, "width": 6, "batch": 9, "seeds": 2}


@pytest.mark.parametrize(
    ("norm", "activation"), [("none", "relu"), ("before", "tanh"), ("after", "sigmoid")]
)
def test_the_variances_are_those_of_the_twenty_layers_experiment(norm, activation):
    found = signal(init="he", norm=norm, activation=activation, **SIZE)
    sizes = {"depth": 3, "width": 6, "examples": 9, "features": 6, "seeds": 2}
    rows = run(
        cell(
            *("signal_propagation", norm),
            **{"activation": activation, "kind": "he_normal", "dtype": "float64", **sizes},
        )
    )
    for metric, first in (("activation_var", 0), ("signal_var", 0), ("weight_grad_var", 1)):
        expected = {(r.seed, r.layer): r.value for r in rows if r.metric == metric}
        values = getattr(found, metric)
        assert values.shape == (2, 4 - first)
        by_place = {
            (seed, layer): value
            for seed, by_layer in enumerate(values)
            for layer, value in enumerate(by_layer, start=first)
        }
        assert by_place == pytest.approx(expected, rel=1e-12)


def test_a_name_stands_for_its_file_and_a_configuration_for_itself():
    named = signal(init="small", norm="layer", **SIZE)
    own = signal(
        init=InitConfig(kind="normal", std=0.01),
        norm=NormConfig(placement="before", kind="layer"),
        **SIZE,
    )
    assert np.array_equal(named.weight_grad_var, own.weight_grad_var)


def test_rows_are_a_table():
    found = signal(**SIZE)
    rows = found.rows()
    assert len(rows) == 2 * (4 + 4 + 3)
    (top,) = [r for r in rows if (r.seed, r.layer, r.metric) == (1, 3, "weight_grad_var")]
    assert top.value == found.weight_grad_var[1, 2]
    upstream = generator(1, "upstream").standard_normal((9, 6))
    assert found.signal_var[1, 3] == pytest.approx(upstream.var())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"depth": 0}, "depth is 0; expected an integer of at least 1"),
        ({"depth": "20"}, "depth is '20'; expected an integer of at least 1"),
        ({"batch": 1}, "batch is 1; expected an integer of at least 2"),
        ({"seeds": True}, "seeds is True; expected an integer of at least 1"),
        ({"init": "xavier"}, "init is 'xavier'; expected one of glorot, glorot_small, "),
        ({"norm": "skip_init"}, "norm is 'skip_init'; expected one of after, "),
        ({"norm": []}, r"norm is \[\]; expected one of after, "),
    ],
)
def test_what_it_cannot_take_is_named(wrong, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        signal(**wrong)


def test_what_the_configuration_refuses_is_refused():
    with pytest.raises(ConfigError, match="activation is 'gelu'; expected one of relu, "):
        signal(activation="gelu")
    with pytest.raises(ConfigError, match=r"norm\.ghost is 4; expected a divisor"):
        signal(norm="ghost_4", **SIZE)


def test_a_cell_of_the_grid_has_histograms_on_one_axis_for_all_layers():
    sizes = {"depth": 2, "width": 6, "examples": 9, "features": 6, "seeds": 2}
    config = cell("signal_grid", activation="linear", kind="normal", dtype="float64", **sizes)
    rows = run(config)
    layers = [np.stack([generator(seed, "input").standard_normal((9, 6)) for seed in range(2)])]
    for layer in range(2):
        layers.append(layers[-1] @ initial_weight(config.init, 6, 6, range(2), layer))
    assert abs(layers[-1]).max() > 5, "the outer bins take what lies beyond"
    names = [f"activation_hist[{(i - 20) / 5:+.1f}]" for i in range(41)]
    for layer, values in enumerate(layers):
        found = {r.metric: r.value for r in rows if r.layer == layer and r.seed is None}
        counts, _ = np.histogram(np.clip(values, -4, 4), np.linspace(-4.1, 4.1, 42))
        expected = {name: n / values.size for name, n in zip(names, counts, strict=True) if n}
        assert found == pytest.approx(expected)
    assert {r.metric for r in rows if r.seed == 1} == {
        *("activation_var", "signal_var", "weight_grad_var")
    }
