"""A training in one launch gives what its steps give one by one."""

from functools import cache

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.data import Dataset
from gpubn.errors import ConfigError
from gpubn.nn.optim import linear_decay
from tests.nn.networks import Run, shake, state

CASES = {
    "tanh, 7 quads": ({"activation": "tanh", "placement": "before", "features": 28}, 32, [3, 1]),
    "relu, choices of its own": (
        {
            **{"activation": "relu", "placement": "before", "correction": 1, "average": "std"},
            **{"momentum": 0.25, "eps": 0.01, "width": 64, "features": 820},
        },
        *(7, [2]),
    ),
    "sigmoid, no gamma": (
        {"activation": "sigmoid", "placement": "before", "learnable": False, "features": 36},
        *(5, [0, 4, 1]),
    ),
    "no norm": ({"activation": "tanh", "placement": "none", "width": 128}, 20, [0, 1]),
    "as document D": ({"activation": "tanh", "placement": "before", "width": 128}, 32, [5]),
}


@cache
def images(features):
    """One feature is the same in all."""
    rng = np.random.default_rng(0)
    x = rng.random((90, features)).astype(np.float32)
    x[:, 1] = 0.75
    y = (4 * rng.random(90)).astype(np.int64)
    return Dataset("synthetic", x[:60], y[:60], x[60:], y[60:], 4)


@pytest.fixture
def on_cuda(backend):
    """CUDA kernels alone take part."""
    if backend.on_host:
        pytest.skip("a host has no launches")
    return backend


@pytest.mark.parametrize(("options", "batch", "seeds"), CASES.values(), ids=CASES)
def test_a_launch_is_its_steps(on_cuda, options, batch, seeds):
    """Beside the steps one by one, both against float64; with a probe in between."""
    options = {"width": 32, "rate": 0.5, "schedule": linear_decay(9), **options}
    data = images(options.pop("features", 784))

    def numbers(backend, dtype, **more):
        run, seen = Run(data, backend, seeds, dtype=dtype, **options), []

        def look(step):
            seen.extend(backend.to_host(a).astype(np.float64) for a in state(run.model))

        shake(run.model.layers, backend, np.random.default_rng(1))
        losses = run.train(steps=9, batch=batch, probe_at=[4], probe=look, **more)
        look(9)
        return [losses, *seen]

    right = numbers(resolve("numpy"), "float64")
    one_by_one, together = (
        numbers(on_cuda, "float32", one_launch=one_launch) for one_launch in (False, True)
    )
    for exact, beside, ours in zip(right, one_by_one, together, strict=True):
        # What the same steps in float32 leave, four times over; some are right by chance.
        allowed = max(4 * abs(beside - exact).max(), 2e-6 * max(1, abs(exact).max()))
        assert abs(ours - exact).max() <= allowed


def test_each_network_is_alone_in_its_cluster(on_cuda, monkeypatch):
    """The same bits whichever networks are beside it, and however late a warp of its own is."""
    options = {"width": 32, "activation": "relu", "placement": "before"}

    def losses(*seeds, order=0):
        if on_cuda.device == "shim":
            monkeypatch.setattr(on_cuda.xp.device, "order", order)
        run = Run(images(28), on_cuda, seeds, **options)
        return run.train(steps=4, batch=8, one_launch=True)[:, -1].tobytes()

    expected = losses(2)
    assert losses(7, 2) == expected
    assert {losses(2, order=order) for order in (1, 2, 3)} == {expected}


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        ({"width": 24}, {}, "it has 24 hidden units, not 32, 64, 128"),
        ({"features": 30}, {}, "it has 30 inputs, not a multiple of 4"),
        ({}, {"batch": 33}, "a batch has 33 examples, more than 32"),
        ({"dtype": "float64"}, {}, "its dtype is float64, not float32"),
        ({"depth": 2}, {}, "the layers Affine, Activation, Affine, Activation, Affine"),
        ({"placement": "after"}, {}, "the layers Affine, Activation, BatchNorm, Affine"),
        ({"sgd_momentum": 0.5}, {}, "with `observe` or with momentum"),
        ({}, {"observe": lambda caches: None}, "with `observe` or with momentum"),
        ({"features": 4000, "width": 128}, {}, "bytes of shared memory, more than"),
    ],
)
def test_what_it_does_not_take_is_refused(on_cuda, options, more, said):
    options = {"width": 32, "activation": "relu", **options}
    run = Run(images(options.pop("features", 28)), on_cuda, [0], **options)
    with pytest.raises(ConfigError, match="one_launch is true; expected false") as refused:
        run.train(**{"steps": 1, "batch": 8, "one_launch": True} | more)
    assert said in str(refused.value)


def test_replicas_that_differ_in_eps_are_refused(on_cuda):
    run = Run(images(28), on_cuda, [0], width=32, activation="relu", placement="before")
    run.model.layers[1]._eps = on_cuda.asarray(np.ones(1, np.float32))
    with pytest.raises(ConfigError, match="replicas differ in eps or momentum"):
        run.train(steps=1, batch=8, one_launch=True)


def test_a_host_has_no_launch():
    run = Run(images(28), resolve("numpy"), [0], width=32, activation="relu")
    with pytest.raises(ConfigError, match="where there is no CUDA device"):
        run.train(steps=1, batch=8, one_launch=True)


def test_an_old_device_has_no_clusters(on_cuda, monkeypatch):
    device = on_cuda.xp.device if on_cuda.device == "shim" else None
    if device is None:
        pytest.skip("a card is as old as it is")
    monkeypatch.setattr(device, "arch", 80)
    run = Run(images(28), on_cuda, [0], width=32, activation="relu")
    with pytest.raises(ConfigError, match="sm_80 has no clusters"):
        run.train(steps=1, batch=8, one_launch=True)
