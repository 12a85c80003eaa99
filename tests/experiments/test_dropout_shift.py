"""The shift of variance by dropout, against NumPy and against theory."""

import numpy as np
import pytest

from gpubn import theory
from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, ModelConfig
from gpubn.experiments import Context, get
from gpubn.nn.rng import generator


def run(rate, examples, seeds=3):
    config = Config(
        name="dropout_shift",
        data=DataConfig("gaussian", examples=examples),
        model=ModelConfig(dropout=rate),
        dtype="float64",
        seeds=seeds,
    )
    rows = get("dropout_shift").run(config, Context(resolve("numpy")))
    assert [(r.seed, r.metric) for r in rows] == [(s, "variance_ratio") for s in range(seeds)]
    return [r.value for r in rows]


def test_every_number_against_numpy():
    for seed, found in enumerate(run(0.3, 50)):
        x = np.maximum(generator(seed, "values").standard_normal(50), 0)
        kept = x * (generator(seed, "dropout").random(50) >= 0.3) / 0.7
        assert found == pytest.approx(np.var(x) / np.var(kept), rel=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_theory_holds(rate):
    found = np.mean(run(rate, 200_000))
    assert found == pytest.approx(theory.dropout_variance_ratio(1 - rate), rel=0.01)
