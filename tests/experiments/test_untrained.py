"""Experiments without training: every number against NumPy, however seeds are grouped."""

import sys
from functools import partial

import numpy as np
import pytest

from gpubn.experiments import (
    dropout_noise,
    estimators,
    fixed_identity,
    get,
    listings,
    moving_average,
)
from gpubn.nn.rng import generator
from tests.experiments.cells import PLACEMENTS, cell, run, values


def test_dropout_shift_is_the_ratio_of_the_variances():
    found = values(run(cell("dropout_shift", dropout=0.3, examples=50)), "variance_ratio")
    for seed in range(3):
        x = np.maximum(generator(seed, "values").standard_normal(50), 0)
        kept = x * (generator(seed, "dropout").random(50) >= 0.3) / 0.7
        assert found[seed] == pytest.approx(np.var(x) / np.var(kept), rel=1e-5)


@pytest.mark.parametrize("batch", [2, 7])
def test_estimators_are_the_means_over_batches_by_the_true_value(monkeypatch, batch):
    monkeypatch.setattr(estimators, "BATCHES", 50)
    rows = run(cell("estimators", examples=batch, dtype="float64", first_seed=4))
    for seed in (4, 5, 6):
        normal, expected = generator(seed, "batches").standard_normal((50, batch)), {}
        for source, x, var in (("", normal, 1), ("_relu", normal.clip(0), 0.5 - 0.5 / np.pi)):
            for kind, correction in (("biased", 0), ("unbiased", 1)):
                of_batches = np.array([np.var(one, ddof=correction) for one in x])
                std_ratio = np.mean(of_batches**0.5) / var**0.5
                expected[f"var_{kind}_ratio{source}"] = np.mean(of_batches) / var
                expected[f"std_{kind}_ratio{source}"] = std_ratio
        found = {r.metric: r.value for r in rows if r.seed == seed}
        assert found == pytest.approx(expected, rel=1e-12)


def test_gamma_and_beta_of_the_population_miss_by_the_batchs_statistics(monkeypatch):
    monkeypatch.setattr(fixed_identity, "BATCHES", 7)
    rows = run(cell("fixed_identity", examples=5, dtype="float64", first_seed=4))
    for seed in (4, 5, 6):
        x = 1 + 2 * generator(seed, "batches").standard_normal((5, 7))
        y = 1 + 2 * (x - x.mean(axis=0)) / x.std(axis=0)
        found = {r.metric: r.value for r in rows if r.seed == seed}
        error = np.mean((y - x) ** 2) ** 0.5 / 2
        expected = {"identity_error": error, "identity_error_inference": 0}
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_dropout_noise_is_the_scatter_over_batches(monkeypatch):
    monkeypatch.setattr(dropout_noise, "BATCHES", 9)
    rows = run(cell("dropout_noise", dropout=0.3, examples=6, dtype="float64"))
    for seed in range(3):
        x = np.maximum(generator(seed, "values").standard_normal((6, 9)), 0)
        x = x * (generator(seed, "dropout").random((6, 9)) >= 0.3) / 0.7
        means, variances = ([f(batch) for batch in x.T] for f in (np.mean, np.var))
        expected = {
            "mean_scatter": np.std(means) / (0.5 - 0.5 / np.pi) ** 0.5,
            "relative_mean_scatter": np.std(means) / np.std(x),
            "relative_var_scatter": np.std(variances) / np.mean(variances),
        }
        found = {r.metric: r.value for r in rows if r.seed == seed}
        assert found == pytest.approx(expected, rel=1e-12)


make_average = partial(cell, "moving_average", steps=12, examples=5, dtype="float64", first_seed=4)


def test_moving_averages_are_those_of_a_loop(monkeypatch):
    monkeypatch.setattr(moving_average, "CHUNK", 5)  # 12 updates are no multiple of it
    rows, units = run(make_average(momentum=0.3)), moving_average.UNITS
    for seed in (4, 5, 6):
        g, expected = generator(seed, "batches"), {}
        uniform = np.concatenate([g.random((n, 5, units)) for n in (5, 5, 2)])
        x = 1 + np.sqrt(48) * (uniform - 0.5)
        mean, var = np.zeros(units), np.ones(units)
        for step in range(13):
            if step:
                mean = 0.7 * mean + 0.3 * x[step - 1].mean(axis=0)
                var = 0.7 * var + 0.3 * x[step - 1].var(axis=0, ddof=1)
            if step in {0, 1, 2, 3, 5, 7, 10, 12}:
                expected["mean_bias", step] = mean.mean() - 1
                expected["var_bias", step] = var.mean() / 4 - 1
                expected["mean_variance", step] = mean.var(ddof=1)
        found = {(r.metric, r.step): r.value for r in rows if r.seed == seed}
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_moving_averages_start_as_configured():
    for average, var in (("var", 3), ("std", 9)):  # which is squared for inference
        rows = run(make_average(average=average, initial_spread=3.0))
        assert set(values(rows, "var_bias", 0).values()) == {var / 4 - 1}


@pytest.mark.parametrize("batch", [1, 4])
def test_the_listing_stops_as_printed_and_mended_runs(monkeypatch, batch):
    """NaN where a single example is 0/0, and at inference before the first update."""
    monkeypatch.setattr(listings, "UPDATES", (0, 1, 3))
    rows = run(cell("listings", batch=batch, features=5, momentum=0.2, dtype="float64"))
    for seed in range(3):
        x = generator(seed, "batches").standard_normal((3, batch, 5))
        found = {r.metric: r.value for r in rows if r.seed == seed}
        alone, average = float(batch == 1), np.zeros(5)
        expected = {"stops_printed": 2, "stops_mended": 0, "stops_after_eval": 0}
        expected |= {"lost_share[0]": alone, "lost_share[1]": alone, "lost_share_eps": 0}
        for step in range(4):
            if step in (0, 1, 3):
                expected[f"inference_spread[{step}]"] = 1 / average.mean() if step else np.inf
                expected[f"lost_share_inference[{step}]"] = alone if step else 1.0
            if step < 3:
                std = [np.std(unit, ddof=1) for unit in x[step].T] if not alone else np.nan
                average = 0.8 * average + 0.2 * np.array(std)
        for correction in (0, 1):
            root = np.nan if alone else ((batch - correction) / batch) ** 0.5
            expected[f"train_spread[{correction}]"] = root
        if alone:
            expected |= {f"inference_spread[{k}]": np.nan for k in (1, 3)}
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def make(name, placement="before", arithmetic="corrected"):
    size = {"examples": 9, "features": 5, "depth": 12, "width": 6, "steps": 70}
    options = {"activation": "relu", "dropout": 0.3, "eps": 1e-3, "kind": "he_normal", "rate": 0.01}
    own = {"arithmetic": arithmetic, "dtype": "float64", "first_seed": 5}
    return cell(name, placement, **size, **options, **own)


@pytest.mark.parametrize(
    "config",
    [
        *map(make, ("dropout_shift", "estimators", "exact", "moving_average", "shared_scale")),
        *(make("signal_run", placement) for placement in PLACEMENTS),
        *map(make, ("glorot_signal", "listings")),
        *map(make, ("fixed_identity", "dropout_noise")),
        *(make("signal_batch", placement) for placement in PLACEMENTS),
        *(make("signal_propagation", placement) for placement in PLACEMENTS),
        *(make("signal_grid", placement) for placement in PLACEMENTS),
        *(
            make(name, "after", arithmetic)
            for name in ("listing_backward", "signal_propagation")
            for arithmetic in ("published", "corrected")
        ),
    ],
    ids=lambda c: f"{c.name}-{c.norm.name}-{c.arithmetic}",
)
def test_how_seeds_are_grouped_changes_no_bit_and_progress_adds_up(monkeypatch, config):
    experiment = get(config.name)
    module = sys.modules[experiment.run.__module__]
    results = []
    for group in (1, 2, 3):
        monkeypatch.setattr(module, "GROUP", group)
        ticks = []
        rows = run(config, tick=ticks.append)
        results.append(sorted(map(repr, rows)))  # as text, for NaN is equal to nothing
        assert sum(ticks) == experiment.work(config)
    assert results[0] == results[1] == results[2]
