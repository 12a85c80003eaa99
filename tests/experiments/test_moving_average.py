"""Moving statistics: against a loop written out here, and against theory."""

import numpy as np
import pytest

from gpubn import theory
from gpubn.config import Config, DataConfig, NormConfig, OptimConfig
from gpubn.experiments import moving_average
from gpubn.experiments.moving_average import UNITS
from gpubn.nn.rng import generator
from tests.experiments.cells import run, values


def make(momentum=0.1, *, steps=12, batch=5, **options):
    norm = {"momentum": momentum} | options.pop("norm", {})
    return Config(
        name="moving_average",
        data=DataConfig("gaussian", examples=batch),
        norm=NormConfig(name="before", placement="before", **norm),
        optim=OptimConfig(steps=steps),
        **{"dtype": "float64", "seeds": 3, "first_seed": 4} | options,
    )


def test_every_number_against_a_loop(monkeypatch):
    monkeypatch.setattr(moving_average, "CHUNK", 5)  # 12 updates are no multiple of it
    rows = run(make(0.3))
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


@pytest.mark.parametrize("momentum", [0.05, 0.5])
def test_theory_holds(momentum):
    rows = run(make(momentum, steps=60, batch=8, seeds=12))
    for step in (0, 5, 22, 60):
        left = theory.startup_bias(momentum, step)
        for metric, start in (("mean_bias", -1), ("var_bias", 1 / 4 - 1)):
            mean = np.mean(list(values(rows, metric, step).values()))
            assert mean == pytest.approx(start * left, abs=0.1 * momentum**0.5)
        mean = np.mean(list(values(rows, "mean_variance", step).values()))
        assert mean == pytest.approx(theory.moving_mean_var(4, 8, momentum, step), rel=0.35)


def test_the_start_is_that_of_the_configuration():
    rows = run(make(norm={"initial_spread": 6.0}))
    assert set(values(rows, "var_bias", 0).values()) == {0.5}
    assert set(values(rows, "mean_bias", 0).values()) == {-1.0}
    # A moving average of the standard deviation is squared for inference.
    rows = run(make(norm={"average": "std", "initial_spread": 3.0}))
    assert set(values(rows, "var_bias", 0).values()) == {9 / 4 - 1}
