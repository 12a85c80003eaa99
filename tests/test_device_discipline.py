"""The experiments on a stand-in for a GPU that refuses what a GPU refuses.

The stand-in computes with NumPy, but its arrays cannot be mixed with the host's, its reductions
give arrays and not scalars, and it has no function that CuPy lacks. So a slip that only a device
would show (an implicit copy to the host, a host array in a device expression) fails here.
"""

from types import ModuleType

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.experiments import Context, get
from gpubn.schema import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig

# What the array layer uses, all of it in CuPy 14: look a name up there before adding it here.
FUNCTIONS = (
    *("abs", "arange", "asarray", "bincount", "broadcast_to", "clip", "concatenate", "einsum"),
    *("empty", "exp"),
    *("full", "histogram", "isfinite", "isnan", "linspace", "log", "matmul", "max", "maximum"),
    *("mean", "minimum", "ones", "ones_like", "percentile", "repeat", "sqrt", "stack"),
    *("subtract", "sum", "take", "take_along_axis", "tanh", "where", "zeros", "zeros_like"),
)
TYPES = ("float32", "float64", "int32", "int64", "bool_", "nan", "inf")


class DeviceArray(np.ndarray):
    """An array that meets no array of the host."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        for operand in (*inputs, *(out or ())):
            refuse_host(operand)
        plain = [bare(operand) for operand in inputs]
        if out is not None:
            kwargs["out"] = tuple(bare(o) for o in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        return out[0] if out is not None else lift(result)

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} was called with an array of the device")

    def __getitem__(self, index):
        for part in index if isinstance(index, tuple) else (index,):
            refuse_host(part)
        return lift(
            bare(self)[tuple(map(bare, index)) if isinstance(index, tuple) else bare(index)]
        )

    def __setitem__(self, index, value):
        refuse_host(value)
        bare(self)[index] = bare(value)

    def __float__(self):
        raise TypeError("an array of the device was read implicitly")

    __int__ = __float__

    def _reduce(self, name, *args, **kwargs):
        return lift(getattr(bare(self), name)(*args, **kwargs))


for _name in ("all", "any", "argmax", "max", "mean", "min", "std", "sum", "var"):
    setattr(
        DeviceArray,
        _name,
        lambda self, *a, _name=_name, **k: DeviceArray._reduce(self, _name, *a, **k),
    )


def bare(value):
    if isinstance(value, list):  # of arrays, for concatenate and stack
        return [bare(part) for part in value]
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def lift(value):
    if isinstance(value, tuple):
        return tuple(map(lift, value))
    return np.asarray(value).view(DeviceArray)


def refuse_host(value):
    if isinstance(value, list):
        for part in value:
            refuse_host(part)
    if type(value) is np.ndarray and value.ndim:
        raise TypeError("an array of the host was mixed with an array of the device")


def stand_in() -> ModuleType:
    module = ModuleType("cupy")
    module.__version__ = "stand-in"
    module.ndarray = DeviceArray

    def wrap(function, to_device):
        def call(*args, **kwargs):
            for value in () if to_device else (*args, *kwargs.values()):
                refuse_host(value)
            out = kwargs.get("out")
            plain = {key: bare(value) for key, value in kwargs.items()}
            result = function(*map(bare, args), **plain)
            return out if out is not None else lift(result)

        return call

    for name in FUNCTIONS:
        setattr(module, name, wrap(getattr(np, name), name == "asarray"))
    for name in TYPES:
        setattr(module, name, getattr(np, name))
    module.asnumpy = lambda array: np.array(bare(array))
    return module


@pytest.fixture
def device(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(__import__("sys").modules, "cupy", module)
    return Backend("cupy", module, "stand-in", 1)


CONFIGS = {
    **{
        f"mnist_init {placement} {average}": Config(
            name="mnist_init",
            data=DataConfig("digits"),
            model=ModelConfig(width=6, depth=2),
            norm=NormConfig(name=placement, placement=placement, average=average),
            optim=OptimConfig(steps=7),
            seeds=3,
            every=3,
        )
        for placement, average in (("none", "var"), ("before", "var"), ("after", "std"))
    },
    **{
        f"{name} {placement} {dropout_at}": Config(
            name=name,
            data=DataConfig("digits", train_examples=100),
            model=ModelConfig(
                *("mlp", *((1, 6, "tanh") if name == "inference" else (2, 6, "relu"))),
                dropout=0.3,
                dropout_at=dropout_at,
            ),
            norm=NormConfig(name=placement, placement=placement),
            optim=OptimConfig(steps=4),
            seeds=3,
            every=3,
        )
        for name in (
            *("depth_grid", "rate_sweep", "scale_sweep", "batch_sweep", "dropout", "diagnostics"),
            *("recipe", "bessel", "initial_beta", "inference"),
        )
        for placement, dropout_at in (
            ("none", "end"),
            ("before", "last"),
            ("after", "before_norm"),
        )
        if (name, placement) != ("inference", "none")
    },
    **{
        f"signal_propagation {placement} {arithmetic}": Config(
            name="signal_propagation",
            data=DataConfig("gaussian", examples=20, features=9),
            model=ModelConfig(depth=4, width=9, activation="relu"),
            norm=NormConfig(name=placement, placement=placement),
            init=InitConfig(kind="normal", std=0.1),
            arithmetic=arithmetic,
            dtype="float64",
            seeds=3,
        )
        for placement in ("none", "before", "after")
        for arithmetic in ("published", "corrected")
    },
    **{
        f"signal_batch {placement} {activation}": Config(
            name="signal_batch",
            data=DataConfig("gaussian", examples=6, features=9),
            model=ModelConfig(depth=11, width=9, activation=activation),
            norm=NormConfig(name=placement, placement=placement),
            dtype="float64",
            seeds=3,
        )
        for placement, activation in (("none", "relu"), ("before", "linear"))
    },
    **{
        f"{name} {placement}": Config(
            name=name,
            data=DataConfig("gaussian", examples=20, features=9),
            model=ModelConfig(depth=3, width=9, activation="relu"),
            norm=NormConfig(name=placement, placement=placement),
            optim=OptimConfig(steps=3),
            arithmetic="published",
            dtype="float64",
            seeds=3,
        )
        for name in ("listing_backward", "shared_scale", "exact", "estimators", "moving_average")
        for placement in ("before", "after")
    },
}


@pytest.mark.parametrize("case", CONFIGS)
def test_an_experiment_stays_on_the_device(device, case):
    config = CONFIGS[case]
    run = get(config.name).run
    on_device = {r: r.value for r in run(config, Context(device))}
    on_host = run(config, Context(resolve("numpy")))
    assert len(on_device) == len(on_host)
    assert {(r.seed, r.step, r.layer, r.metric) for r in on_device} == {
        (r.seed, r.step, r.layer, r.metric) for r in on_host
    }
    key = lambda r: (str(r.seed), str(r.step), str(r.layer), r.metric)  # noqa: E731
    pairs = zip(sorted(on_device, key=key), sorted(on_host, key=key), strict=True)
    differing = [
        (d, h) for d, h in pairs if not np.isclose(d.value, h.value, rtol=1e-5, atol=1e-12)
    ]
    assert differing == []


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
