"""Probes of gradients against central differences."""

import numpy as np
import pytest

from gpubn.experiments.probes import gradients
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios, training_gradients
from tests.experiments.probes.by_hand import (
    CLASSES,
    PLACEMENTS,
    RATE,
    SEEDS,
    STEPS,
    build,
    check,
    each,
    forward,
    frobenius,
    gradient,
    measured,
    own,
    parameters,
    state,
)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_ratios(placement):
    network, probe = build(placement), UpdateRatios(2)
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
    found = measured(UpdateRatios(2), network, STEPS)
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
    one, two = training_gradients(network), training_gradients(network)
    for a, b in zip(one, two, strict=True):
        for name in a:
            assert not np.shares_memory(a[name], b[name])
            assert a[name].tobytes() == b[name].tobytes()
    monkeypatch.setattr(gradients, "GRADIENT_BATCH", 1)
    x, y = own(network, 1, count=1)
    h = forward(network, 1, x)
    p = np.exp(h[-1][2][0])
    expected = np.outer(h[-1][1][0], p / p.sum() - np.eye(CLASSES)[y[0]])
    np.testing.assert_allclose(training_gradients(network)[-1]["weight"][1], expected, rtol=1e-9)
