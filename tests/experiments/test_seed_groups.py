"""Experiments without training: how seeds are grouped changes no bit, and progress adds up."""

import sys

import pytest

from gpubn.experiments import get
from tests.experiments.cells import PLACEMENTS, cell, run


def make(name, placement="before", arithmetic="corrected", dtype="float64"):
    size = {"examples": 9, "features": 5, "depth": 12, "width": 6, "steps": 70}
    options = {"activation": "relu", "dropout": 0.3, "eps": 1e-3, "kind": "he_normal", "rate": 0.01}
    own = {"arithmetic": arithmetic, "dtype": dtype, "first_seed": 5}
    return cell(name, placement, **size, **options, **own)


@pytest.mark.parametrize(
    "config",
    [
        *map(make, ("dropout_shift", "estimators", "exact", "moving_average", "shared_scale")),
        *(make("signal_batch", placement) for placement in PLACEMENTS),
        *(
            make("signal_propagation", placement, arithmetic, dtype)
            for placement in PLACEMENTS
            for arithmetic in ("published", "corrected")
            for dtype in ("float32", "float64")
        ),
        *(
            make("listing_backward", "after", arithmetic)
            for arithmetic in ("published", "early", "corrected")
        ),
    ],
    ids=lambda c: f"{c.name}-{c.norm.name}-{c.arithmetic}-{c.dtype}",
)
def test_groups_of_seeds(monkeypatch, config):
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
