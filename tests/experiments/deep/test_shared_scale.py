"""One gamma and beta a layer against one a unit: gradients by differences, and the step."""

from functools import partial

import numpy as np
import pytest

from gpubn.errors import ConfigError
from gpubn.experiments.deep.network import draw_network
from tests.experiments.cells import NUMPY, cell, run, values

make = partial(
    cell,
    "shared_scale",
    **{"examples": 12, "features": 5, "depth": 3, "width": 7, "activation": "relu"},
    **{"eps": 1e-3, "rate": 0.01, "dtype": "float64", "first_seed": 5},
)


def forward(config, x, parameters):
    """Written out for weights, gammas and betas; gamma and beta of a layer (D,) or a number."""
    h = x
    for w, gamma, beta in zip(parameters[:3], parameters[3:6], parameters[6:], strict=True):
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
    gradients = [np.zeros_like(parameter) for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for at in np.ndindex(parameter.shape):
            kept = parameter[at]
            for sign in (1, -1):
                parameter[at] = kept + sign * step
                gradient[at] += sign * function(parameters) / (2 * step)
            parameter[at] = kept
    return gradients


@pytest.mark.parametrize("placement", ["before", "after"])
def test_a_step_by_differences(placement):
    """The whole comparison once more: numeric gradients, the step, the outputs."""
    config = make(placement, seeds=1, rate=0.05)
    (x,), of_layers, (upstream,) = draw_network(config, NUMPY, [5])
    dy = upstream / np.linalg.norm(upstream, axis=1, keepdims=True) / 12
    outputs, updates = [], []
    for shape in ((7,), ()):  # one a unit, shared
        parameters = [w[0].copy() for w in of_layers]
        parameters += [np.ones(shape) for _ in range(3)] + [np.zeros(shape) for _ in range(3)]
        gradients = differences(lambda p: (dy * forward(config, x, p)).sum(), parameters)
        moved = [p - 0.05 * g for p, g in zip(parameters, gradients, strict=True)]
        outputs.append((forward(config, x, parameters), forward(config, x, moved)))
        updates.append(gradients[3:])
    ((start, end), (_, shared_end)), norm = outputs, np.linalg.norm
    expected = {
        ("forward_difference", None): 0,
        ("output_change", None): norm(end - start) / norm(start),
        ("output_difference_after_step", None): norm(shared_end - end) / norm(end),
        ("output_change_difference", None): norm(shared_end - end) / norm(end - start),
    }
    for layer in range(3):
        units, one = ([of_kind[i] for i in (layer, layer + 3)] for of_kind in updates)
        apart = sum(((s - u) ** 2).sum() for s, u in zip(one, units, strict=True))
        size = sum((u**2).sum() for u in units)
        expected["scale_update_difference", layer + 1] = np.sqrt(apart / size)
        expected["weight_grad_difference", layer + 1] = 0
    found = {(r.metric, r.layer): r.value for r in run(config)}
    assert found == pytest.approx(expected, rel=1e-4)


def test_without_batchnorm_there_is_nothing_to_share():
    with pytest.raises(ConfigError, match="norm is 'none'; expected one with gamma and beta"):
        run(make("none"))


def test_a_step_too_large_is_recorded():
    rows = run(make("before", rate=1e300))
    assert not np.isfinite([*values(rows, "output_difference_after_step").values()]).all()
