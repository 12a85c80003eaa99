"""Every probe against the same thing worked out from the parameters, one network at a time."""

from dataclasses import replace
from functools import partial
from math import inf, log, pi
from statistics import fmean, pvariance

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.data import Dataset
from gpubn.experiments import Context, generalisation, measures, norm_measures, training
from gpubn.experiments.generalisation import Generalisation, loss_at
from gpubn.experiments.measures import (
    Densities,
    Drift,
    GradientShift,
    Percentiles,
    Ratios,
    Saturation,
    UnitMeans,
)
from gpubn.experiments.network import Network, fetch
from gpubn.experiments.norm_measures import NormInputVariance, NormParameters, ZeroVariance
from gpubn.nn import optim
from gpubn.nn.layers import Activation, Affine, Dropout
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.rng import example_order, generator
from gpubn.nn.train import DeviceData, to_device

PLACEMENTS = ["none", "before", "after"]
NUMPY = resolve("numpy")
SEEDS = (2, 5)
EPS, CLASSES = 1e-3, 3
STEPS, RATE, FLOOR = 10, 0.5, 0.2


def examples(count, features=5):
    rng = np.random.default_rng(1)
    return rng.random((count, features)).astype(np.float32), rng.integers(0, CLASSES, count)


X, Y = examples(70)
DATA = Dataset("random", X[:40], Y[:40], X[40:], Y[40:], CLASSES)
SAMPLE = 30
"""Of 40 training examples, drawn for each seed: probes may look at no other."""


def build(placement="before", *, depth=2, activation="tanh", dataset=DATA, **options):
    """A network of two seeds whose parameters have all left their special initial values."""
    seeds, shaken = options.pop("seeds", SEEDS), options.pop("shaken", True)
    optimiser = {"steps": STEPS, "rate": RATE, "min_rate": FLOOR} | options.pop("optim", {})
    model = {"width": 4} | options.pop("model", {})
    config = Config(
        name="diagnostics",
        data=DataConfig("digits", train_examples=options.pop("sample", SAMPLE)),
        model=ModelConfig(depth=depth, activation=activation, **model),
        norm=NormConfig(name=placement, placement=placement, eps=EPS, **options.pop("norm", {})),
        init=InitConfig(kind="glorot_normal"),
        optim=OptimConfig(**optimiser),
        dtype="float64",
        seeds=len(seeds),
        first_seed=seeds[0],
    )
    network = build_mlp(
        config.model,
        config.norm,
        config.init,
        features=dataset.features,
        classes=dataset.classes,
        seeds=seeds,
        backend=NUMPY,
        dtype="float64",
    )
    rng = np.random.default_rng(0)
    for layer in network.layers if shaken else ():
        for array in layer.params.values():
            array += rng.uniform(-0.5, 0.5, array.shape)
        if isinstance(layer, BatchNorm):
            layer.running_mean += rng.uniform(-0.5, 0.5, layer.running_mean.shape)
            layer.running_spread *= rng.uniform(0.5, 2.0, layer.running_spread.shape)
    o = config.optim
    schedule = optim.linear(o.steps) if o.schedule == "linear" else optim.constant
    sgd = optim.SGD(o.rate, schedule, o.min_rate, NUMPY, "float64")
    data = to_device(dataset, NUMPY, "float64")
    return Network(config, NUMPY, dataset, data, network, sgd, seeds)


def measured(probe, network, step=0):
    """{(metric, layer): {seed: value}} of one measurement."""
    found = {}
    (rows,) = fetch([[*probe.measure(network, step)]], network.backend)
    for row in rows:
        assert row.step == step
        by_seed = found.setdefault((row.metric, row.layer), {})
        assert row.seed not in by_seed
        by_seed[row.seed] = row.value
    return found


def check(found, expected, rtol=1e-9):
    """That exactly these metrics, layers and seeds were measured, with these values."""
    assert set(found) == set(expected)
    for key, by_seed in expected.items():
        assert found[key] == pytest.approx(dict(zip(SEEDS, by_seed, strict=True)), rel=rtol), key


def state(network):
    """Every number that training could feel, as bytes."""
    arrays = []
    for layer in network.model.layers:
        arrays += layer.params.values()
        if isinstance(layer, BatchNorm):
            arrays += [layer.running_mean, layer.running_spread]
    passes = [la._passes for la in network.model.layers if isinstance(la, Dropout)]
    return [a.tobytes() for a in arrays], passes


# The network by hand ------------------------------------------------------------------------------


def own(network, r, part="train", count=None):
    """x and labels of the examples that the seed of replica r looks at."""
    data, seed = network.dataset, network.seeds[r]
    sample = network.config.data.train_examples or None
    x, y = (data.x_train, data.y_train) if part == "train" else (data.x_test, data.y_test)
    order = example_order(seed, part, len(x))[: sample if part == "train" else None][:count]
    return x[order], y[order]


def seen(network, r, **options):
    """The forward pass of replica r for the training examples that probes look at."""
    return forward(network, r, own(network, r)[0], **options)


def parameters(network, r):
    """Of replica r: one dict a layer, copies."""
    return [
        {name: value[r].copy() for name, value in layer.params.items()}
        for layer in network.model.layers
    ]


def forward(network, r, x, params=None, training=True):
    """[(layer, input, output)] of replica r for examples x (N, D)."""
    params = parameters(network, r) if params is None else params
    activation = network.config.model.activation
    rate, number, parts = network.config.model.dropout, 0, []
    x = x.astype(np.float64)
    for layer, p in zip(network.model.layers, params, strict=True):
        if isinstance(layer, Affine):
            number += 1
            y = x @ p["weight"] + p["bias"]
        elif isinstance(layer, Activation):
            y = {
                "relu": lambda x: x * (x > 0),
                "tanh": lambda x: 2 / (1 + np.exp(-2 * x)) - 1,
                "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            }[activation](x)
        elif isinstance(layer, Dropout):
            draw = generator(network.seeds[r], "dropout", number, "untracked")
            kept = draw.random(x.shape, np.float32) >= rate
            y = x * kept / (1 - rate) if training else x
        else:
            mean, var = x.mean(axis=0), x.var(axis=0)
            if not training:
                mean, var = layer.running_mean[r], layer.running_spread[r]
            y = (x - mean) / np.sqrt(var + EPS)
            y = y * p.get("gamma", 1) + p.get("beta", 0)
        parts.append((layer, x, y))
        x = y
    return parts


def loss(network, r, x, y, params=None, training=True):
    logits = forward(network, r, x, params, training)[-1][2]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return -np.log(p[np.arange(len(y)), y] / p.sum(axis=1)).mean()


def gradient(network, r, params=None, step=1e-5):
    """Of the loss on the seed's training examples, one dict a layer, by central differences."""
    params = parameters(network, r) if params is None else params
    found = [{name: np.empty_like(v) for name, v in p.items()} for p in params]
    for p, g in zip(params, found, strict=True):
        for name, value in p.items():
            for at in np.ndindex(value.shape):
                kept, sides = value[at], []
                for sign in (1, -1):
                    value[at] = kept + sign * step
                    sides.append(loss(network, r, *own(network, r), params))
                value[at] = kept
                g[name][at] = (sides[0] - sides[1]) / (2 * step)
    return found


def each(network, measure):
    """[measure(replica)] of both."""
    return [measure(r) for r in range(len(network.seeds))]


def of_kind(parts, kind):
    return [(x, y) for layer, x, y in parts if isinstance(layer, kind)]


def frobenius(a):
    return sum(float(v) ** 2 for v in a.ravel()) ** 0.5


# Activations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_saturation(monkeypatch, placement, activation):
    monkeypatch.setattr(measures.probes, "SATURATED", 0.5)
    network = build(placement, activation=activation)
    network.model.layers[0].params["bias"][1] -= 9  # units that are dead for every example
    flat = {
        "relu": lambda y: y == 0,
        "tanh": lambda y: abs(y) > 0.5,
        "sigmoid": lambda y: (y < 0.25) | (y > 0.75),
    }[activation]
    expected = {}
    for layer in (1, 2):
        of = lambda r, layer=layer: of_kind(seen(network, r), Activation)[layer - 1][1]  # noqa: E731
        shut = each(network, lambda r, of=of: flat(of(r)))
        expected["saturated_share", layer] = [s.sum() / s.size for s in shut]
        expected["dead_share", layer] = [fmean(all(unit) for unit in s.T) for s in shut]
    assert expected["saturated_share", 1][0] > 0
    if placement != "before":
        assert expected["dead_share", 1][1] > 0
    check(measured(Saturation(3), network, 4), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_percentiles(placement):
    network = build(placement)
    expected = {}
    for layer in (1, 2):
        for q in (15, 50, 85):
            expected[f"activation_percentile[{q}]", layer] = []
            for r in range(2):
                _, y = of_kind(seen(network, r), Activation)[layer - 1]
                ordered = sorted(y.ravel())
                place = q / 100 * (len(ordered) - 1)
                low, share = int(place), place % 1
                value = ordered[low] + share * (ordered[low + 1] - ordered[low])
                expected[f"activation_percentile[{q}]", layer].append(value)
    check(measured(Percentiles(3), network, 4), expected)


@pytest.mark.parametrize("sample", [0, 1005])
def test_activations_are_those_of_a_thousand_examples_of_the_seed(sample):
    x, y = examples(1030)
    many = Dataset("many", x[:1010], y[:1010], X, Y, CLASSES)
    network = build("before", depth=1, dataset=many, sample=sample)
    found = measured(UnitMeans(), network)
    _, right = of_kind(forward(network, 0, own(network, 0, count=1000)[0]), Activation)[0]
    _, wrong = of_kind(forward(network, 0, x[:1000]), Activation)[0]
    for unit in range(4):
        mean = found[f"unit_mean[{unit}]", 1][2]
        assert mean == pytest.approx(fmean(right[:, unit]), rel=1e-10)
        assert mean != pytest.approx(fmean(wrong[:, unit]), rel=1e-6)


def bars(network):
    """The unit means that UnitMeans yields, alone."""
    found = measured(UnitMeans(), network)
    return {key: by_seed for key, by_seed in found.items() if key[0].startswith("unit_mean[")}


def test_unit_means_are_those_of_the_first_seed_alone():
    network = build("after")
    assert set(bars(network)) == {(f"unit_mean[{i}]", layer) for i in range(4) for layer in (1, 2)}
    for (metric, layer), by_seed in bars(network).items():
        _, y = of_kind(seen(network, 0), Activation)[layer - 1]
        assert by_seed == {2: pytest.approx(fmean(y[:, int(metric[10])]), rel=1e-12)}
    network.config.first_seed = 5
    assert {seed for by_seed in bars(network).values() for seed in by_seed} == {5}
    network.config.first_seed = 3  # in another group
    assert bars(network) == {}


def test_pinned_units_have_a_mean_above_09_or_099():
    network = build("none", depth=1)
    first = network.model.layers[0]
    first.params["weight"][...] = 0
    means = [[0.9899, 0.9901, 0.995, -0.9999], [0.999, 0.0, 0.9001, 0.8999]]
    first.params["bias"][...] = np.arctanh(means)
    expected = {("pinned_share[0.9]", 1): [0.75, 0.5], ("pinned_share[0.99]", 1): [0.5, 0.25]}
    found = measured(UnitMeans(), network)
    assert {key for key in found if key[0].startswith("pinned")} == set(expected)
    check({key: found[key] for key in expected}, expected)


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_ratios(placement):
    network, probe = build(placement), Ratios(2)
    initial = each(network, lambda r: parameters(network, r))
    rng = np.random.default_rng(3)
    for step, rate in ((0, 0.5), (5, 0.25), (7, 0.2), (STEPS, 0.2)):  # falls to its floor
        expected = {}
        for r in range(2):
            now, slope = parameters(network, r), gradient(network, r)
            affine = [i for i, p in enumerate(now) if "weight" in p]
            for number, i in enumerate(affine, start=1):
                w, g = now[i]["weight"], slope[i]["weight"]
                change = frobenius(w - initial[r][i]["weight"])
                for metric, value in (
                    ("gradient_norm", frobenius(g)),
                    ("gradient_to_weight", frobenius(g) / frobenius(w)),
                    ("update_to_weight", frobenius(rate * g) / frobenius(w)),
                    ("weight_change", change / frobenius(initial[r][i]["weight"])),
                ):
                    expected.setdefault((metric, number), []).append(value)
        check(measured(probe, network, step), expected, rtol=1e-6)
        assert (expected["weight_change", 1] == [0, 0]) == (step == 0)
        for layer in network.model.layers:
            for array in layer.params.values():
                array += rng.uniform(-0.2, 0.2, array.shape)


def test_the_rate_after_the_last_step_is_that_of_the_last_step():
    network = build("none", depth=1, optim={"min_rate": 0.0})
    found = measured(Ratios(2), network, STEPS)
    ratio = found["update_to_weight", 1][2] / found["gradient_to_weight", 1][2]
    assert ratio == pytest.approx(RATE * (1 - (STEPS - 1) / STEPS), rel=1e-12)


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        ("none", {}),
        ("before", {}),
        ("after", {}),
        ("before", {"dropout": 0.3, "dropout_at": "before_norm"}),
    ],
)
@pytest.mark.parametrize("step", [0, 5, STEPS])
def test_gradient_shift(placement, model, step):
    """By definition: step everything below a layer, then differentiate the loss anew."""
    network = build(placement, model=model, optim={"min_rate": 0.0})
    rate = RATE * (1 - min(step, STEPS - 1) / STEPS)  # at the end, of the last step
    before, expected = state(network), {}
    for r in range(2):
        slope = gradient(network, r)
        affine = [i for i, g in enumerate(slope) if "weight" in g]
        for number, i in list(enumerate(affine, start=1))[1:]:
            moved = parameters(network, r)
            for p, g in zip(moved[:i], slope[:i], strict=True):
                for name in p:
                    p[name] -= rate * g[name]
            old, new = slope[i]["weight"], gradient(network, r, moved)[i]["weight"]
            cosine = (new * old).sum() / (frobenius(new) * frobenius(old))
            for metric, value in (
                ("gradient_shift", frobenius(new - old) / frobenius(old)),
                ("gradient_shift_cosine", cosine),
            ):
                expected.setdefault((metric, number), []).append(value)
    check(measured(GradientShift(8), network, step), expected, rtol=2e-6)
    assert {layer for _, layer in expected} == {2, 3}
    assert min(expected["gradient_shift", 3]) > 0.01 * rate
    assert state(network) == before


def test_gradient_shift_leaves_a_broken_network_as_it_is():
    network = build("before")
    network.model.layers[0].params["weight"][0] = np.nan
    before = state(network)
    with np.errstate(all="ignore"):
        found = measured(GradientShift(8), network)
    assert state(network) == before
    assert [np.isnan(found["gradient_shift", 2][seed]) for seed in SEEDS] == [True, False]


def test_the_gradient_is_that_of_the_seeds_first_examples_and_a_copy(monkeypatch):
    network = build("none", depth=1)
    one, two = measures.gradients(network), measures.gradients(network)
    for a, b in zip(one, two, strict=True):
        for name in a:
            assert not np.shares_memory(a[name], b[name])
            assert a[name].tobytes() == b[name].tobytes()
    monkeypatch.setattr(measures, "GRADIENT_BATCH", 1)
    x, y = own(network, 1, count=1)
    h = forward(network, 1, x)
    p = np.exp(h[-1][2][0])
    expected = np.outer(h[-1][1][0], p / p.sum() - np.eye(CLASSES)[y[0]])
    np.testing.assert_allclose(measures.gradients(network)[-1]["weight"][1], expected, rtol=1e-9)


# Drift and normalisation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        *((placement, {}) for placement in PLACEMENTS),
        ("before", {"dropout": 0.3}),
        ("after", {"dropout": 0.3, "dropout_at": "before_norm"}),
    ],
)
def test_drift(placement, model):
    network, probe = build(placement, model=model), Drift(4)

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


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_nothing_drifts_where_nothing_moves(placement):
    network, probe = build(placement, model={"dropout": 0.3}), Drift(4)
    measured(probe, network, 0)
    found = measured(probe, network, 5)
    assert len(found) == 8
    assert {value for by_seed in found.values() for value in by_seed.values()} == {0.0}


@pytest.mark.parametrize("placement", ["before", "after"])
def test_norm_parameters(placement):
    network, expected = build(placement), {}
    norms = [layer for layer in network.model.layers if isinstance(layer, BatchNorm)]
    for number, layer in enumerate(norms, start=1):
        for r in range(2):
            _, y = of_kind(seen(network, r), BatchNorm)[number - 1]
            found = {
                "norm_output_mean": fmean(fmean(u) ** 2 for u in y.T) ** 0.5,
                "norm_output_std": fmean(pvariance(u) ** 0.5 for u in y.T),
            }
            for name in ("gamma", "beta"):
                values = list(layer.params[name][r])
                found |= {f"{name}_mean": fmean(values), f"{name}_std": pvariance(values) ** 0.5}
            for metric, value in found.items():
                expected.setdefault((metric, number), []).append(value)
    check(measured(NormParameters(8), network, 3), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_before_training_every_batchnorm_gives_mean_0_and_deviation_1(placement):
    found = measured(NormParameters(8), build(placement, shaken=False))
    right = {
        **{"norm_output_mean": 0, "norm_output_std": 1},
        **{"gamma_mean": 1, "gamma_std": 0, "beta_mean": 0, "beta_std": 0},
    }
    layers = () if placement == "none" else (1, 2)
    assert set(found) == {(metric, layer) for metric in right for layer in layers}
    for (metric, _), by_seed in found.items():
        # eps = 0.001 next to variances that begin at some 0.05.
        loose = 0.05 if metric == "norm_output_std" else 1e-12
        assert list(by_seed.values()) == pytest.approx([right[metric]] * 2, abs=loose), metric


def test_without_gamma_and_beta_there_is_only_the_output():
    found = measured(NormParameters(8), build("before", norm={"learnable": False}))
    metrics = ("norm_output_mean", "norm_output_std")
    assert set(found) == {(metric, layer) for metric in metrics for layer in (1, 2)}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_densities(placement, activation):
    network = build(placement, activation=activation, model={"width": 6})
    network.model.layers[0].params["weight"][...] *= 8  # some lie beyond the edges
    network.config.seeds = 5  # two of five: the other group has three
    found = measured(Densities(every=4), network)
    for place, at, reach in (("pre", 0, 6.0), ("post", 1, 1.0)):
        pooled = np.concatenate(
            [
                of_kind(seen(network, r), Activation)[0][at].ravel().clip(-reach, reach)
                for r in range(2)
            ]
        )
        width = 2 * reach / 60
        expected = {}
        for i in range(60):
            low, high = -reach + i * width, -reach + (i + 1) * width
            inside = (pooled >= low - 1e-12) & ((pooled < high - 1e-12) | (i == 59))
            share = inside.sum() / pooled.size * 2 / 5
            expected[f"{place}_activation_hist[{(low + high) / 2:+.3f}]", 1] = share
        part = {key: by_seed[None] for key, by_seed in found.items() if key[0].startswith(place)}
        assert part == pytest.approx(expected, abs=1e-12)
        assert len(part) == 60
        assert sum(part.values()) == pytest.approx(2 / 5, rel=1e-12)
    assert {seed for by_seed in found.values() for seed in by_seed} == {None}
    assert sorted(Densities(every=4).at(network.config.optim)) == [0, 4, 8]


@pytest.mark.parametrize("group", [1, 2, 5])
def test_densities_of_all_groups_sum_to_1(monkeypatch, group):
    monkeypatch.setattr(training, "load", lambda *_: DATA)
    config = build("before", optim={"batch": 8}).config
    config.seeds = 5
    probes = lambda _: [Densities(every=5)]  # noqa: E731
    (rows,) = training.run([config], Context(NUMPY), probes=probes, group=group, evaluated=10)
    sums = {}
    for r in rows:
        if r.seed is None:
            place = (r.step, r.metric.split("_")[0])
            sums[place] = sums.get(place, 0) + r.value
    assert sums == {
        (step, place): pytest.approx(1, rel=1e-12)
        for step in (0, 5, 10)
        for place in ("pre", "post")
    }


# Batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", ["before", "after"])
def test_zero_variance_counts_the_units_that_do_not_vary(placement):
    """Constant units by zero weights: (step, layer, unit) of either replica."""
    constant = ({(1, 1, 0), (1, 2, 3), (2, 1, 0), (2, 1, 1)}, {(2, 2, 2)})
    probe = ZeroVariance()
    for step in range(4):
        network = build(placement)
        affine = network.model.layers_of(Affine)
        for r in range(2):
            for when, layer, unit in constant[r]:
                if when == step:
                    affine[layer - 1].params["weight"][r, :, unit] = 0
        x = np.stack([X[:9], X[9:18]]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])
    found = measured(probe, network, STEPS)
    units = 4 * 2 * 4  # steps, layers, units
    check(
        found,
        {
            ("zero_variance_share", None): [4 / units, 1 / units],
            ("zero_variance_step", None): [1, 2],
        },
    )
    assert sorted(probe.at(OptimConfig(steps=9))) == [9]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_zero_variance_where_every_unit_varies_or_none_is_normalised(placement):
    network, probe = build(placement), ZeroVariance()
    for _ in range(3):
        x = np.stack([X[:9], X[9:18]]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])
    expected = {("zero_variance_share", None): [0, 0], ("zero_variance_step", None): [inf, inf]}
    check(measured(probe, network, STEPS), expected)


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        ("before", {"dropout": 0.5}),
        ("after", {"dropout": 0.5, "dropout_at": "before_norm"}),
        ("after", {}),
    ],
)
def test_norm_input_variance(placement, model):
    network, expected = build(placement, model=model), {}
    for r in range(2):
        train, infer = (
            [x for x, _ in of_kind(seen(network, r, training=mode), BatchNorm)]
            for mode in (True, False)
        )
        for layer in (1, 2):
            a, b = (fmean(pvariance(u) for u in x[layer - 1].T) for x in (infer, train))
            expected.setdefault(("norm_input_variance_ratio", layer), []).append(a / b)
    check(measured(NormInputVariance(), network), expected)
    first = expected["norm_input_variance_ratio", 1]
    # Before the first dropout, or without any, both modes agree.
    same = placement == "before" or not model
    assert (first == pytest.approx([1, 1], rel=1e-12)) == same


def test_norm_input_variance_without_batchnorm():
    assert measured(NormInputVariance(), build("none", model={"dropout": 0.5})) == {}


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_before_batchnorm_shifts_the_variance_as_theory_says(rate):
    """ReLU of a standard normal: the second moment grows by 1/p in training, the mean stays."""
    width, p = 60, 1 - rate
    normal = np.random.default_rng(2).standard_normal((1000, width))
    wide = Dataset("wide", *(a.copy() for a in (X[:40], Y[:40], X[40:], Y[40:])), CLASSES)
    model = {"width": width, "dropout": rate, "dropout_at": "before_norm"}
    options = {"model": model, "dataset": wide, "shaken": False, "sample": 0}
    network = build("after", depth=1, activation="relu", **options)
    first = network.model.layers[0]
    first.params["weight"] = np.stack([np.eye(width)] * 2)
    data = DeviceData(normal, np.zeros(1000, np.int64), normal, np.zeros(1000, np.int64))
    object.__setattr__(network, "data", data)
    found = measured(NormInputVariance(), network)["norm_input_variance_ratio", 1]
    theory = (1 / 2 - 1 / (2 * pi)) / (1 / (2 * p) - 1 / (2 * pi))
    assert list(found.values()) == pytest.approx([theory] * 2, rel=0.02)


# Generalisation -----------------------------------------------------------------------------------


def test_generalisation(monkeypatch):
    monkeypatch.setattr(generalisation, "EVALUATED", 25)
    monkeypatch.setattr(generalisation, "TRAIN_LOSSES", (50.0, 1.2, 1e-9))
    network, probe, path = build("before", model={"dropout": 0.3}), Generalisation(2), []
    rng = np.random.default_rng(5)
    weight = network.model.layers[-1].params["weight"]
    start = weight.copy()
    for step in (0, 5, STEPS):
        path.append(
            [
                [loss(network, r, *own(network, r, part, 25), training=False) for r in range(2)]
                for part in ("train", "test")
            ]
        )
        expected = {("train_loss_path", None): path[-1][0], ("test_loss_path", None): path[-1][1]}
        if step == STEPS:
            train, test = (np.array([p[i] for p in path]) for i in (0, 1))
            for target in (50.0, 1.2, 1e-9):
                at = [loss_at(train[:, r], test[:, r], target) for r in range(2)]
                expected[f"test_loss_at[{target:g}]", None] = at
            expected["best_test_loss", None] = [min(of_seed) for of_seed in test.T]
        check(measured(probe, network, step), expected)
        weight[...] = start * rng.uniform(0, 0.5)
        weight[...] = 0 if step == 0 else weight
    assert expected["test_loss_at[50]", None] == pytest.approx(path[0][1])
    assert expected["test_loss_at[1e-09]", None] == [inf, inf]


def by_population(network, r, x):
    """Logits of replica r, each batchnorm by the seed's own training examples as they stand."""
    parameters_of = parameters(network, r)
    pair = [part.astype(np.float64) for part in (own(network, r)[0], x)]
    for layer, p in zip(network.model.layers, parameters_of, strict=True):
        if isinstance(layer, Affine):
            pair = [a @ p["weight"] + p["bias"] for a in pair]
        elif isinstance(layer, Activation):
            pair = [np.tanh(a) for a in pair]
        elif isinstance(layer, BatchNorm):
            mean, var = pair[0].mean(axis=0), pair[0].var(axis=0)
            pair = [(a - mean) / np.sqrt(var + EPS) * p["gamma"] + p["beta"] for a in pair]
    return pair[1]


def nats(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize(
    ("placement", "norm", "model"),
    [
        ("before", {}, {}),
        ("after", {"average": "std", "correction": 1}, {}),
        ("before", {"ghost": 2}, {}),
        ("after", {}, {"dropout": 0.4, "dropout_at": "before_norm"}),
        ("none", {}, {}),
    ],
)
def test_the_population_is_that_of_the_seeds_training_examples(placement, norm, model):
    """Both losses by it, all layers after one another; and the running statistics come back."""
    network, probe = build(placement, norm=norm, model=model), Generalisation(1, population=True)
    layers = network.model.layers_of(BatchNorm)
    arrays = [(la.running_mean, la.running_spread) for la in layers]
    before, lowest = state(network), []
    for step in (0, STEPS):
        found = measured(probe, network, step)
        by_part = {
            f"{part}_loss_path": [
                nats(by_population(network, r, x), y)
                for r in range(2)
                for x, y in [own(network, r, part)]
            ]
            for part in ("train", "test")
        }
        check(
            {key: found[key] for key in found if key[0] in by_part},
            {(name, None): expected for name, expected in by_part.items()},
        )
        lowest.append(by_part["test_loss_path"])
        for layer, (mean, spread) in zip(layers, arrays, strict=True):
            assert layer.running_mean is mean
            assert layer.running_spread is spread
        if step == 0:
            assert state(network) == before
            for layer in network.model.layers_of(Affine):
                layer.params["weight"] += 0.3
    best = dict(zip(SEEDS, np.min(lowest, axis=0), strict=True))
    assert found["best_test_loss", None] == pytest.approx(best, rel=1e-9)
    plain = measured(Generalisation(1), network, 0)["test_loss_path", None]
    differs = plain != pytest.approx(found["test_loss_path", None], rel=1e-3)
    assert differs == (placement != "none")


def test_the_best_loss_is_the_lowest_on_the_way_or_nan(monkeypatch):
    network, probe = build("none"), Generalisation(2)
    path = iter(np.repeat([[3.0, 2.0], [1.5, np.nan], [2.5, 1.0]], 2, axis=0))  # of both parts
    monkeypatch.setattr(Network, "evaluate", lambda self, part, count: (next(path), None))
    for step in (0, 5, STEPS):
        found = measured(probe, network, step)
    assert found["best_test_loss", None] == pytest.approx({2: 1.5, 5: np.nan}, nan_ok=True)


def test_losses_are_followed_more_densely_early_on():
    steps = sorted(Generalisation(4).at(OptimConfig(steps=160)))
    assert steps == [0, 10, 40, 90, 160]
    assert {0, 3} <= set(Generalisation(4).at(OptimConfig(steps=3)))


@pytest.mark.parametrize(
    ("train", "test", "target", "expected"),
    [
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 1.0, 3.0),  # on a measurement
        ([2.0, 1.0, 0.25], [5.0, 3.0, 1.0], 0.5, 2.0),  # halfway on the logarithm
        ([8.0, 1.0], [4.0, 1.0], 4.0, 3.0),  # a third of the way
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 2.5, 5.0),  # below from the start
        ([2.0, 1.0, 0.5], [5.0, 3.0, 2.0], 0.4, inf),
        ([2.0, 0.5, 2.0, 0.25], [5.0, 3.0, 9.0, 1.0], 1.0, 4.0),  # the first crossing counts
        ([np.nan, np.nan], [1.0, 1.0], 1.0, inf),
        ([2.0, np.nan, np.nan], [1.0, 1.0, 1.0], 1.0, inf),
    ],
)
def test_loss_at(train, test, target, expected):
    found = loss_at(np.array(train), np.array(test), target)
    assert type(found) is float
    assert found == pytest.approx(expected, rel=1e-12)


# All of them --------------------------------------------------------------------------------------

ALL = {
    "Saturation": partial(Saturation, 3),
    "Percentiles": partial(Percentiles, 3),
    "UnitMeans": UnitMeans,
    "Ratios": partial(Ratios, 3),
    "Drift": partial(Drift, 3),
    "GradientShift": partial(GradientShift, 3),
    "NormParameters": partial(NormParameters, 3),
    "Densities": partial(Densities, 3),
    "Generalisation": partial(Generalisation, 3),
    "Generalisation by population": partial(Generalisation, 3, population=True),
    "ZeroVariance": ZeroVariance,
    "NormInputVariance": NormInputVariance,
}


def test_the_probes_above_are_all_there_are():
    modules = (measures, norm_measures, generalisation)
    kinds = [k for module in modules for k in vars(module).values() if isinstance(k, type)]
    probes = {kind.__name__ for kind in kinds if issubclass(kind, training.Probe)}
    assert probes == {*(name.split()[0] for name in ALL), "Evenly", "Probe"}


@pytest.mark.parametrize("dropout_at", ["before_norm", "end"])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", ALL)
def test_a_probe_changes_nothing_that_training_feels(monkeypatch, name, placement, dropout_at):
    monkeypatch.setattr(training, "load", lambda *_: DATA)
    model = {"dropout": 0.3, "dropout_at": dropout_at}
    network = build(placement, model=model, optim={"batch": 8})
    before = state(network)
    if ALL[name] is not ZeroVariance:
        measured(ALL[name](), network)
    assert state(network) == before
    options = {"group": 2, "evaluated": 20}
    bare, probed = (
        training.run([network.config], Context(NUMPY), probes=lambda _, p=probes: p(), **options)[0]
        for probes in (list, lambda: [ALL[name]()])
    )
    assert set(bare) <= set(probed)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", [name for name in ALL if name != "ZeroVariance"])
def test_a_probe_looks_at_no_training_example_of_others(name, placement):
    """NaN in every training example that the seed does not train on reaches no number."""
    found = []
    for spoilt in (False, True):
        network, probe = build(placement, seeds=(5,)), ALL[name]()
        if spoilt:
            x = network.data.x_train.copy()
            x[example_order(5, "train", 40)[SAMPLE:]] = np.nan
            network = replace(network, data=replace(network.data, x_train=x))
        for step in (0, STEPS):
            found.append(measured(probe, network, step))
            network.model.layers[0].params["bias"] += 0.5
    assert found[:2] == found[2:]


@pytest.mark.parametrize("times", [1, 3, 8, 50])
def test_evenly_spaced_from_before_training_to_its_end(times):
    steps = sorted(Saturation(times).at(OptimConfig(steps=20)))
    assert (steps[0], steps[-1]) == (0, 20)
    gaps = np.diff(steps)
    assert len(gaps) == min(times, 20)
    assert gaps.max() - gaps.min() <= 1
