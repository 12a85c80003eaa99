"""Trainings with probes: what every one records, when probes look, and every such experiment."""

from dataclasses import replace
from functools import partial
from math import isfinite

import numpy as np
import pytest

from gpubn.data import Dataset, load, transformed
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.experiments.probes.activations import Histograms, Saturation
from gpubn.experiments.probes.base import Probe
from gpubn.experiments.probes.drift import Drift
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.gradients import UpdateRatios
from gpubn.experiments.training import trainer
from gpubn.experiments.training.records import loss_rows
from gpubn.experiments.training.trainer import train_cells
from gpubn.nn.norms import KINDS
from gpubn.nn.rng import batch_order, example_order
from tests.experiments.cells import NUMPY, PLACEMENTS, cell, values
from tests.experiments.probes import by_hand

NAN, INF = float("nan"), float("inf")


make = partial(
    cell,
    "depth_grid",
    dataset="digits",
    **{"width": 8, "rate": 0.5, "batch": 32, "steps": 12, "first_seed": 2, "every": 4},
)


def named(name, placement="none", **options):
    return replace(make(placement, **options), name=name)


def run(config, *probes, tick=None, group=5, evaluated=2000):
    context = Context(NUMPY, tick=tick)
    make_probes = lambda config: [probe() for probe in probes]  # noqa: E731
    (rows,) = train_cells([config], context, probes=make_probes, group=group, evaluated=evaluated)
    return rows


EVERYTHING = (
    partial(Saturation, 3),
    partial(UpdateRatios, 3),
    partial(Drift, 3),
    partial(Histograms, 4),
    partial(Generalisation, 3, population=True),
)


def place(row):
    return row.metric, row.step, row.layer or 0, -1 if row.seed is None else row.seed


def window(of_seed, end, every):
    """Mean of the `every` losses up to `end`, one number at a time."""
    return sum(float(v) for v in of_seed[max(end - every, 0) : end]) / min(every, end)


def steps_to(target, of_seed, every):
    """The first step count at which a whole window has a mean of at most `target`."""
    for end in range(min(every, len(of_seed)), len(of_seed) + 1):
        if window(of_seed, end, every) <= target:
            return end
    return INF


def test_what_the_rows_hold():
    ticks = []
    rows = run(make("before"), tick=ticks.append)
    assert sum(ticks) == get("depth_grid").work(make("before")) == 3 * 12
    last = ["diverged", *(f"steps_to_loss[{target}]" for target in ("1", "0.5", "0.3"))]
    last += [f"{part}_{what}" for part in ("train", "test") for what in ("loss", "accuracy")]
    expected = {("batch_loss", step) for step in (0, 4, 8, 12)} | {(key, 12) for key in last}
    places = {(metric, step, 0, seed) for metric, step in expected for seed in (2, 3, 4)}
    assert sorted(map(place, rows)) == sorted(places)


PATHS = {
    "falls": np.linspace(3, 0.01, 30),
    "at once": np.full(30, 0.3),
    "dips and returns": np.r_[np.full(10, 2.0), np.full(6, 0.1), np.full(14, 2.0)],
    "NaN on the way": np.r_[np.full(10, 2.0), [NAN], np.linspace(2, 0.1, 19)],
    "NaN at the end": np.r_[np.linspace(2, 0.1, 29), [NAN]],
    "inf on the way": np.r_[np.full(10, 0.4), [INF], np.full(19, 0.2)],
    "sums beyond float32": np.full(30, 3e38),
    "ends high": np.r_[np.full(20, 0.1), np.full(10, 10.001)],
    "ends at the bound": np.full(30, 10.0),
    "was high": np.r_[np.full(20, 1e30), np.full(10, 0.1)],
}


@pytest.mark.parametrize("every", [1, 7, 10, 30, 100])
def test_loss_rows_of_any_path(every):
    paths = np.stack(list(PATHS.values()), axis=1).astype(np.float32)
    seeds = range(5, 5 + len(PATHS))
    rows = loss_rows(seeds, paths, every)
    for seed, name, path in zip(seeds, PATHS, paths.T, strict=True):
        mine = {(r.metric, r.step): r.value for r in rows if r.seed == seed}
        expected = {("batch_loss", 0): float(path[0])}
        for end in range(every, 31, every):
            expected["batch_loss", end] = window(path, end, every)
        for target in (1.0, 0.5, 0.3):
            # float32 0.3 lies above 0.3: a mean of it is no mean of at most 0.3.
            expected[f"steps_to_loss[{target:g}]", 30] = steps_to(target, path, every)
        sound = all(map(isfinite, path)) and window(path, 30, every) <= 10
        expected["diverged", 30] = float(not sound)
        assert mine == pytest.approx(expected, rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_diverged_training_is_counted_and_yields_its_rows(placement):
    # Warnings are errors in this suite, in worker threads too.
    config = make(placement, activation="relu", rate=1e30)
    rows, sound = run(config, *EVERYTHING), run(make(placement, activation="relu"), *EVERYTHING)
    assert sorted(map(place, rows)) == sorted(map(place, sound))
    for of, diverged in ((rows, 1.0), (sound, 0.0)):
        assert values(of, "diverged", 12) == dict.fromkeys((2, 3, 4), diverged)
        for metric in ("batch_loss", "train_loss", "test_loss", "best_test_loss"):
            assert np.isfinite([*values(of, metric, 12).values()]).all() != diverged, metric
    assert np.isfinite([*values(rows, "batch_loss", 0).values()]).all()


@pytest.mark.parametrize("sample", [0, 40])
@pytest.mark.parametrize("evaluated", [7, 2000])
def test_examples_of_each_seed_are_evaluated_in_inference_mode(evaluated, sample):
    """By hand from the parameters of the network as the probe finds it at the end."""
    kept = {}

    class Keep(Probe):
        def measure(self, network, step):
            assert kept or step == 0
            kept[step] = network
            return []

    config = make("before", dtype="float64", eps=by_hand.EPS, train_examples=sample)
    rows = run(config, Keep, evaluated=evaluated)
    for part in ("train", "test"):
        for r, seed in enumerate((2, 3, 4)):
            x, y = by_hand.own(kept[12], r, part, evaluated)
            loss = by_hand.loss(kept[12], r, x, y, training=False)
            assert values(rows, f"{part}_loss", 12)[seed] == pytest.approx(loss, rel=1e-10)
            logits = by_hand.forward(kept[12], r, x, training=False)[-1][2]
            right = (logits.argmax(axis=1) == y).mean()
            assert values(rows, f"{part}_accuracy", 12)[seed] == pytest.approx(right, abs=1e-12)


def test_a_batch_larger_than_the_sample_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.batch is 32; expected at most 31"):
        run(make(batch=32, train_examples=31))


@pytest.mark.parametrize("kind", ["raw", "centred", "whitened"])
def test_a_network_sees_the_transformed_inputs(kind):
    """The first loss by hand, from the parameters as the probe finds them."""
    kept = []

    class Keep(Probe):
        def measure(self, network, step):
            kept.append([network, by_hand.parameters(network, 1)])
            return []

    config = make("before", dtype="float64", eps=by_hand.EPS, inputs=kind)
    rows = run(config, Keep)
    (network, params), *_ = kept
    order = batch_order(3, 1437, 32, 12)[0]
    digits = load("digits")
    x, y = transformed(digits, kind).train[order], digits.y_train[order]
    loss = by_hand.loss(network, 1, x, y, params)
    assert values(rows, "batch_loss", 0)[3] == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("depth_grid", {}, "data.inputs is 'whitened'; expected raw for depth_grid, which takes"),
        ("inputs", {"train_examples": 50}, "'whitened' and data.train_examples 50; expected raw o"),
    ],
)
def test_inputs_that_are_not_to_be_transformed_are_refused(name, options, message):
    get(name).check(named(name, **options))
    with pytest.raises(ConfigError, match=message):
        get(name).check(named(name, inputs="whitened", **options))
    assert ("data.inputs" in get(name).keys) == (name == "inputs")


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("options", [{"train_examples": 50}, {"ghost": 8}], ids=str)
def test_neither_groups_nor_other_seeds_change_a_row(placement, options):
    cells = partial(make, placement, depth=2, dropout=0.3, **options)
    many = sorted(run(cells(seeds=5), *EVERYTHING), key=place)
    assert {r.seed for r in many} == {None, 2, 3, 4, 5, 6}
    for first, count, group in ((2, 5, 1), (2, 5, 2), (2, 2, 5), (4, 3, 3), (6, 1, 5)):
        rows = run(cells(first_seed=first, seeds=count), *EVERYTHING, group=group)
        rows, seeds = sorted(rows, key=place), range(first, first + count)
        assert [r for r in rows if r.seed is not None] == [r for r in many if r.seed in seeds]
        if count == 5:  # what is pooled is a sum over groups: its last digit depends on the split
            found, right = ([r for r in of if r.seed is None] for of in (rows, many))
            assert [*map(place, found)] == [*map(place, right)]
            close = pytest.approx([r.value for r in right], rel=1e-14, abs=1e-16)
            assert [r.value for r in found] == close


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_a_probe_of_a_stack_sees_the_seeds_of_one_cell_as_views(schedule):
    seen, passed = set(), set()

    class Look(Probe):
        def measure(self, network, step):
            rate, weight = network.config.optim.rate, network.model.layers[0].params["weight"]
            seen.add((rate, step, *network.seeds))
            assert len(weight) == len(network.seeds)
            falls = (rate, rate / 2, 0.1) if schedule == "linear" else [rate] * 3
            for at, fallen in zip((0, 6, 11), falls, strict=True):
                assert network.sgd.rates(at).tolist() == [fallen] * len(network.seeds)
            weight *= 0 if rate == 0.25 else 1
            return network.rows("mine", np.full(len(network.seeds), rate), step=step)

        def observe(self, network, caches):
            passed.add((network.config.optim.rate, len(caches[0].weight), caches[0].x.shape))

    def train(*configs, probes=lambda config: [Look()]):
        context = Context(replace(NUMPY, workers=1))
        return train_cells(configs, context, probes=probes, group=5, evaluated=9)

    cells = partial(make, every=12, schedule=schedule, min_rate=0.1)
    configs = [cells(rate=rate, seeds=seeds) for rate, seeds in ((0.25, 3), (0.5, 2))]
    spoilt, sound = train(*configs)
    assert seen == {cell for at in (0, 12) for cell in ((0.25, at, 2, 3, 4), (0.5, at, 2, 3))}
    assert passed == {(0.25, 3, (3, 32, 64)), (0.5, 2, (2, 32, 64))}
    assert values(sound, "mine", 12) == {2: 0.5, 3: 0.5}
    assert train(configs[1]) == [sound]
    (unspoilt,) = train(configs[0], probes=lambda config: [])
    assert values(spoilt, "batch_loss", 12) != values(unspoilt, "batch_loss", 12)


PLAIN = ("depth_grid", "rate_sweep", "scale_sweep", "bessel", "initial_beta", "gamma_beta")
SIZES = "gradient_norm gradient_to_weight update_to_weight weight_change saturated_share dead_share"
DRIFT = "drift_mean drift_std preactivation_drift_mean preactivation_drift_std"
SHIFT = "gradient_shift gradient_shift_cosine"
NORMED = "norm_output_mean norm_output_std gamma_mean gamma_std beta_mean beta_std"
CHANGES = "normalised_mean_change normalised_std_change input_mean_change input_std_change"
LOSSES = "train_loss_path test_loss_path test_loss_at best_test_loss"
HISTOGRAMS = "unit_mean pinned_share pre_activation_hist post_activation_hist"
ADDED = {
    **dict.fromkeys(PLAIN, ""),
    "mnist_init": f"{SIZES} {DRIFT} {HISTOGRAMS}",
    "diagnostics_deep": f"{DRIFT} {SHIFT}",
    "batch_sweep": LOSSES,
    "dropout": f"{LOSSES} norm_input_variance_ratio",
    "recipe": "zero_variance_share zero_variance_step",
    "diagnostics": f"{SIZES} {DRIFT} {SHIFT} activation_percentile {NORMED}",
    "joint_step": f"worse_share joint_raises lost_share {CHANGES}",
    "inputs": "",
}


@pytest.mark.parametrize("name", ADDED)
def test_an_experiment_measures_what_it_promises(name):
    options = {"dropout": 0.5, "dropout_at": "last", "scale": 3.0, "rate": 0.25, "batch": 16}
    options |= {"eps": 0.001, "average": "std", "correction": 1, "initial_beta": 0.5}
    config = named(name, "before", depth=2, activation="relu", **options)
    rows, bare = get(name).run(config, Context(NUMPY)), run(config)
    assert set(bare) <= set(rows)
    added = {r.metric.split("[")[0] for r in set(rows) - set(bare)}
    assert added == set(ADDED[name].split())
    assert len({place(r) for r in rows}) == len(rows)
    without = {r.metric.split("[")[0] for r in get(name).run(named(name), Context(NUMPY))}
    assert not without & set(NORMED.split())


def test_mnist_init_counts_activations_every_200_steps_and_evaluates_10_000_examples(monkeypatch):
    """Of 10,200 test examples all but the last 200 in the order of the seed."""
    rng = np.random.default_rng(0)
    x, y = rng.random((10_700, 3)).astype(np.float32), np.zeros(10_700, np.int64)
    order = example_order(3, "test", 10_200)
    y[500 + order[10_000:]] = 1  # another label
    config = named("mnist_init", steps=401, batch=2, width=2)
    many = Dataset("many", x[:500], y[:500], x[500:], y[500:], 2)
    monkeypatch.setattr(trainer, "load", lambda *_: many)
    for hit in (1, 1 - 1e-4):
        rows = get("mnist_init").run(config, Context(NUMPY))
        assert values(rows, "test_accuracy", 401)[3] == pytest.approx(hit, rel=1e-9)
        y[500 + order[9_999]] = 1
    assert {r.step for r in rows if r.metric.startswith("pre_")} == {0, 200, 400}


def test_losses_on_the_way_of_the_batch_sweep_are_by_the_population():
    """The running averages do not matter: the noise is that of training alone."""
    rows, slow = (
        get("batch_sweep").run(named("batch_sweep", "before", batch=16, **options), Context(NUMPY))
        for options in ({"ghost": 4}, {"ghost": 4, "momentum": 0.01})
    )
    for metric in ("train_loss_path", "test_loss_path", "train_loss"):
        alike = values(rows, metric, 12) == values(slow, metric, 12)
        assert alike == metric.endswith("path")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["recipe", "inference"])
def test_what_follows_whole_batches_refuses_other_kinds(name, kind):
    ghost = 8 if kind == "ghost" else 0
    options = {"depth": 1, "activation": "relu", "norm_kind": kind, "ghost": ghost}
    config = named(name, "before", **options)
    text = f"norm.kind is {kind!r}; expected batch or noisy for {name}, which follows the statist"
    for look in (get(name).check, lambda config: get(name).run(config, Context(NUMPY))):
        if kind in ("batch", "noisy"):
            look(config)
        else:
            with pytest.raises(ConfigError, match=text):
                look(config)
    if name == "recipe":  # which has networks without any
        get(name).check(named(name, "none", **options))


def test_the_statistics_that_are_followed_are_those_before_the_noise():
    """Without updates of weights both kinds see the same batches."""
    options = {"depth": 1, "activation": "relu", "rate": 1e-30, "min_rate": 0.0}
    batch, noisy = (
        get("inference").run(named("inference", "before", norm_kind=k, **options), Context(NUMPY))
        for k in ("batch", "noisy")
    )
    for kind in ("moving[0.1]", "population", "biased[0.01]"):
        metric = f"statistics_error:{kind}"
        assert values(batch, metric, 12) == pytest.approx(values(noisy, metric, 12), rel=1e-6)
    assert values(batch, "batch_loss", 0) != values(noisy, "batch_loss", 0)
