"""The experiments on a stand-in for a GPU that refuses what a GPU refuses."""

import sys

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.experiments import Context, get
from gpubn.nn.norms import KINDS
from tests.cuda.shim import ShimDevice
from tests.cuda.standin import stand_in


@pytest.fixture
def device(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return Backend("cupy", module, "stand-in", 1)


def on_digits(name, placement, **changes):
    return Config(
        **{
            **{"name": name, "norm": NormConfig(placement, placement), "seeds": 3, "every": 3},
            "data": DataConfig("digits", train_examples=100),
            "model": ModelConfig(width=6, depth=2),
            "optim": OptimConfig(steps=4),
            **changes,
        }
    )


def on_gaussian(name, placement, activation="relu", depth=4, examples=20, **changes):
    changes = {"norm": NormConfig(placement, placement)} | changes
    return Config(
        name=name,
        data=DataConfig("gaussian", examples=examples, features=9),
        model=ModelConfig(depth=depth, width=9, activation=activation),
        optim=OptimConfig(steps=3),
        dtype="float64",
        seeds=3,
        **changes,
    )


TRAININGS = (
    *("depth_grid", "rate_sweep", "scale_sweep", "batch_sweep", "dropout", "diagnostics"),
    *("recipe", "bessel", "initial_beta", "inference", "gamma_beta", "diagnostics_deep"),
)
CONFIGS = {
    **{
        f"mnist_init {placement} {average}": on_digits(
            *("mnist_init", placement), norm=NormConfig(placement, placement, average=average)
        )
        for placement, average in (("none", "var"), ("before", "var"), ("after", "std"))
    },
    **{
        f"{name} {placement} {at}": on_digits(
            *(name, placement),
            model=ModelConfig(
                *("mlp", *((1, 6, "tanh") if name == "inference" else (2, 6, "relu"))),
                **{"dropout": 0.3, "dropout_at": at},
            ),
        )
        for name in TRAININGS
        for placement, at in (("none", "end"), ("before", "last"), ("after", "before_norm"))
        if (name, placement) != ("inference", "none")
    },
    **{
        f"batch_sweep ghost {placement}": on_digits(
            *("batch_sweep", placement),
            norm=NormConfig(placement, placement, "ghost", average=average, ghost=8),
            init=InitConfig(scale=2.0, scaled="hidden"),
        )
        for placement, average in (("before", "var"), ("after", "std"))
    },
    **{
        f"depth_grid {kind}": on_digits(
            *("depth_grid", "before"),
            norm=NormConfig("mine", placement, kind),
            model=ModelConfig(width=6, depth=3, residual=placement == "after"),
        )
        for kind, placement in (
            *(("noisy", "after"), ("mean_only", "before"), ("variance_only", "before")),
            *(("layer", "after"), ("rms", "before")),
        )
    },
    **{
        f"signal_batch {kind}": on_gaussian(
            *("signal_batch", "before", "relu"),
            **{"depth": 11, "examples": 6},
            norm=NormConfig("mine", "before", kind, ghost=2 * (kind == "ghost")),
        )
        for kind in KINDS
    },
    "signal_grid": on_gaussian("signal_grid", "after", "tanh"),
    **{
        f"signal_propagation {placement} {arithmetic}": on_gaussian(
            *("signal_propagation", placement),
            init=InitConfig(kind="normal", std=0.1),
            arithmetic=arithmetic,
        )
        for placement in ("none", "before", "after")
        for arithmetic in ("published", "corrected")
    },
    **{
        f"signal_batch {placement} {activation}": on_gaussian(
            *("signal_batch", placement, activation), depth=11, examples=6
        )
        for placement, activation in (("none", "relu"), ("before", "linear"))
    },
    **{
        f"{name} {placement}": on_gaussian(name, placement, arithmetic="published")
        for name in ("listing_backward", "shared_scale", "exact", "estimators", "moving_average")
        for placement in ("before", "after")
    },
}


def assert_as_on_the_host(config, backend, **tolerance):
    """The same rows as NumPy's, with values that differ by no more than this."""
    run = get(config.name).run
    rows, host = (
        sorted(run(config, Context(b)), key=lambda r: [str(part) for part in key(r)])
        for b in (backend, resolve("numpy"))
    )
    assert [key(r) for r in rows] == [key(r) for r in host]
    differing = [
        (r, h)
        for r, h in zip(rows, host, strict=True)
        if not np.isclose(r.value, h.value, **tolerance)
    ]
    assert differing == []


def key(row):
    return row.seed, row.step, row.layer, row.metric


@pytest.mark.parametrize("case", CONFIGS)
def test_an_experiment_stays_on_the_device(device, case):
    assert_as_on_the_host(CONFIGS[case], device, rtol=1e-5, atol=1e-12)


def test_the_stand_in_refuses_the_host(device):
    x = device.asarray(np.ones((2, 3)))
    host = np.ones((2, 3))
    for mix in (
        lambda: x + host,
        lambda: host * x,
        lambda: np.mean(x),
        lambda: device.xp.matmul(x, host.T),
        lambda: device.xp.stack([x, host]),
        lambda: float(x.sum()),
        lambda: x.__setitem__(slice(None), host),
    ):
        with pytest.raises(TypeError):
            mix()


ON_KERNELS = {
    **{"mnist_init none var": "softmax_cross", "mnist_init before var": "batch_norm"},
    **{"mnist_init after std": "batch_norm", "inference before last": "batch_norm"},
    **{"dropout after before_norm": "batch_norm", "diagnostics before last": "batch_norm"},
    **{"depth_grid noisy": "batch_norm", "depth_grid layer": "sgd", "depth_grid rms": "sgd"},
    **{"depth_grid mean_only": "sgd", "depth_grid variance_only": "sgd"},
    **{"batch_sweep ghost before": "batch_norm", "batch_sweep ghost after": "batch_norm"},
    **{"signal_propagation before corrected": "batch_norm", "shared_scale after": "batch_norm"},
    "listing_backward before": "activation_backward",
}
"""Experiment -> a kernel that runs in it."""


@pytest.mark.parametrize("case", ON_KERNELS)
def test_an_experiment_on_the_cuda_kernels(monkeypatch, shim_folder, use_shim, case):
    shim = ShimDevice(stand_in(), shim_folder)
    use_shim(monkeypatch, shim)
    # Float32 over a few steps; float64 in the experiments that do not train.
    rtol = 2e-4 if CONFIGS[case].dtype == "float32" else 1e-9
    backend = Backend("cupy", shim.xp, "shim", 1)
    assert_as_on_the_host(CONFIGS[case], backend, rtol=rtol, atol=rtol / 10)
    assert ON_KERNELS[case] in " ".join(shim.launched)
