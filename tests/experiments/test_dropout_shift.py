"""The shift of variance by dropout, against NumPy and against theory."""

import numpy as np
import pytest

from gpubn import theory
from gpubn.nn.rng import generator
from tests.experiments import cells


def run(rate, examples):
    rows = cells.run(cells.cell("dropout_shift", dropout=rate, examples=examples, dtype="float64"))
    assert [(r.seed, r.metric) for r in rows] == [(s, "variance_ratio") for s in range(3)]
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
