"""Document A: both arithmetics against independent ones, and what the rows hold."""

from functools import partial

import numpy as np
import pytest

from gpubn.errors import ConfigError
from gpubn.experiments.deep.listing_backward import FAULTS
from tests.experiments.cells import PLACEMENTS, cell, run
from tests.experiments.deep.by_hand import complex_step, drawn, listing

ARITHMETICS = ["published", "corrected"]
DEPTH, WIDTH = 4, 12


make = partial(
    cell,
    "signal_propagation",
    **{"kind": "normal", "std": 0.3, "depth": DEPTH, "width": WIDTH, "examples": 30},
    **{"features": 9, "activation": "relu", "dtype": "float64", "first_seed": 5},
)


def values(rows, metric, seed):
    """{layer: value} of one metric."""
    found = [(r.layer, r.value) for r in rows if (r.metric, r.seed) == (metric, seed)]
    assert len({layer for layer, _ in found}) == len(found)
    return dict(found)


def measures(config, passes, weights, last):
    """{metric: {layer: value}} of one seed; `last` is where the upstream gradient enters."""
    top = passes.h[config.model.depth]
    weight = weights[-1]
    square = weight.shape[0] == weight.shape[1]
    off = weight - np.diag(np.diag(weight)) if square else np.full_like(weight, np.nan)
    hidden = range(1, config.model.depth + 1)
    found = {
        "weight_var": {i: w.var() for i, w in enumerate(weights, start=1)},
        "activation_var": {i: h.var() for i, h in passes.h.items()},
        "unit_var": {i: np.mean([np.var(unit) for unit in passes.h[i].T]) for i in hidden},
        "signal_var": {i: g.var() for i, g in passes.signal.items()},
        "weight_grad_var": {i: g.var() for i, g in passes.weight_grad.items() if i <= last},
        "mixing_share": {hidden[-1]: (off**2).sum() / (weight**2).sum()},
    }
    for what, lines in (("unit", top.T), ("example", top)):
        size = np.mean([np.mean(line) ** 2 for line in lines]) / top.var()
        found[f"{what}_offset"] = {hidden[-1]: size**0.5}
    if passes.activated:
        found["zero_share"] = {i: (a == 0).mean() for i, a in passes.activated.items()}
        small = {i: (np.abs(a) < 0.01).mean() for i, a in passes.activated.items()}
        found["small_share"] = small
    return found


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_published_is_the_listing(placement):
    """Every metric of every layer and seed, the published scale's included."""
    config = make(placement, arithmetic="published", features=WIDTH)
    rows = run(config)
    scale = {"none": 100.0, "before": 0.01, "after": 0.01}[placement] ** 2
    for seed in (5, 6, 7):
        weights = drawn(config, seed)[1]
        expected = measures(config, listing(config, seed, FAULTS), weights, DEPTH - 1)
        for metric in ("signal_var", "weight_grad_var"):
            scaled = {layer: value * scale for layer, value in expected[metric].items()}
            expected[f"{metric}_published_scale"] = scaled
        assert {r.metric for r in rows if r.seed is not None} == set(expected)
        for metric, by_layer in expected.items():
            assert values(rows, metric, seed) == pytest.approx(by_layer, rel=1e-9, abs=1e-12), (
                metric
            )
    assert {r.step for r in rows} == {None}


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_corrected_is_the_true_gradient(placement, eps):
    config = make(placement, width=6, features=4, examples=10, depth=3, seeds=2, std=0.6, eps=eps)
    rows = run(config)
    for seed in (5, 6):
        weights = drawn(config, seed)[1]
        expected = measures(config, complex_step(config, seed), weights, 3)
        for metric, by_layer in expected.items():
            assert values(rows, metric, seed) == pytest.approx(by_layer, rel=1e-9, abs=1e-12), (
                metric
            )


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_histograms_are_shares_of_all_seeds_together(arithmetic):
    config = make("after", arithmetic=arithmetic)
    rows = [r for r in run(config) if r.seed is None]
    last = DEPTH - (arithmetic == "published")
    places = {("activation_hist", i) for i in range(DEPTH + 1)}
    places |= {("weight_grad_hist", i) for i in range(1, last + 1)}
    assert {(r.metric.split("[")[0], r.layer) for r in rows} == places
    for name, layer in places:
        bins = [r for r in rows if r.metric.startswith(f"{name}[") and r.layer == layer]
        assert sum(r.value for r in bins) == pytest.approx(1, rel=1e-12)
        centres = [float(r.metric.split("[")[1].rstrip("]")) for r in bins]
        np.testing.assert_allclose(centres, np.arange(-5, 5.01, 0.25), atol=1e-9)
    pooled = [x / x.std() for x in (drawn(config, seed)[0] for seed in (5, 6, 7))]
    expected, _ = np.histogram(pooled, 41, (-5.125, 5.125))
    found = [r.value for r in rows if r.metric.startswith("activation_hist") and r.layer == 0]
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("placement", "arithmetic", "options"),
    [
        # One unit: its spread over the units is 0, and the listing has no eps.
        ("before", "published", {"width": 1}),
        ("after", "published", {"width": 1}),
        ("none", "corrected", {"dtype": "float32", "std": 1e15}),
    ],
)
def test_what_is_not_finite_is_recorded(placement, arithmetic, options):
    # Warnings are errors in this suite, in worker threads too.
    rows = run(make(placement, arithmetic=arithmetic, **options))
    for seed in (5, 6, 7):
        assert not np.isfinite(values(rows, "activation_var", seed)[DEPTH])


def test_a_single_fault_of_the_listing_is_refused():
    text = "arithmetic is 'early'; expected published or corrected for signal_propagation"
    with pytest.raises(ConfigError, match=text):
        run(make("before", arithmetic="early"))
