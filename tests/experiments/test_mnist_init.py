"""Document D on the digits: what is recorded, when, and from which network."""

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.data import Dataset
from gpubn.experiments import Context, get
from gpubn.experiments.training import trainer
from gpubn.nn.rng import example_order

PLACEMENTS = ["none", "before", "after"]


def make(placement="none", *, init=None, **options):
    optim = {"rate": 0.5, "batch": 32, "steps": 12} | options.pop("optim", {})
    model = {"depth": options.pop("depth", 1), "width": options.pop("width", 8)}
    model["activation"] = options.pop("activation", "tanh")
    return Config(
        name="mnist_init",
        data=DataConfig("digits"),
        model=ModelConfig(**model),
        norm=NormConfig(name=placement, placement=placement, **options.pop("norm", {})),
        init=InitConfig(**init or {}),
        optim=OptimConfig(**optim),
        **{"seeds": 3, "first_seed": 2, "every": 4} | options,
    )


def run(config):
    return get("mnist_init").run(config, Context(resolve("numpy")))


def values(rows, metric, step, layer=None):
    """One metric at one place, by seed."""
    return {r.seed: r.value for r in rows if (r.metric, r.step, r.layer) == (metric, step, layer)}


def test_histograms_every_200_steps():
    rows = run(make(optim={"steps": 401, "batch": 2}, width=2, seeds=1))
    assert {r.step for r in rows if r.metric.startswith("pre_")} == {0, 200, 400}


def test_all_test_examples_of_mnist_are_evaluated(monkeypatch):
    """Ten thousand: of 10,200 all but the last 200 in the order of the seed."""
    rng = np.random.default_rng(0)
    x, y = rng.random((10_700, 3)).astype(np.float32), np.zeros(10_700, np.int64)
    order = example_order(3, "test", 10_200)
    y[500 + order[10_000:]] = 1  # another label
    many = Dataset("many", x[:500], y[:500], x[500:], y[500:], 2)
    monkeypatch.setattr(trainer, "load", lambda *_: many)
    rows = run(make(optim={"steps": 40}))
    found = values(rows, "test_accuracy", 40)
    assert found[3] == pytest.approx(1, rel=1e-9)
    for seed in (2, 4):  # to whom they are 200 of any
        hit = (y[500 + example_order(seed, "test", 10_200)[:10_000]] == 0).mean()
        assert found[seed] == pytest.approx(hit, rel=1e-9)
        assert hit < 0.99
    y[500 + order[9_999]] = 1
    rows = run(make(optim={"steps": 40}))
    assert values(rows, "test_accuracy", 40)[3] == pytest.approx(1 - 1e-4, rel=1e-9)
