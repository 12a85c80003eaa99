"""The listing's dgamma and dbeta, against gradients of its forward pass by differences."""

from functools import partial

import numpy as np
import pytest

from gpubn.errors import ConfigError
from gpubn.experiments import get
from tests.experiments.cells import cell, run
from tests.experiments.deep.by_hand import drawn, listing_norm

DEPTH, WIDTH, EXAMPLES = 3, 9, 4
make = partial(
    cell,
    "listing_scale",
    "after",
    **{"kind": "normal", "std": 0.4, "depth": DEPTH, "width": WIDTH, "examples": EXAMPLES},
    **{"features": 5, "activation": "relu", "dtype": "float64", "seeds": 2, "first_seed": 5},
)


def passes(config, seed, layer, gamma=1, beta=0):
    """The loss, and the normalised output of a layer, whose own gamma and beta these are."""
    x, weights, upstream = drawn(config, seed)
    h = x.T
    for number, weight in enumerate(weights, 1):
        h = listing_norm(np.maximum(weight.T @ h, 0))
        if number == layer:
            own = h
            h = gamma * h + beta
    return (upstream.T * h).sum(), own


def differences(loss, shape, step=1e-6):
    """Gradient of loss(change) at no change, entry by entry."""
    gradient = np.zeros(shape)
    for at in np.ndindex(shape):
        moved = np.zeros(shape)
        moved[at] = step
        gradient[at] = (loss(moved) - loss(-moved)) / (2 * step)
    return gradient


EACH = (WIDTH, EXAMPLES)
SHAPES = {"unit": (WIDTH, 1), "layer": (1, 1)}


def by_differences(config, seed, layer):
    """{metric: value} of one layer, but for what is divided by the right gradient of 0."""
    of = {
        "gamma": lambda change: passes(config, seed, layer, gamma=1 + change)[0],
        "beta": lambda change: passes(config, seed, layer, beta=change)[0],
    }
    dy, y = differences(of["beta"], EACH), passes(config, seed, layer)[1]
    found = {}
    for kind, terms, wrong in (("gamma", dy * y, dy * y), ("beta", dy, np.sum(dy))):
        for shared, shape in SHAPES.items():
            right = differences(of[kind], shape)
            found[f"{kind}_numbers_{shared}"] = np.size(wrong) / right.size
            if (kind, shared) == ("gamma", "layer") and layer < DEPTH:
                continue  # the next normalisation takes a common factor away
            a, b = (np.broadcast_to(g, EACH) for g in (wrong, right))
            size, true_size = np.linalg.norm(a), np.linalg.norm(b)
            found[f"{kind}_error_{shared}"] = np.linalg.norm(a - b) / max(size, true_size)
            found[f"{kind}_size_ratio_{shared}"] = size / true_size
            found[f"{kind}_cosine_{shared}"] = (a * b).sum() / (size * true_size)
            found[f"{kind}_gain_ratio_{shared}"] = (terms * a).sum() / (terms * b).sum()
    return found


def test_every_number():
    config = make()
    rows = run(config)
    for seed in (5, 6):
        for layer in range(1, DEPTH + 1):
            found = {r.metric: r.value for r in rows if (r.seed, r.layer) == (seed, layer)}
            expected = by_differences(config, seed, layer)
            assert len(found) == 20
            of_those = {metric: found[metric] for metric in expected}
            assert of_those == pytest.approx(expected, rel=1e-5, abs=1e-6)
            assert found["beta_error_layer"] == 0
            if layer < DEPTH:  # the right one is 0, but for rounding
                assert found["gamma_error_layer"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 1}, r"model\.width is 1; expected at least 2"),
        ({"norm_kind": "layer"}, "norm is 'after'; expected after for listing_scale"),
    ],
)
def test_what_has_no_answer_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        get("listing_scale").check(make(**options))
