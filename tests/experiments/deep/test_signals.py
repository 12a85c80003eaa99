"""Deep networks at initialisation: every number against an arithmetic that shares no line."""

from functools import partial

import numpy as np
import pytest

from gpubn.config import ARITHMETICS
from gpubn.errors import ConfigError
from gpubn.experiments.deep.listing_backward import FAULTS
from tests.experiments.cells import PLACEMENTS, cell, run
from tests.experiments.deep.by_hand import complex_step, drawn, listing

SEEDS = (5, 6, 7)
SMALL = {"kind": "normal", "std": 0.4, "depth": 4, "width": 8, "examples": 12, "features": 8}
SMALL |= {"activation": "relu", "eps": 0.1, "dtype": "float64", "first_seed": 5}
make = partial(cell, "signal_propagation", **SMALL)
make_listing = partial(cell, "listing_backward", **SMALL)
make_run = partial(cell, "signal_run", **SMALL)
make_batch = partial(cell, "signal_batch", **SMALL | {"depth": 12, "kind": "he_normal"})


def places(rows, seed):
    """{(metric, layer): value} of one seed, or of all together."""
    assert {r.step for r in rows} == {None}
    return {(r.metric, r.layer): r.value for r in rows if r.seed == seed}


def measures(config, passes, weights, last):
    """{metric: {layer: value}} of one seed; `last` is where the upstream gradient enters."""
    depth = config.model.depth
    top, weight = passes.h[depth], weights[-1]
    off = weight - np.diag(np.diag(weight))
    signal_var = {i: g.var() for i, g in passes.signal.items()}
    weight_grad_var = {i: g.var() for i, g in passes.weight_grad.items() if i <= last}
    scale = {"none": 100.0, "before": 0.01, "after": 0.01}[config.norm.placement] ** 2
    offsets = [np.mean([np.mean(line) ** 2 for line in lines]) for lines in (top.T, top)]
    return {
        "weight_var": {i: w.var() for i, w in enumerate(weights, start=1)},
        "activation_var": {i: h.var() for i, h in passes.h.items()},
        "unit_var": {i: np.mean([np.var(u) for u in passes.h[i].T]) for i in range(1, depth + 1)},
        "signal_var": signal_var,
        "signal_var_published_scale": {i: value * scale for i, value in signal_var.items()},
        "weight_grad_var": weight_grad_var,
        "weight_grad_var_published_scale": {i: v * scale for i, v in weight_grad_var.items()},
        "mixing_share": {depth: (off**2).sum() / (weight**2).sum()},
        "unit_offset": {depth: (offsets[0] / top.var()) ** 0.5},
        "example_offset": {depth: (offsets[1] / top.var()) ** 0.5},
        "zero_share": {i: (a == 0).mean() for i, a in passes.activated.items()},
        "small_share": {i: (np.abs(a) < 0.01).mean() for i, a in passes.activated.items()},
    }


@pytest.mark.parametrize("arithmetic", ["published", "corrected"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_published_is_the_listing_and_corrected_the_true_gradient(placement, arithmetic):
    config = make(placement, arithmetic=arithmetic)
    rows, published = run(config), arithmetic == "published"
    for seed in SEEDS:
        passes = listing(config, seed, FAULTS) if published else complex_step(config, seed)
        by_metric = measures(config, passes, drawn(config, seed)[1], 4 - published)
        expected = {(m, layer): v for m, of in by_metric.items() for layer, v in of.items()}
        assert places(rows, seed) == pytest.approx(expected, rel=1e-9, abs=1e-12)


OTHER_KINDS = {
    "layer": {"axis": -1},
    "rms": {"norm": lambda v: v / np.sqrt((v * v).mean(axis=-1, keepdims=True) + 0.1)},
    "mean_only": {"norm": lambda v: v - v.mean(axis=-2, keepdims=True)},
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("placement", ["before", "after"])
def test_other_normalisations_have_their_true_gradients(placement, kind):
    config = make(placement, arithmetic="corrected", norm_kind=kind)
    rows = run(config)
    for seed in SEEDS:
        passes = complex_step(config, seed, **OTHER_KINDS[kind])
        by_metric = measures(config, passes, drawn(config, seed)[1], 4)
        expected = {(m, layer): v for m, of in by_metric.items() for layer, v in of.items()}
        assert places(rows, seed) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("arithmetic", ["published", "corrected"])
def test_histograms_are_shares_of_all_seeds_together(arithmetic):
    config = make("after", arithmetic=arithmetic)
    sums, of_input = {}, []
    for (metric, layer), share in places(run(config), None).items():
        name, centre = metric.rstrip("]").split("[")
        sums[name, layer] = sums.get((name, layer), 0) + share
        if (name, layer) == ("activation_hist", 0):
            of_input.append((float(centre), share))
    last = 4 - (arithmetic == "published")
    expected = {("activation_hist", i) for i in range(5)}
    expected |= {("weight_grad_hist", i) for i in range(1, last + 1)}
    assert sums == dict.fromkeys(expected, pytest.approx(1, rel=1e-12))
    pooled = [x / x.std() for x in (drawn(config, seed)[0] for seed in SEEDS)]
    counts, _ = np.histogram(pooled, 41, (-5.125, 5.125))
    right = np.column_stack([np.arange(-5, 5.01, 0.25), counts / counts.sum()])
    np.testing.assert_allclose(of_input, right, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_histograms_of_a_run_count_raw_values_of_the_listing(placement):
    config = make_run(placement)
    rows, scale = run(config), {"none": 100.0, "before": 0.01, "after": 0.01}[placement]
    for seed in SEEDS:
        passes, expected = listing(config, seed, FAULTS), {}
        gradients = {i: scale * g for i, g in passes.weight_grad.items() if i < 4}
        for name, by_layer in (("activation", passes.h), ("weight_grad", gradients)):
            for layer, raw in by_layer.items():
                counts, _ = np.histogram(raw, 50)
                of_layer = {"var": raw.var(), "low": raw.min(), "high": raw.max()}
                of_layer |= {f"hist[{i}]": count / raw.size for i, count in enumerate(counts)}
                expected |= {(f"{name}_{m}", layer): value for m, value in of_layer.items()}
        assert places(rows, seed) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_fault_of_the_listing_is_held_against_the_true_gradient(placement, arithmetic):
    config = make_listing(placement, arithmetic=arithmetic)
    faults = {"published": FAULTS, "corrected": ()}.get(arithmetic, (arithmetic,))
    rows = run(config)
    for seed in SEEDS:
        expected, faulty = {}, listing(config, seed, faults).weight_grad
        for layer, true in complex_step(config, seed, axis=-1, eps=0).weight_grad.items():
            of_layer = faulty[layer]
            size, true_size = np.linalg.norm(of_layer), np.linalg.norm(true)
            cosine = np.sum(of_layer * true) / (size * true_size) if size else 0
            error = np.linalg.norm(of_layer - true) / true_size
            expected["weight_grad_relative_error", layer] = error
            expected["weight_grad_size_ratio", layer] = size / true_size
            expected["weight_grad_cosine", layer] = cosine
        assert places(rows, seed) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_growth_is_the_slope_of_the_gradients_of_the_layers_between_the_edges(
    placement, activation
):
    config = make_batch(placement, activation=activation, features=4)
    rows = run(config)
    for seed in SEEDS:
        passes, expected = complex_step(config, seed), {}
        for layer in {0, 5, 10, 11, 12}:
            expected["activation_var", layer] = passes.h[layer].var()
            for name, gradients in (("signal", passes.signal), ("weight_grad", passes.weight_grad)):
                if layer in gradients:
                    expected[f"{name}_square", layer] = (gradients[layer] ** 2).mean()
        for name, gradients in (("signal", passes.signal), ("weight_grad", passes.weight_grad)):
            logs = [np.log((gradients[layer] ** 2).mean()) for layer in (5, 6, 7)]
            expected[f"{name}_growth", None] = np.exp(-np.polyfit((5, 6, 7), logs, 1)[0])
        assert places(rows, seed) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("config", "metric", "layer"),
    [
        # One unit has no spread over the units, and the listing has no eps; nor have zeros.
        (make("before", arithmetic="published", width=1), "activation_var", 4),
        (make("none", arithmetic="corrected", dtype="float32", std=1e15), "activation_var", 4),
        (make_listing("after", arithmetic="published", std=0), "weight_grad_relative_error", 1),
        (make_run("after", width=1), "activation_high", 4),  # and without bins
    ],
)
def test_what_is_not_finite_is_recorded(config, metric, layer):
    # Warnings are errors in this suite, in worker threads too.
    rows = run(config)
    assert not np.isfinite([places(rows, seed)[metric, layer] for seed in SEEDS]).any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (make("before", arithmetic="early"), "'early'; expected published or corrected for signal"),
        (make_listing("before", width=1), r"model\.width is 1; expected at least 2"),
        (make_batch("before", depth=10), r"model\.depth is 10; expected at least 11"),
    ],
)
def test_what_has_no_answer_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        run(config)
