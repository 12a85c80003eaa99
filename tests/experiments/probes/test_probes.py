"""Probes against the same thing worked out from the parameters, one replica at a time."""

from math import inf, log
from statistics import fmean, pvariance

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics
from gpubn.experiments.probes import joint_step
from gpubn.experiments.probes.activations import (
    Histograms,
    Percentiles,
    Saturation,
    UnitInputs,
    UnitMeans,
)
from gpubn.experiments.probes.drift import ChangeSinceStart, Drift
from gpubn.experiments.probes.first_steps import FirstSteps
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios
from gpubn.experiments.probes.joint_step import JointStep
from gpubn.experiments.probes.normalisation import NormInputVariance, NormParameters, ZeroVariance
from gpubn.nn.layers import Activation, Affine
from gpubn.nn.norms.batch_norm import BatchNorm
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import (
    RATE,
    SEEDS,
    STEPS,
    X,
    build,
    check,
    frobenius,
    layers_of,
    measured,
    move,
    parameters,
    seen,
)

placements = pytest.mark.parametrize("placement", PLACEMENTS)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@placements
def test_saturation(monkeypatch, placement, activation):
    monkeypatch.setattr(array_statistics, "SATURATED", 0.5)
    network = build(placement, activation=activation)
    network.model.layers[0].params["bias"][1] -= 9  # units that are dead for every example
    flat = {
        "relu": lambda y: y == 0,
        "tanh": lambda y: abs(y) > 0.5,
        "sigmoid": lambda y: (y < 0.25) | (y > 0.75),
    }[activation]

    def shares(r):
        found = {}
        for layer, _, y in layers_of(seen(network, r), Activation):
            found["saturated_share", layer] = flat(y).sum() / y.size
            found["dead_share", layer] = fmean(all(unit) for unit in flat(y).T)
        return found

    one, other = check(Saturation(3), network, shares, 4)
    assert one["saturated_share", 1] > 0
    assert placement == "before" or other["dead_share", 1] > 0


@placements
def test_percentiles(placement):
    network = build(placement)

    def percentiles(r):
        found = {}
        for layer, _, y in layers_of(seen(network, r), Activation):
            ordered = sorted(y.ravel())
            for q in (15, 50, 85):
                whole, share = divmod(q / 100 * (len(ordered) - 1), 1)
                low, high = ordered[int(whole) : int(whole) + 2]
                found[f"activation_percentile[{q}]", layer] = low + share * (high - low)
        return found

    check(Percentiles(3), network, percentiles, 4)


def test_unit_means_are_those_of_the_first_seed_alone_and_pinned_where_above_09_or_099():
    network = build("none", depth=1)
    first = network.model.layers[0].params
    first["weight"][...] = 0
    means = [[0.9899, 0.9901, 0.995, -0.9999], [0.999, 0.0, 0.9001, 0.8999]]
    first["bias"][...] = np.arctanh(means)
    pinned = {
        ("pinned_share[0.9]", 1): {2: 0.75, 5: 0.5},
        ("pinned_share[0.99]", 1): {2: 0.5, 5: 0.25},
    }
    found = measured(UnitMeans(), network)
    for unit, mean in enumerate(means[0]):
        assert found.pop((f"unit_mean[{unit}]", 1)) == {2: pytest.approx(mean, rel=1e-12)}
    assert found == pinned
    network.config.first_seed = 3  # in another group
    assert measured(UnitMeans(), network) == pinned


@placements
def test_inputs_of_units_are_those_of_the_first_activation(placement):
    network = build(placement)

    def inputs(r):
        _, x, _ = layers_of(seen(network, r), Activation)[0]
        return {(f"unit_input[{i}]", 1): fmean(of_unit) for i, of_unit in enumerate(x.T)}

    check(UnitInputs(), network, inputs)
    assert UnitInputs().at(network.config.optim) == (0,)


@placements
def test_densities(placement):
    network = build(placement, activation="relu", width=6)
    network.model.layers[0].params["weight"][...] *= 8  # some lie beyond the edges
    network.config.seeds = 5  # two of five: the other group has three
    found = measured(Histograms(every=4), network)
    expected = {}
    for place, at, reach in (("pre", 1, 6.0), ("post", 2, 1.0)):
        first = [layers_of(seen(network, r), Activation)[0][at] for r in range(2)]
        pooled = np.stack(first).clip(-reach, reach)
        width = 2 * reach / 60
        for i in range(60):
            low, high = -reach + i * width, -reach + (i + 1) * width
            inside = (pooled >= low - 1e-12) & ((pooled < high - 1e-12) | (i == 59))
            share = inside.sum() / pooled.size * 2 / 5
            expected[f"{place}_activation_hist[{(low + high) / 2:+.3f}]", 1] = share
    assert {key: by_seed[None] for key, by_seed in found.items()} == pytest.approx(
        expected, abs=1e-12
    )
    assert sorted(Histograms(every=4).at(network.config.optim)) == [0, 4, 8]


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        *((placement, {}) for placement in PLACEMENTS),
        ("before", {"dropout": 0.3}),
        ("after", {"dropout": 0.3, "dropout_at": "before_norm"}),
    ],
)
def test_drift_is_that_since_the_last_time(rng, placement, model):
    network, probe = build(placement, **model), Drift(4)

    def inputs(r):
        parts = seen(network, r)
        into_affine = {("drift", i - 1): x for i, x, _ in layers_of(parts, Affine)[1:]}
        into_activation = layers_of(parts, Activation)
        return into_affine | {("preactivation_drift", i): x for i, x, _ in into_activation}

    def drifts(r):
        found = {}
        for (kind, layer), x in inputs(r).items():
            units = list(zip(old[r][kind, layer].T, x.T, strict=True))
            moved = fmean((fmean(b) - fmean(a)) ** 2 for a, b in units)
            before, after = (fmean(pvariance(u[i]) for u in units) for i in (0, 1))
            found[f"{kind}_mean", layer] = (moved / before) ** 0.5
            found[f"{kind}_std", layer] = abs(log(after / before)) / 2
        return found

    assert measured(probe, network, 0) == {}  # nothing to compare with
    for step in (3, 6):
        old = [inputs(r) for r in range(2)]
        move(network.model, rng, 0.3)
        expected = check(probe, network, drifts, step, rtol=1e-8)
        assert {layer for _, layer in expected[0]} == {1, 2}


@placements
@pytest.mark.parametrize("learnable", [True, False])
def test_change_since_the_start(rng, placement, learnable):
    network, probe = build(placement, learnable=learnable), ChangeSinceStart(4)

    def followed(r):
        parts, params = seen(network, r), parameters(network, r)
        found = {("input", i - 1): x for i, x, _ in layers_of(parts, Affine)[1:]}
        scales = [p for p, (layer, _, _) in zip(params, parts, strict=True) if is_norm(layer)]
        for (i, _, y), p in zip(layers_of(parts, BatchNorm), scales, strict=True):
            found["normalised", i] = (y - p.get("beta", 0)) / p.get("gamma", 1)
        return found

    def changes(r):
        found = {}
        for (place, layer), x in followed(r).items():
            units = list(zip(start[r][place, layer].T, x.T, strict=True))
            moved = fmean((fmean(b) - fmean(a)) ** 2 for a, b in units)
            before, after = (fmean(pvariance(u[i]) for u in units) for i in (0, 1))
            found[f"{place}_mean_change", layer] = (moved / before) ** 0.5
            found[f"{place}_std_change", layer] = abs(log(after / before)) / 2
        return found

    assert measured(probe, network, 0) == {}
    start = [followed(r) for r in range(2)]
    for step in (3, 6):
        move(network.model, rng, 0.3)
        found = measured(probe, network, step)
        for r, seed in enumerate(SEEDS):
            of_seed = {key: by_seed[seed] for key, by_seed in found.items()}
            assert of_seed == pytest.approx(changes(r), rel=1e-6, abs=1e-12)
    assert ("normalised_mean_change", 2) in found or placement == "none"


def is_norm(layer):
    return isinstance(layer, BatchNorm)


RATES_OF_STEPS = [(0, 0.5), (5, 0.25), (STEPS, 0.05)]


@pytest.mark.parametrize(("step", "rate"), RATES_OF_STEPS)
@placements
def test_a_joint_step_by_its_losses(monkeypatch, placement, step, rate):
    """Each loss by hand, after the steps of one part of the network and of all up to one."""
    monkeypatch.setattr(joint_step, "ROUNDING", 0.002)
    network = build(placement, min_rate=0.0, rate=2 * RATE, batch=7)
    before = by_hand.state(network)

    def expected(r):
        x, y = by_hand.own(network, r, count=7)
        slope, start = by_hand.gradient(network, r, count=7), parameters(network, r)
        places = [i for i, p in enumerate(start) if "weight" in p]
        ends = [*places[1:], len(start)]

        def loss(first, last):
            moved = [{name: v.copy() for name, v in p.items()} for p in start]
            for i in range(first, last):
                for name, value in moved[i].items():
                    value -= 2 * rate * slope[i][name]
            return by_hand.loss(network, r, x, y, moved)

        at_first = loss(0, 0)
        alone = [loss(a, b) - at_first for a, b in zip(places, ends, strict=True)]
        path = [at_first, *(loss(0, b) for b in ends)]
        worse = [
            a < -0.002 * at_first and path[i + 1] - path[i] > 0.002 * at_first
            for i, a in enumerate(alone)
        ]
        squares = sum((g**2).sum() for of_layer in slope for g in of_layer.values())
        together = path[-1] - at_first
        return {
            ("worse_share", None): fmean(worse[1:]),
            ("joint_raises", None): float(together > 0.002 * at_first),
            ("lost_share", None): (together - sum(alone)) / (2 * rate * squares),
        }

    check(JointStep(2), network, expected, step, rtol=1e-5)
    assert by_hand.state(network) == before


WORSE = [
    # A_l, then the gains L_l - L_(l-1), of three layers; the share of the last two that do harm
    ([-1, -1, -1], [-1, 1, -1], 1 / 2),
    ([-1, 1, -1], [-1, 1, 1], 1 / 2),  # one does harm alone
    ([-1, -1, -1], [1, -1, -1], 0),  # below the first there is none
    ([-1, -1e-9, -1], [-1, 1, 1e-9], 0),  # rounding
    ([-1, -1, np.nan], [-1, 1, 1], np.nan),
]


@pytest.mark.parametrize(("alone", "gains", "share"), WORSE)
def test_layers_that_do_harm_together(alone, gains, share):
    path = np.cumsum([5.0, *gains])[:, None]
    found = dict(joint_step._compared(np.array(alone)[:, None], path, np.array([2.0])))
    lost = (sum(gains) - sum(alone)) / 2
    raises = np.nan if np.isnan(share) else float(sum(gains) > 1e-5)
    right = {"worse_share": share, "joint_raises": raises, "lost_share": lost}
    for metric, value in right.items():
        np.testing.assert_allclose(found[metric], [value], rtol=1e-9)


@placements
def test_sizes_of_gradients_and_updates(rng, placement):
    network, probe = build(placement, min_rate=0.0), UpdateRatios(2)
    initial = [parameters(network, r) for r in range(2)]
    rates = {0: 0.5, 5: 0.25, STEPS: 0.05}  # at the end, of the last step

    def sizes(r):
        now, slope, found = parameters(network, r), by_hand.gradient(network, r), {}
        affine = [i for i, p in enumerate(now) if "weight" in p]
        for number, i in enumerate(affine, start=1):
            w, g, start = now[i]["weight"], slope[i]["weight"], initial[r][i]["weight"]
            found["gradient_norm", number] = frobenius(g)
            found["gradient_to_weight", number] = frobenius(g) / frobenius(w)
            found["update_to_weight", number] = rates[step] * frobenius(g) / frobenius(w)
            found["weight_change", number] = frobenius(w - start) / frobenius(start)
        return found

    for step in rates:
        expected = check(probe, network, sizes, step, rtol=1e-6)
        assert (expected[0]["weight_change", 1] == 0) == (step == 0)
        move(network.model, rng, 0.2)


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        *((placement, {}) for placement in PLACEMENTS),
        ("before", {"dropout": 0.3, "dropout_at": "before_norm"}),
    ],
)
@pytest.mark.parametrize("step", [5, STEPS])
def test_gradient_shift(placement, model, step):
    """By definition: step everything below a layer, then differentiate the loss anew."""
    network = build(placement, **model, min_rate=0.0)
    rate = RATE * (1 - min(step, STEPS - 1) / STEPS)  # at the end, of the last step
    before = by_hand.state(network)

    def shifts(r):
        slope, found = by_hand.gradient(network, r), {}
        affine = [i for i, g in enumerate(slope) if "weight" in g]
        for number, i in list(enumerate(affine, start=1))[1:]:
            moved = parameters(network, r)
            for p, g in zip(moved[:i], slope[:i], strict=True):
                for name in p:
                    p[name] -= rate * g[name]
            old, new = slope[i]["weight"], by_hand.gradient(network, r, moved)[i]["weight"]
            cosine = (new * old).sum() / (frobenius(new) * frobenius(old))
            found["gradient_shift", number] = frobenius(new - old) / frobenius(old)
            found["gradient_shift_cosine", number] = cosine
        return found

    expected = check(GradientShift(8), network, shifts, step, rtol=2e-6)
    assert expected[0]["gradient_shift", 3] > 0.01 * rate
    assert by_hand.state(network) == before


def test_gradient_shift_leaves_a_broken_network_as_it_is():
    network = build("before")
    network.model.layers[0].params["weight"][0] = np.nan
    before = by_hand.state(network)
    with np.errstate(all="ignore"):
        found = measured(GradientShift(8), network)
    assert by_hand.state(network) == before
    assert [np.isnan(found["gradient_shift", 2][seed]) for seed in SEEDS] == [True, False]


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("placement", ["before", "after"])
def test_norm_parameters(placement, learnable, residual):
    network = build(placement, learnable=learnable, residual=residual)
    norms = network.model.layers_of(BatchNorm)

    def moments(r):
        found = {}
        for number, _, y in layers_of(seen(network, r), BatchNorm):
            found["norm_output_mean", number] = fmean(fmean(u) ** 2 for u in y.T) ** 0.5
            found["norm_output_std", number] = fmean(pvariance(u) ** 0.5 for u in y.T)
            for name, value in norms[number - 1].params.items():
                found[f"{name}_mean", number] = fmean(value[r])
                found[f"{name}_std", number] = pvariance(list(value[r])) ** 0.5
        return found

    check(NormParameters(8), network, moments, 3)


@placements
def test_zero_variance_counts_the_units_of_a_batchnorm_that_do_not_vary(placement):
    """Constant units by zero weights: (step, layer, unit) of the first replica."""
    constant = {(1, 1, 0), (1, 2, 3), (2, 1, 0), (2, 1, 1)}
    probe = ZeroVariance()
    for step in range(4):
        network = build(placement)
        affine = network.model.layers_of(Affine)
        for when, layer, unit in constant:
            if when == step:
                affine[layer - 1].params["weight"][0, :, unit] = 0
        x = np.stack([X[:9], X[9:18]]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])
    share, first = (0, inf) if placement == "none" else (4 / (4 * 2 * 4), 1)
    shares, steps = ("zero_variance_share", None), ("zero_variance_step", None)
    found = [{shares: share, steps: first}, {shares: 0, steps: inf}]
    check(probe, network, found.__getitem__, STEPS)
    assert sorted(probe.at(OptimConfig(steps=9))) == [9]


@pytest.mark.parametrize(
    ("placement", "model"),
    [
        ("before", {"dropout": 0.5}),
        ("after", {"dropout": 0.5, "dropout_at": "before_norm"}),
        ("after", {}),
    ],
)
def test_norm_input_variance(placement, model):
    network = build(placement, **model)

    def ratios(r):
        infer, train = (
            [fmean(pvariance(u) for u in x.T) for _, x, _ in layers_of(parts, BatchNorm)]
            for parts in (seen(network, r, training=mode) for mode in (False, True))
        )
        pairs = enumerate(zip(infer, train, strict=True), 1)
        return {("norm_input_variance_ratio", layer): a / b for layer, (a, b) in pairs}

    check(NormInputVariance(), network, ratios)


@placements
def test_first_steps(placement):
    network = build(placement)

    def sizes(r):
        logits = seen(network, r)[-1][2]
        apart = [logit - fmean(row) for row in logits for logit in row]
        found = {("logit_spread", None): fmean(value**2 for value in apart) ** 0.5}
        for layer, (_, params) in enumerate(affine_parameters(network, r), start=1):
            found["weight_norm", layer] = frobenius(params["weight"])
        return found

    check(FirstSteps(), network, sizes, 5)
    assert set(FirstSteps().at(OptimConfig(steps=30))) == {0, 1, 2, 5, 10, 25, 30}


def affine_parameters(network, r):
    of_layers = zip(network.model.layers, parameters(network, r), strict=True)
    return [(layer, params) for layer, params in of_layers if isinstance(layer, Affine)]
