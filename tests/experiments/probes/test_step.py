"""Probes of a step, against steps that are taken by hand."""

from statistics import fmean, pvariance

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.experiments.probes.base import trace
from gpubn.experiments.probes.step import MULTIPLES, OfStep, Smoothness, StepShift
from gpubn.nn.layers import Affine
from gpubn.nn.norms.base import Norm
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import (
    RATE,
    SAMPLE,
    build,
    check,
    forward,
    frobenius,
    layers_of,
    measured,
    own,
    parameters,
)

STEP = 4
NOW = RATE * (1 - STEP / by_hand.STEPS)
networks = pytest.mark.parametrize(
    ("placement", "model"), [("before", {}), ("none", {"residual": True})]
)


def whole_batch(placement, **model):
    """The batch is all that a seed trains on, so that gradients are those of `by_hand`."""
    return build(placement, batch=SAMPLE, min_rate=0.0, **model)


def moved(params, slope, rate, below=None):
    return [
        {k: v if below is not None and i >= below else v - rate * g[k] for k, v in p.items()}
        for i, (p, g) in enumerate(zip(params, slope, strict=True))
    ]


def flat(gradients):
    return np.concatenate([g[name].ravel() for g in gradients for name in sorted(g)])


@networks
@pytest.mark.parametrize(("depth", "looked_at"), [(1, {2}), (3, {2, 3})])
def test_the_shift_of_a_step_by_both_definitions(placement, model, depth, looked_at):
    network = whole_batch(placement, depth=depth, **model)
    before = by_hand.state(network)

    def inputs(r, params):
        parts = forward(network, r, own(network, r)[0], params)
        return [x for _, x, _ in layers_of(parts, Affine)[1:]]

    def shifts(r):
        now, slope = parameters(network, r), by_hand.gradient(network, r)
        affine = [i for i, g in enumerate(slope) if "weight" in g]
        changes = []
        for number in looked_at:
            i = affine[number - 1]
            new = by_hand.gradient(network, r, moved(now, slope, NOW, below=i))[i]["weight"]
            changes.append(frobenius(new - slope[i]["weight"]) / frobenius(slope[i]["weight"]))
        drifts = []
        for a, b in zip(inputs(r, now), inputs(r, moved(now, slope, NOW)), strict=True):
            of_means = fmean((fmean(y) - fmean(x)) ** 2 for x, y in zip(a.T, b.T, strict=True))
            drifts.append((of_means / fmean(pvariance(x) for x in a.T)) ** 0.5)
        assert len(drifts) == depth
        return {
            ("step_drift", None): fmean(drifts),
            ("step_gradient_shift", None): fmean(changes),
        }

    expected = check(StepShift(4), network, shifts, STEP, rtol=1e-5)
    assert expected[0]["step_gradient_shift", None] > 0.001
    assert by_hand.state(network) == before


@networks
def test_smoothness_along_the_gradient(placement, model):
    network = whole_batch(placement, **model)
    before = by_hand.state(network)

    def smoothness(r):
        now, slope = parameters(network, r), by_hand.gradient(network, r)
        size, losses = np.linalg.norm(flat(slope)), [by_hand.loss(network, r, *own(network, r))]
        changes, betas = [], []
        for multiple in MULTIPLES:
            there = moved(now, slope, NOW * multiple)
            losses.append(by_hand.loss(network, r, *own(network, r), there))
            change = np.linalg.norm(flat(by_hand.gradient(network, r, there)) - flat(slope))
            changes.append(change / size)
            betas.append(change / (multiple * NOW * size))
        return {
            ("loss_range", None): max(losses) - min(losses),
            ("gradient_change", None): max(changes),
            ("effective_beta", None): max(betas),
        }

    check(Smoothness(4), network, smoothness, STEP, rtol=1e-5)
    assert by_hand.state(network) == before


@pytest.mark.parametrize("passes", [0, 2])
def test_what_has_moved_has_the_noise_of_the_training_step_after_the_next(passes):
    """With steps of next to nothing, noise alone moves the inputs of layers."""
    network = build("before", norm_kind="noisy", rate=1e-12, min_rate=0.0, noise_shift=2.0)
    norms = network.model.layers_of(Norm)
    for norm in norms:
        norm.prepare(4)
        norm.advance(passes)
    found = measured(StepShift(4), network, STEP)

    def means():
        seen = [x for layer, x, _ in trace(network) if isinstance(layer, Affine)][1:]
        return [(x.mean(axis=1), x.var(axis=1).mean(axis=1)) for x in seen]

    old = means()
    for norm in norms:
        norm.advance(1)
    drifts = [
        ((new - mean) ** 2).mean(axis=1) ** 0.5 / var**0.5
        for (mean, var), (new, _) in zip(old, means(), strict=True)
    ]
    expected = np.mean(drifts, axis=0)
    assert expected.min() > 0.1
    assert [*found["step_drift", None].values()] == pytest.approx(expected, rel=1e-6)
    assert min(found["step_gradient_shift", None].values()) > 0.01


def test_a_step_is_measured_where_one_follows():
    assert sorted(OfStep(4).at(OptimConfig(steps=20))) == [0, 5, 10, 15]
    assert sorted(OfStep(4).at(OptimConfig(steps=2))) == [0, 1]
