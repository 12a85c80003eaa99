"""Document D on the digits: what is recorded, when, and from which network."""

from math import log

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.data import Dataset, load
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get, mnist_init
from gpubn.init import draw_weight
from gpubn.schema import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig

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


def run(config, tick=None):
    return get("mnist_init").run(config, Context(resolve("numpy"), tick=tick))


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
    layers = range(1, depth + 1)
    probed = {(step, layer) for step in (0, 2, 4, 6, 8, 10, 12) for layer in layers}
    assert places == {
        "saturated_share": probed,
        "dead_share": probed,
        "unit_mean": {(step, layer) for step in (0, 12) for layer in layers},
        "batch_loss": {(0, None), (4, None), (8, None), (12, None)},
        **{
            f"{part}_{what}": {(12, None)}
            for part in ("train", "test")
            for what in ("loss", "accuracy")
        },
    }
    keys = [(r.metric, r.step, r.layer, r.seed) for r in rows]
    assert len(set(keys)) == len(keys)
    by_seed = [r for r in rows if not r.metric.startswith("unit_mean")]
    assert len(by_seed) == 3 * (2 * len(probed) + 4 + 4)
    assert {r.seed for r in by_seed} == {2, 3, 4}
    assert all(np.isfinite(r.value) for r in rows)


def test_probes_of_a_run_shorter_than_their_number():
    rows = run(make(optim={"steps": 1}, every=1))
    assert {r.step for r in rows if r.metric == "dead_share"} == {0, 1}
    assert {r.step for r in rows if r.metric == "batch_loss"} == {0, 1}
    keys = [(r.metric, r.step, r.layer, r.seed) for r in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("every", [1, 4, 5, 12, 100])
def test_batch_loss_is_the_mean_of_each_window(monkeypatch, every):
    kept = {}

    def spy(*args, seeds, **kwargs):
        losses = trained(*args, seeds=seeds, **kwargs)
        kept.update({seed: losses[:, i] for i, seed in enumerate(seeds)})
        return losses

    trained = mnist_init.train
    monkeypatch.setattr(mnist_init, "train", spy)
    rows = run(make(every=every))
    steps = {r.step for r in rows if r.metric == "batch_loss"}
    assert steps == {0, *range(every, 13, every)}
    for step in steps:
        for seed, found in values(rows, "batch_loss", step).items():
            window = kept[seed][step - every : step] if step else kept[seed][:1]
            assert found == pytest.approx(window.astype(np.float64).mean(), rel=1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_first_loss_of_tiny_weights_is_that_of_a_guess(placement):
    init = {"kind": "normal", "std": 1e-4}
    first = values(run(make(placement, init=init)), "batch_loss", 0)
    assert list(first.values()) == pytest.approx([log(10)] * 3, abs=0.005)


def test_the_document_norm_is_trained_and_evaluated():
    norm = {"eps": 0.0, "correction": 1, "momentum": 0.5, "average": "std", "initial_spread": 0.0}
    rows = run(make("before", norm=norm, optim={"steps": 60}, width=16))
    assert min(values(rows, "test_accuracy", 60).values()) > 0.7
    for part in ("train", "test"):
        assert max(values(rows, f"{part}_loss", 60).values()) < 1.2


def test_unit_means_are_those_of_the_first_seed_before_and_after():
    rows = run(make())
    means = [r for r in rows if r.metric.startswith("unit_mean[")]
    assert {(r.seed, r.step) for r in means} == {(2, 0), (2, 12)}
    x = load("digits").x_train[:1000].astype(np.float64)
    expected = np.tanh(x @ draw_weight("glorot_normal", 64, 8, [2], 0)[0]).mean(axis=0)
    before = {r.metric: r.value for r in means if r.step == 0}
    assert before == pytest.approx({f"unit_mean[{i}]": m for i, m in enumerate(expected)}, abs=1e-5)
    assert before != pytest.approx({r.metric: r.value for r in means if r.step == 12}, abs=1e-3)


def test_all_units_saturate_under_uniform_weights_of_many_features(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.random((200, 784)).astype(np.float32)
    y = rng.integers(0, 10, 200)
    wide = Dataset("wide", x[:150], y[:150], x[150:], y[150:], 10)
    monkeypatch.setattr(mnist_init, "load", lambda *_: wide)
    rows = run(make(init={"kind": "uniform"}))
    assert values(rows, "saturated_share", 0, 1) == {2: 1.0, 3: 1.0, 4: 1.0}
    assert values(rows, "dead_share", 0, 1) == {2: 1.0, 3: 1.0, 4: 1.0}
    rows = run(make(init={"kind": "uniform", "scale": 1e-4}))
    assert values(rows, "saturated_share", 0, 1) == {2: 0.0, 3: 0.0, 4: 0.0}
    rows = run(make("before", init={"kind": "uniform"}))
    assert max(values(rows, "saturated_share", 0, 1).values()) < 0.05
    assert values(rows, "dead_share", 0, 1) == {2: 0.0, 3: 0.0, 4: 0.0}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_shares_are_those_of_the_activation_not_of_what_follows(placement):
    rows = run(make(placement, init={"kind": "normal"}, norm={"learnable": False}))
    x = load("digits").x_train[:1000].astype(np.float64)
    for seed, found in values(rows, "saturated_share", 0, 1).items():
        z = x @ draw_weight("normal", 64, 8, [seed], 0)[0]
        if placement == "before":
            z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
        assert found == pytest.approx((np.abs(np.tanh(z)) > 0.99).mean(), abs=2e-4)


def test_measuring_changes_no_number(monkeypatch):
    before = run(make("before"))
    monkeypatch.setattr(mnist_init, "PROBES", 2)
    after = run(make("before"))
    assert {r.step for r in after if r.metric == "dead_share"} == {0, 6, 12}
    assert set(after) < set(before)


def test_train_and_test_examples_are_told_apart(monkeypatch):
    data = load("digits")
    # Test labels that the training never shows: the accuracy there must be 0.
    y_train, y_test = np.zeros_like(data.y_train), np.ones_like(data.y_test)
    odd = Dataset("odd", data.x_train, y_train, data.x_test, y_test, 10)
    monkeypatch.setattr(mnist_init, "load", lambda *_: odd)
    rows = run(make())
    assert values(rows, "train_accuracy", 12) == {2: 1.0, 3: 1.0, 4: 1.0}
    assert values(rows, "test_accuracy", 12) == {2: 0.0, 3: 0.0, 4: 0.0}
    assert values(rows, "train_loss", 12)[2] < 0.5 < values(rows, "test_loss", 12)[2]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.batch is 1438; expected at most 1437"):
        run(make(optim={"batch": 1438}))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_split_into_groups_changes_no_bit(monkeypatch, placement):
    results = []
    for group in (1, 2, 3):
        monkeypatch.setattr(mnist_init, "GROUP", group)
        rows = run(make(placement))
        results.append(sorted(rows, key=lambda r: (r.metric, r.step, r.layer or 0, r.seed)))
    assert results[0] == results[1] == results[2]


def test_more_seeds_leave_the_rows_of_the_first_ones():
    few, many = run(make(seeds=2)), run(make(seeds=7))
    assert {r.seed for r in many} == set(range(2, 9))
    assert set(few) < set(many)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [max(0.4 * (1 - step / 12), 0.1) for step in range(12)]), ("constant", [0.4] * 12)],
)
def test_the_rate_falls_to_its_floor_over_the_run(monkeypatch, schedule, expected):
    optim = {"schedule": schedule, "rate": 0.4, "min_rate": 0.1}
    right = run(make(optim=optim))
    used = []

    class Spy(mnist_init.optim.SGD):
        def update(self, model, gradients, step):
            used.append(self.rates(step).tolist())
            super().update(model, gradients, step)

    monkeypatch.setattr(mnist_init.optim, "SGD", Spy)
    assert run(make(optim=optim)) == right
    assert used == [pytest.approx([rate], rel=1e-12) for rate in expected]


def test_the_options_of_batch_norm_arrive():
    # So large an eps leaves nothing of the activations: a guess.
    rows = run(make("before", norm={"eps": 1e12}))
    assert list(values(rows, "batch_loss", 0).values()) == pytest.approx([log(10)] * 3, abs=1e-4)
    rows = run(make("before", norm={"eps": 1e-5}))
    assert np.abs(np.array(list(values(rows, "batch_loss", 0).values())) - log(10)).min() > 1e-3


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_diverged_cell_yields_its_rows(placement):
    # Warnings are errors in this suite, in worker threads too.
    rows = run(make(placement, activation="relu", optim={"rate": 1e30}))
    for part in ("train", "test"):
        assert not np.isfinite(list(values(rows, f"{part}_loss", 12).values())).any()
    assert not np.isfinite(list(values(rows, "batch_loss", 12).values())).all()
    assert np.isfinite(list(values(rows, "batch_loss", 0).values())).all()
    assert len(rows) == len(run(make()))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_ticks_add_up_to_the_work(placement):
    ticks, config = [], make(placement, seeds=7)
    run(config, tick=ticks.append)
    assert sum(ticks) == get("mnist_init").work(config) == 7 * 12
