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


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("depth", [1, 2])
def test_what_the_rows_hold(placement, depth):
    rows = run(make(placement, depth=depth))
    places = {}
    for r in rows:
        places.setdefault(r.metric.split("[")[0], set()).add((r.step, r.layer))
    hidden, steps = range(1, depth + 1), range(0, 13, 2)
    probed = {(step, layer) for step in steps for layer in hidden}
    affine = {(step, layer) for step in steps for layer in (*hidden, depth + 1)}
    moved = {(step, layer) for step, layer in probed if step > 0}
    ends = {(step, layer) for step in (0, 12) for layer in hidden}
    end = {(12, None)}
    assert places == {
        **dict.fromkeys(("saturated_share", "dead_share"), probed),
        **dict.fromkeys(("gradient_norm", "gradient_to_weight", "update_to_weight"), affine),
        "weight_change": affine,
        **dict.fromkeys(("drift_mean", "drift_std"), moved),
        **dict.fromkeys(("preactivation_drift_mean", "preactivation_drift_std"), moved),
        **dict.fromkeys(("unit_mean", "pinned_share"), ends),
        **{f"{place}_activation_hist": {(0, 1)} for place in ("pre", "post")},
        "batch_loss": {(0, None), (4, None), (8, None), (12, None)},
        **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), end),
        **dict.fromkeys(("steps_to_loss", "diverged"), end),
    }
    keys = [(r.metric, r.step, r.layer, r.seed) for r in rows]
    assert len(set(keys)) == len(keys)
    pooled = [r for r in rows if "_hist[" in r.metric]
    assert {r.seed for r in pooled} == {None}
    assert len(pooled) == 2 * 60
    by_seed = [r for r in rows if not r.metric.startswith("unit_mean") and r not in pooled]
    times = 2 * len(probed) + 4 * len(affine) + 4 * len(moved) + 2 * len(ends) + 4 + 4 + 4
    assert len(by_seed) == 3 * times
    assert {r.seed for r in by_seed} == {2, 3, 4}
    assert all(np.isfinite(r.value) for r in rows if not r.metric.startswith("steps_to"))


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


def test_the_document_norm_is_trained_and_evaluated():
    norm = {"eps": 0.0, "correction": 1, "momentum": 0.5, "average": "std", "initial_spread": 0.0}
    rows = run(make("before", norm=norm, optim={"steps": 60}, width=16))
    assert min(values(rows, "test_accuracy", 60).values()) > 0.7
    for part in ("train", "test"):
        assert max(values(rows, f"{part}_loss", 60).values()) < 1.2


def test_all_units_saturate_under_uniform_weights_of_many_features(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.random((200, 784)).astype(np.float32)
    y = rng.integers(0, 10, 200)
    wide = Dataset("wide", x[:150], y[:150], x[150:], y[150:], 10)
    monkeypatch.setattr(trainer, "load", lambda *_: wide)
    rows = run(make(init={"kind": "uniform"}))
    assert values(rows, "saturated_share", 0, 1) == {2: 1.0, 3: 1.0, 4: 1.0}
    assert values(rows, "dead_share", 0, 1) == {2: 1.0, 3: 1.0, 4: 1.0}
    rows = run(make(init={"kind": "uniform", "scale": 1e-4}))
    assert values(rows, "saturated_share", 0, 1) == {2: 0.0, 3: 0.0, 4: 0.0}
    rows = run(make("before", init={"kind": "uniform"}))
    assert max(values(rows, "saturated_share", 0, 1).values()) < 0.05
    assert values(rows, "dead_share", 0, 1) == {2: 0.0, 3: 0.0, 4: 0.0}
