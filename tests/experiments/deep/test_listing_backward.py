"""Document A's backward pass: each fault against the listing's own lines, and what is compared."""

from functools import partial

import numpy as np
import pytest

from gpubn.config import ARITHMETICS
from gpubn.errors import ConfigError
from gpubn.experiments import get
from gpubn.experiments.deep.listing_backward import FAULTS
from tests.experiments.cells import cell, run
from tests.experiments.deep.by_hand import drawn, listing, listing_forward

PLACEMENTS = ["before", "after"]


make = partial(
    cell,
    "listing_backward",
    **{"examples": 30, "features": 9, "depth": 4, "width": 12, "activation": "relu"},
    **{"eps": 1e-3, "kind": "normal", "std": 0.2, "dtype": "float64", "first_seed": 5},
)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_listing_without_faults_is_the_gradient(rng, placement):
    """Guards the oracle: along random directions, by central differences of the forward pass."""
    config = make(placement, examples=8)
    x, weights, upstream = drawn(config, 5)
    gradients = listing(config, 5, ()).weight_grad
    for i, weight in enumerate(weights):
        direction = rng.standard_normal(weight.shape)
        above, below = (
            listing_forward(
                x, [*weights[:i], weight + step * direction, *weights[i + 1 :]], placement
            )[0]
            for step in (1e-6, -1e-6)
        )
        slope = np.sum(upstream * (above - below)) / 2e-6
        assert np.sum(gradients[i + 1] * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_number_is_that_of_the_listing(placement, arithmetic):
    config = make(placement, arithmetic=arithmetic)
    faults = {"published": FAULTS, "corrected": ()}.get(arithmetic, (arithmetic,))
    found = {(r.metric, r.layer, r.seed): r.value for r in run(config)}
    expected = {}
    for seed in (5, 6, 7):
        faulty = listing(config, seed, faults).weight_grad
        for layer, true in listing(config, seed, ()).weight_grad.items():
            of_layer = faulty[layer]
            size, true_size = np.linalg.norm(of_layer), np.linalg.norm(true)
            for metric, value in (
                ("relative_error", np.linalg.norm(of_layer - true) / true_size),
                ("size_ratio", size / true_size),
                ("cosine", np.sum(of_layer * true) / (size * true_size) if size else 0),
            ):
                expected[f"weight_grad_{metric}", layer, seed] = value
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_the_forward_pass_knows_no_eps():
    large, none = (run(make("before", arithmetic="sign", eps=eps)) for eps in (10.0, 0.0))
    assert large == none
    assert "norm.eps" not in get("listing_backward").keys


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_division_by_zero_of_the_listing_is_recorded(placement):
    # Warnings are errors in this suite, in worker threads too. Zeros have no spread over units.
    rows = run(make(placement, arithmetic="published", std=0.0))
    first = [r.value for r in rows if (r.metric, r.layer) == ("weight_grad_relative_error", 1)]
    assert not np.isfinite(first).any()
    assert len(rows) == 3 * 4 * 3


def test_one_unit_has_nothing_to_be_normalised_over():
    with pytest.raises(ConfigError, match=r"model\.width is 1; expected at least 2"):
        run(make("before", width=1))
