"""A training in one launch gives what its steps give one by one."""

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.data import Dataset
from gpubn.errors import ConfigError
from gpubn.nn.optim import linear_decay
from tests.cuda.shim import ShimDevice
from tests.nn.networks import Run, shake, state

CASES = {
    "tanh": {"activation": "tanh", "placement": "before"},
    "relu, its own choices": {
        **{"activation": "relu", "placement": "before", "correction": 1, "average": "std"},
        **{"momentum": 0.25, "eps": 0.01, "width": 64},
    },
    "sigmoid, no gamma": {"activation": "sigmoid", "placement": "before", "learnable": False},
    "no norm": {"activation": "tanh", "placement": "none", "width": 128},
}


@pytest.fixture(scope="module")
def images():
    """One feature is the same in all."""
    rng = np.random.default_rng(0)
    x = rng.random((90, 36)).astype(np.float32)
    x[:, 1] = 0.75
    y = (4 * rng.random(90)).astype(np.int64)
    return Dataset("synthetic", x[:60], y[:60], x[60:], y[60:], 4)




@pytest.fixture
def on_cuda(backend):
    if backend.on_host:
        pytest.skip("it takes CUDA kernels")
    return backend


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(("batch", "seeds"), [(32, [3, 1]), (7, [2])])
def test_a_launch_is_its_steps(images, on_cuda, case, batch, seeds, rng):
    options = {"width": 32, "rate": 0.5, "schedule": linear_decay(12), **case}
    wide = Run(images, resolve("numpy"), seeds, dtype="float64", **options)
    one, many = (Run(images, on_cuda, seeds, **options) for _ in range(2))
    for run in (wide, one, many):
        shake(run.model.layers, run.backend, np.random.default_rng(1))
    told, expected, beside = [], [], []
    stops = {"probe_at": [5], "steps": 12, "batch": batch}

    def look(run, into):
        return lambda step: into.extend(run.backend.to_host(a).copy() for a in state(run.model))

    runs = ((wide, expected, {}), (one, told, {"one_launch": True}), (many, beside, {}))
    right, found, others = (
        run.train(probe=look(run, into), **stops, **more) for run, into, more in runs
    )
    for run, into, _ in runs:
        look(run, into)(12)
    scale = [abs(a).max() for a in expected]
    for values in ((right, found, others), *zip(expected, told, beside, strict=True)):
        a, b, c = values
        near = max(4 * abs(c - a).max(), 2e-5 * max(1, abs(a).max()))
        assert abs(b - a).max() <= near, (abs(b - a).max(), abs(c - a).max())
    assert scale
