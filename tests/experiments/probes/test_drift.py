"""Drift against the moments of each unit."""

from math import log
from statistics import fmean, pvariance

import numpy as np
import pytest

from gpubn.experiments.probes.drift import Drift
from gpubn.nn.layers import Activation, Affine
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes.by_hand import build, check, each, measured, of_kind, seen


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        *((placement, {}) for placement in PLACEMENTS),
        ("before", {"dropout": 0.3}),
        ("after", {"dropout": 0.3, "dropout_at": "before_norm"}),
    ],
)
def test_drift(placement, model):
    network, probe = build(placement, **model), Drift(4)

    def inputs(r):
        """{(metric's start, layer): input (N, D)}"""
        parts = seen(network, r)
        into_affine = of_kind(parts, Affine)[1:]
        return {
            **{("drift", i): x for i, (x, _) in enumerate(into_affine, 1)},
            **{
                ("preactivation_drift", i): x
                for i, (x, _) in enumerate(of_kind(parts, Activation), 1)
            },
        }

    old = each(network, inputs)
    assert measured(probe, network, 0) == {}  # nothing to compare with
    rng = np.random.default_rng(4)
    for step in (3, 6):
        for layer in network.model.layers:
            for array in layer.params.values():
                array += rng.uniform(-0.3, 0.3, array.shape)
        new, expected = each(network, inputs), {}
        for r in range(2):
            for (kind, layer), x in old[r].items():
                units = list(zip(x.T, new[r][kind, layer].T, strict=True))
                moved = fmean((fmean(b) - fmean(a)) ** 2 for a, b in units)
                before, after = (fmean(pvariance(u[i]) for u in units) for i in (0, 1))
                expected.setdefault((f"{kind}_mean", layer), []).append((moved / before) ** 0.5)
                expected.setdefault((f"{kind}_std", layer), []).append(abs(log(after / before)) / 2)
        check(measured(probe, network, step), expected, rtol=1e-8)
        assert {layer for _, layer in expected} == {1, 2}
        old = new
