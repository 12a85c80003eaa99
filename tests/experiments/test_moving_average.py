"""Moving statistics: against a loop written out here, and against theory."""

from functools import partial

import numpy as np
import pytest

from gpubn.experiments import moving_average
from gpubn.experiments.moving_average import UNITS
from gpubn.nn.rng import generator
from tests.experiments.cells import cell, run, values

make = partial(
    cell,
    "moving_average",
    **{"steps": 12, "examples": 5, "dtype": "float64", "first_seed": 4},
)


def test_every_number_against_a_loop(monkeypatch):
    monkeypatch.setattr(moving_average, "CHUNK", 5)  # 12 updates are no multiple of it
    rows = run(make(momentum=0.3))
    assert {r.metric for r in rows} == {"mean_bias", "var_bias", "mean_variance"}
    assert {r.step for r in rows} == {0, 1, 2, 3, 5, 7, 10, 12}
    for seed in (4, 5, 6):
        g = generator(seed, "batches")
        uniform = np.concatenate([g.random((n, 5, UNITS)) for n in (5, 5, 2)])
        x = 1 + np.sqrt(48) * (uniform - 0.5)
        mean, var = np.zeros(UNITS), np.ones(UNITS)
        for step in range(13):
            if step:
                mean = 0.7 * mean + 0.3 * x[step - 1].mean(axis=0)
                var = 0.7 * var + 0.3 * x[step - 1].var(axis=0, ddof=1)
            for metric, expected in (
                ("mean_bias", mean.mean() - 1),
                ("var_bias", var.mean() / 4 - 1),
                ("mean_variance", mean.var(ddof=1)),
            ):
                found = values(rows, metric, step)
                if found:
                    assert found[seed] == pytest.approx(expected, rel=1e-9, abs=1e-12), metric


def test_the_start_is_that_of_the_configuration():
    rows = run(make(initial_spread=6.0))
    assert set(values(rows, "var_bias", 0).values()) == {0.5}
    assert set(values(rows, "mean_bias", 0).values()) == {-1.0}
    # A moving average of the standard deviation is squared for inference.
    rows = run(make(average="std", initial_spread=3.0))
    assert set(values(rows, "var_bias", 0).values()) == {9 / 4 - 1}
