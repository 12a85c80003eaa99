"""Experiments without training: how seeds are grouped changes no bit, and progress adds up."""

import sys

import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.experiments import Context, get


def make(name, placement="before", arithmetic="corrected", dtype="float64"):
    return Config(
        name=name,
        data=DataConfig("gaussian", examples=9, features=5),
        model=ModelConfig("deep", depth=12, width=6, activation="relu", dropout=0.3),
        norm=NormConfig(name=placement, placement=placement, eps=1e-3),
        init=InitConfig(name="he", kind="he_normal"),
        optim=OptimConfig(rate=0.01, steps=70),
        arithmetic=arithmetic,
        dtype=dtype,
        seeds=3,
        first_seed=5,
    )


@pytest.mark.parametrize(
    "config",
    [
        *map(make, ("dropout_shift", "estimators", "exact", "moving_average", "shared_scale")),
        *(make("signal_batch", placement) for placement in ("none", "before", "after")),
        *(
            make("signal_propagation", placement, arithmetic, dtype)
            for placement in ("none", "before", "after")
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
        rows = experiment.run(config, Context(resolve("numpy"), tick=ticks.append))
        results.append(sorted(map(repr, rows)))  # as text, for NaN is equal to nothing
        assert sum(ticks) == experiment.work(config)
    assert results[0] == results[1] == results[2]
