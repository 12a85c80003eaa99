"""One gamma and beta a layer against one a unit: gradients by differences, and the step."""

from functools import partial

import numpy as np
import pytest

from gpubn.errors import ConfigError
from gpubn.experiments.deep.network import draw_network
from tests.experiments.cells import NUMPY, cell, run

PLACEMENTS = ["before", "after"]


make = partial(
    cell,
    "shared_scale",
    **{"examples": 12, "features": 5, "depth": 3, "width": 7, "activation": "relu"},
    **{"eps": 1e-3, "rate": 0.01, "dtype": "float64", "first_seed": 5},
)


def values(rows, metric, layer=None):
    return np.array([r.value for r in rows if (r.metric, r.layer) == (metric, layer)])


def network(config, weights, gammas, betas, x):
    """The forward pass written out; gamma and beta of a layer (D,) or a number."""
    h = x
    for w, gamma, beta in zip(weights, gammas, betas, strict=True):
        h = h @ w
        if config.norm.placement == "after":
            h = np.maximum(h, 0)
        c = h - h.mean(axis=0)
        h = gamma * c / np.sqrt((c**2).mean(axis=0) + config.norm.eps) + beta
        if config.norm.placement == "before":
            h = np.maximum(h, 0)
    return h


def differences(function, parameters, step=1e-6):
    """Gradient by central differences, entry by entry."""
    gradients = []
    for index, parameter in enumerate(parameters):
        gradient = np.zeros_like(parameter)
        for at in np.ndindex(parameter.shape):
            moved = []
            for sign in (1, -1):
                copy = [p.copy() for p in parameters]
                copy[index][at] += sign * step
                moved.append(function(copy))
            gradient[at] = (moved[0] - moved[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_step_by_differences(placement):
    """The whole comparison once more: numeric gradients, the step, the outputs."""
    config = make(placement, seeds=1, rate=0.05)
    (x,), of_layers, (upstream,) = draw_network(config, NUMPY, [5])
    weights = [w[0] for w in of_layers]
    dy = upstream / np.linalg.norm(upstream, axis=1, keepdims=True) / 12
    outputs, updates = {}, {}
    for kind, shape in (("per_unit", (7,)), ("shared", ())):
        parameters = [*weights, *[np.ones(shape)] * 3, *[np.zeros(shape)] * 3]

        def output(p):
            return network(config, p[:3], p[3:6], p[6:], x)

        gradients = differences(lambda p, f=output: (dy * f(p)).sum(), parameters)
        moved = [p - 0.05 * g for p, g in zip(parameters, gradients, strict=True)]
        outputs[kind] = output(parameters), output(moved)
        updates[kind] = gradients[3:]
    (start, end), (shared_start, shared_end) = outputs["per_unit"], outputs["shared"]
    np.testing.assert_array_equal(start, shared_start)
    rows = run(config)
    norm = np.linalg.norm
    for metric, expected in (
        ("forward_difference", 0),
        ("output_change", norm(end - start) / norm(start)),
        ("output_difference_after_step", norm(shared_end - end) / norm(end)),
        ("output_change_difference", norm(shared_end - end) / norm(end - start)),
    ):
        assert values(rows, metric) == pytest.approx(expected, rel=1e-4), metric
    for layer in range(3):
        assert values(rows, "weight_grad_difference", layer + 1) == 0
        units, one = ([updates[kind][i] for i in (layer, layer + 3)] for kind in outputs)
        apart = sum(((s - u) ** 2).sum() for s, u in zip(one, units, strict=True))
        expected = np.sqrt(apart / sum((u**2).sum() for u in units))
        found = values(rows, "scale_update_difference", layer + 1)
        assert found == pytest.approx(expected, rel=1e-4)


def test_without_batchnorm_there_is_nothing_to_share():
    with pytest.raises(ConfigError, match="norm is 'none'; expected one with gamma and beta"):
        run(make("none"))


def test_a_step_too_large_is_recorded():
    rows = run(make("before", rate=1e300))
    assert not np.isfinite(values(rows, "output_difference_after_step")).all()
