"""Layers of D and H units by turns: every number against a loop over the layers."""

import numpy as np
import pytest

from gpubn.nn.rng import generator
from tests.experiments.cells import cell, run
from tests.nn.networks import draw_weight

SEEDS, DEPTH, EXAMPLES = (5, 6), 3, 7


@pytest.mark.parametrize("activation", ["tanh", "linear"])
@pytest.mark.parametrize(("features", "width"), [(4, 4), (6, 3)])
def test_variances_forward_and_back(activation, features, width):
    size = {"features": features, "width": width, "depth": DEPTH, "examples": EXAMPLES}
    of_seeds = {"seeds": 2, "first_seed": 5, "dtype": "float64"}
    rows = run(cell("glorot_signal", scale=2.5, activation=activation, **size, **of_seeds))
    sizes = [features, width, features, width]
    function = np.tanh if activation == "tanh" else np.array
    for seed in SEEDS:
        h = [generator(seed, "input").standard_normal((EXAMPLES, features))]
        weights, expected = [], {}
        for layer in range(DEPTH):
            drawn = draw_weight("glorot_normal", *sizes[layer : layer + 2], [seed], layer)
            weights.append(2.5 * drawn[0])
            h.append(function(h[-1] @ weights[-1]))
            expected["activation_var", layer + 1] = np.var(h[-1])
            flat = abs(h[-1]) > 0.99 if activation == "tanh" else np.zeros(1)
            expected["saturated_share", layer + 1] = np.mean(flat)
        g = generator(seed, "upstream").standard_normal((EXAMPLES, sizes[-1]))
        expected["signal_var", DEPTH] = np.var(g)
        for layer in range(DEPTH, 0, -1):
            slope = 1 - h[layer] ** 2 if activation == "tanh" else 1
            g = (g * slope) @ weights[layer - 1].T
            expected["signal_var", layer - 1] = np.var(g)
        found = {(r.metric, r.layer): r.value for r in rows if r.seed == seed}
        assert found == pytest.approx(expected, rel=1e-9)
