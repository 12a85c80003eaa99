"""Probes of gradients against central differences."""

import numpy as np
import pytest

from gpubn.experiments.probes import gradients
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios, training_gradients
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import CLASSES, RATE, SEEDS, STEPS


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_ratios(placement):
    network, probe = by_hand.build(placement, min_rate=0.0), UpdateRatios(2)
    initial = by_hand.each(network, lambda r: by_hand.parameters(network, r))
    rng = np.random.default_rng(3)
    for step, rate in ((0, 0.5), (5, 0.25), (9, 0.05), (STEPS, 0.05)):
        expected = {}
        for r in range(2):
            now, slope = by_hand.parameters(network, r), by_hand.gradient(network, r)
            affine = [i for i, p in enumerate(now) if "weight" in p]
            for number, i in enumerate(affine, start=1):
                w, g = now[i]["weight"], slope[i]["weight"]
                change = by_hand.frobenius(w - initial[r][i]["weight"])
                for metric, value in (
                    ("gradient_norm", by_hand.frobenius(g)),
                    ("gradient_to_weight", by_hand.frobenius(g) / by_hand.frobenius(w)),
                    ("update_to_weight", by_hand.frobenius(rate * g) / by_hand.frobenius(w)),
                    ("weight_change", change / by_hand.frobenius(initial[r][i]["weight"])),
                ):
                    expected.setdefault((metric, number), []).append(value)
        by_hand.check(by_hand.measured(probe, network, step), expected, rtol=1e-6)
        assert (expected["weight_change", 1] == [0, 0]) == (step == 0)
        for layer in network.model.layers:
            for array in layer.params.values():
                array += rng.uniform(-0.2, 0.2, array.shape)


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
    network = by_hand.build(placement, **model, min_rate=0.0)
    rate = RATE * (1 - min(step, STEPS - 1) / STEPS)  # at the end, of the last step
    before, expected = by_hand.state(network), {}
    for r in range(2):
        slope = by_hand.gradient(network, r)
        affine = [i for i, g in enumerate(slope) if "weight" in g]
        for number, i in list(enumerate(affine, start=1))[1:]:
            moved = by_hand.parameters(network, r)
            for p, g in zip(moved[:i], slope[:i], strict=True):
                for name in p:
                    p[name] -= rate * g[name]
            old, new = slope[i]["weight"], by_hand.gradient(network, r, moved)[i]["weight"]
            cosine = (new * old).sum() / (by_hand.frobenius(new) * by_hand.frobenius(old))
            for metric, value in (
                ("gradient_shift", by_hand.frobenius(new - old) / by_hand.frobenius(old)),
                ("gradient_shift_cosine", cosine),
            ):
                expected.setdefault((metric, number), []).append(value)
    by_hand.check(by_hand.measured(GradientShift(8), network, step), expected, rtol=2e-6)
    assert {layer for _, layer in expected} == {2, 3}
    assert min(expected["gradient_shift", 3]) > 0.01 * rate
    assert by_hand.state(network) == before


def test_gradient_shift_leaves_a_broken_network_as_it_is():
    network = by_hand.build("before")
    network.model.layers[0].params["weight"][0] = np.nan
    before = by_hand.state(network)
    with np.errstate(all="ignore"):
        found = by_hand.measured(GradientShift(8), network)
    assert by_hand.state(network) == before
    assert [np.isnan(found["gradient_shift", 2][seed]) for seed in SEEDS] == [True, False]


def test_the_gradient_is_that_of_the_seeds_first_examples(monkeypatch):
    network = by_hand.build("none", depth=1)
    monkeypatch.setattr(gradients, "GRADIENT_BATCH", 1)
    x, y = by_hand.own(network, 1, count=1)
    h = by_hand.forward(network, 1, x)
    p = np.exp(h[-1][2][0])
    expected = np.outer(h[-1][1][0], p / p.sum() - np.eye(CLASSES)[y[0]])
    np.testing.assert_allclose(training_gradients(network)[-1]["weight"][1], expected, rtol=1e-9)
