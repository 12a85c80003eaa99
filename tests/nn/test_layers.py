"""Dropout: its masks, and what it scales."""

import numpy as np
import pytest

from gpubn.nn.layers import Dropout
from gpubn.nn.rng import generator


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("seeds", "rates"), [((4, 0, 9), [0.2] * 3), ((7, 7, 4), (0.9, 0.2, 0.0))], ids=str
)
def test_dropout_keeps_what_seed_layer_and_pass_say_and_scales_it(
    backend, rng, seeds, rates, dtype
):
    layer = Dropout(rates, seeds, 3, backend)
    x, dy = rng.uniform(1, 2, (2, 3, 6, 4)).astype(dtype)
    for key in (0, "untracked", 1, "untracked", 2):
        y, cache = layer.forward(backend.asarray(x), training=True, track=key != "untracked")
        dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
        inferred, nothing = layer.forward(backend.asarray(x), training=False, track=True)
        assert nothing is None
        assert backend.to_host(inferred).tobytes() == x.tobytes()
        assert gradients == layer.params == {}
        for found, given in ((y, x), (dx, dy)):
            assert found.dtype == dtype
            for r, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
                draws = generator(seed, "dropout", 3, key).random((6, 4), np.float32)
                right = np.where(draws >= rate, given[r].astype(np.float64) / (1 - rate), 0)
                np.testing.assert_allclose(backend.to_host(found)[r], right, rtol=1e-6)
