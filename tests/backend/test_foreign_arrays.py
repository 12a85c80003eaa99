"""Arrays of other packages in the public kernels: taken in and given back, without a copy."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn import kernels
from gpubn.backend import takes_foreign_arrays
from gpubn.errors import ArgumentError
from gpubn.kernels import (
    RunningStatistics,
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    relu,
    softmax_cross_entropy,
)
from tests.cuda.standin import DeviceArray, lift, stand_in

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
CPU, CUDA, VULKAN = 1, 2, 7
R, N, D, H = 2, 6, 3, 4


class Foreign:
    """An array of a package that nobody knows, with DLPack alone."""

    def __init__(self, array, device=CPU):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device, 0


class Standard(Foreign):
    """One that names its namespace, as the array API standard has it."""

    def __array_namespace__(self):
        return SimpleNamespace(from_dlpack=lambda array: Standard(array))


def normal(*shape, dtype="float32"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def running(dtype="float32"):
    return RunningStatistics(np.zeros(D, dtype), np.ones(D, dtype), 0.1)


def calls(dtype):
    """Name of a public kernel -> its arguments, arrays of NumPy."""
    x, y = normal(N, D, dtype=dtype), normal(N, H, dtype=dtype)
    gamma, beta, weight, bias = (normal(*s, dtype=dtype) for s in ((D,), (D,), (D, H), (H,)))
    var = np.ones(D, dtype)
    labels, mask = np.arange(N) % H, x > 0
    found = {
        "batch_norm": ((x, gamma, beta), {"running": running(dtype), "activation": "tanh"}),
        "batch_norm_backward": ((x, batch_norm(x, gamma, beta)[1]), {}),
        "batch_norm_backward_graph": ((x, batch_norm(x, gamma, beta)[1]), {}),
        "batch_norm_inference": ((x, beta, var), {"gamma": gamma, "beta": beta}),
        "fold_batch_norm": ((beta, var, gamma), {"beta": beta}),
        "affine": ((x, weight, bias), {}),
        "affine_backward": ((y, affine(x, weight, bias)[1]), {}),
        "dropout": ((x, mask, 0.5), {}),
        "dropout_backward": ((x, kernels.dropout(x, mask, 0.5)[1]), {}),
        "softmax_cross_entropy": ((y, labels), {}),
        "softmax_cross_entropy_backward": (
            (softmax_cross_entropy(y, labels)[1], np.ones((), dtype)),
            {},
        ),
    }
    for name in ("relu", "tanh", "sigmoid", "linear"):
        found |= {name: ((x,), {}), f"{name}_backward": ((x, x), {})}
    return found


def to_torch(value):
    """Arrays, and those of a `RunningStatistics`; a cache stays what it is."""
    if isinstance(value, RunningStatistics):
        return value._make(map(to_torch, value))
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def parts(found):
    """What a kernel returned, one after the other."""
    return found if type(found) is tuple else (found,)


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(calls("float32")))
def test_tensors_in_and_tensors_out(name, dtype):
    args, options = calls(dtype)[name]
    kernel = getattr(kernels, name)
    given = [to_torch(a) for a in args], {k: to_torch(v) for k, v in options.items()}
    ours, theirs = parts(kernel(*args, **options)), parts(kernel(*given[0], **given[1]))
    assert len(ours) == len(theirs)
    for o, t in zip(ours, theirs, strict=True):
        if isinstance(o, np.ndarray | np.generic):
            assert type(t) is torch.Tensor
            assert (t.shape, str(t.dtype)) == (o.shape, f"torch.{o.dtype}")
            assert t.numpy().tobytes() == o.tobytes()
        else:  # a cache
            assert type(t) is type(o)
            assert not any(isinstance(field, torch.Tensor) for field in t)
    if "running" in options:
        for o, t in zip(options["running"][:2], given[1]["running"][:2], strict=True):
            assert t.numpy().tobytes() == o.tobytes()


@needs_torch
def test_no_tensor_is_copied():
    seen = []

    @takes_foreign_arrays
    def kernel(*arrays, last):
        seen.extend((*arrays, last))
        return arrays[0], last[1:], "and what is no array"

    first, strided, last = torch.arange(4.0), torch.ones(3, 2).t(), torch.zeros(3)
    found = kernel(first, None, strided, last=last)
    assert [type(a) for a in seen] == [np.ndarray, type(None), np.ndarray, np.ndarray]
    assert seen[0].ctypes.data == found[0].data_ptr() == first.data_ptr()
    assert (seen[2].ctypes.data, seen[2].shape) == (strided.data_ptr(), (2, 3))
    assert seen[3].ctypes.data == last.data_ptr() == found[1].data_ptr() - 4
    assert found[2] == "and what is no array"
    seen[0][:] = 7
    found[1][:] = 8
    assert first.tolist() == [7] * 4
    assert last.tolist() == [0, 8, 8]


@needs_torch
def test_kernels_share_what_they_are_given():
    x, weight = torch.from_numpy(normal(N, D)), torch.from_numpy(normal(D, H))
    y, cache = affine(x, weight)
    assert cache.x.ctypes.data == x.data_ptr()
    assert cache.weight.ctypes.data == weight.data_ptr()
    out = torch.zeros(D, H)
    dx, dweight, _ = affine_backward(y, cache, dweight_out=out)
    assert dweight.data_ptr() == out.data_ptr()
    assert out.any()
    assert type(dx) is torch.Tensor
    y, again = relu(x)
    assert y.data_ptr() == again.data_ptr() != x.data_ptr()


@needs_torch
def test_running_statistics_are_updated_in_place():
    x = torch.from_numpy(normal(N, D)) + 3
    mean, var = torch.zeros(D), torch.ones(D)
    addresses = mean.data_ptr(), var.data_ptr()
    batch_norm(x, running=RunningStatistics(mean, var, 1.0))
    np.testing.assert_allclose(mean.numpy(), x.numpy().mean(0), rtol=1e-5)
    np.testing.assert_allclose(var.numpy(), x.numpy().var(0, ddof=1), rtol=1e-5)
    assert (mean.data_ptr(), var.data_ptr()) == addresses


@needs_torch
def test_momentum_and_eps_may_be_tensors():
    x = normal(R, N, D)
    one_each = np.array([0.25, 0.5], "float32")
    mean, var = np.zeros((R, D), "float32"), np.ones((R, D), "float32")
    expected, _ = batch_norm(x, eps=one_each, running=RunningStatistics(mean, var, one_each))
    given = [torch.zeros(R, D), torch.ones(R, D), torch.from_numpy(one_each)]
    y, _ = batch_norm(torch.from_numpy(x), eps=given[2], running=RunningStatistics(*given))
    assert np.array_equal(y.numpy(), expected)
    assert np.array_equal(given[0].numpy(), mean)
    assert np.array_equal(given[1].numpy(), var)


@needs_torch
def test_a_cache_stays_internal_and_goes_with_either_kind():
    x, dy = normal(N, D), normal(N, D)
    _, cache = batch_norm(torch.from_numpy(x))
    _, own = batch_norm(x)
    assert all(type(a) is type(b) for a, b in zip(cache, own, strict=True))
    expected = batch_norm_backward(dy, own)
    ours = batch_norm_backward(dy, cache)
    theirs = batch_norm_backward(torch.from_numpy(dy), cache)
    for e, o, t in zip(expected, ours, theirs, strict=True):
        assert (type(o), type(t)) == (np.ndarray, torch.Tensor)
        assert e.tobytes() == o.tobytes() == t.numpy().tobytes()


@needs_torch
@pytest.mark.parametrize("foreign", [(0,), (1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_kinds_can_be_mixed(foreign):
    args = normal(N, D), normal(D), normal(D)
    expected, _ = batch_norm(*args)
    mixed = [torch.from_numpy(a) if i in foreign else a for i, a in enumerate(args)]
    y, cache = batch_norm(*mixed, running=running())
    assert type(y) is torch.Tensor
    assert type(cache.gamma) is np.ndarray
    assert np.array_equal(y.numpy(), expected)


@needs_torch
def test_tensors_in_a_tuple_are_enough():
    mean, var = torch.zeros(D), torch.ones(D)
    batch_norm(normal(N, D), running=RunningStatistics(mean, var, 1.0))
    assert mean.all()


@needs_torch
def test_tensors_in_a_list_are_enough():
    parameter = torch.ones(1, D)
    kernels.descend([parameter], [torch.ones(1, D)], torch.full((1,), 0.25))
    assert parameter.tolist() == [[0.75] * D]


@needs_torch
def test_a_lazy_minus_sign_is_seen():
    z = torch.complex(torch.ones(N, D), torch.from_numpy(normal(N, D)))
    y, _ = relu(torch.imag(z.conj()))
    assert torch.equal(y, (-z.imag).clamp(min=0))


@needs_torch
@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (lambda: torch.ones(N, D, requires_grad=True), "require gradient, use tensor.detach"),
        (lambda: torch.nn.Parameter(torch.ones(N, D)), "require gradient, use tensor.detach"),
        (lambda: torch.ones(N, D).to_sparse(), "layout other than torch.strided"),
        (lambda: torch.ones(N, D, device="meta"), "meta"),
        (lambda: torch.ones(N, D, dtype=torch.bfloat16), "dtype"),
    ],
    ids=["requires_grad", "parameter", "sparse", "meta", "bfloat16"],
)
def test_tensors_that_cannot_be_shared(tensor, why):
    with pytest.raises(
        ArgumentError, match=f"an array of torch.* cannot be shared .*{why}"
    ) as error:
        batch_norm(tensor())
    assert "\n" not in str(error.value)


@needs_torch
@pytest.mark.parametrize("dtype", ["int64", "complex64", "bool"])
def test_dtypes_are_refused_as_numpys_are(dtype):
    array = np.ones((N, D), dtype)
    for x in (array, torch.from_numpy(array)):
        with pytest.raises(ArgumentError, match=f"x has dtype {dtype}; expected float16"):
            batch_norm(x)


def test_dlpack_alone_is_enough_and_gives_numpy():
    x, gamma = normal(N, D), normal(D)
    expected, _ = batch_norm(x, gamma)
    y, cache = batch_norm(Foreign(x), Foreign(gamma))
    assert type(y) is np.ndarray
    assert np.array_equal(y, expected)
    assert cache.gamma.ctypes.data == gamma.ctypes.data
    mean = Foreign(np.zeros(D, "float32"))
    batch_norm(Foreign(x), running=RunningStatistics(mean, Foreign(np.ones(D, "float32")), 1.0))
    np.testing.assert_allclose(mean.array, x.mean(0), rtol=1e-5, atol=1e-6)


def test_a_namespace_of_its_own_takes_the_result():
    x = normal(N, D)
    y = batch_norm_inference(Standard(x), normal(D), np.ones(D, "float32"))
    assert type(y) is Standard
    assert np.array_equal(y.array, batch_norm_inference(x, normal(D), np.ones(D, "float32")))


def test_an_unknown_device_is_refused():
    message = "lies on a device of DLPack type 7; expected the host or a CUDA device"
    with pytest.raises(ArgumentError, match=message):
        batch_norm(Foreign(normal(N, D), VULKAN))
    with pytest.raises(ArgumentError, match=message):
        batch_norm(Foreign(normal(N, D)), Foreign(normal(D), VULKAN))


@pytest.mark.parametrize("device", [CUDA, 13], ids=["cuda", "managed"])
def test_a_cuda_device_is_cupys(monkeypatch, device):
    cupy = stand_in()
    taken = []
    cupy.from_dlpack = lambda foreign: taken.append(foreign) or lift(foreign.array)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    x = Foreign(normal(N, D), device)
    y, _ = relu(x)
    assert taken == [x]
    assert type(y) is DeviceArray
    assert np.array_equal(y.get(), relu(x.array)[0])
    message = "arrays of numpy and cupy were mixed|arrays of cupy and numpy were mixed"
    with pytest.raises(ArgumentError, match=message):
        batch_norm(x, normal(D))


def test_the_cuda_array_interface_is_cupys(monkeypatch):
    cupy = stand_in()
    x = SimpleNamespace(__cuda_array_interface__={}, array=normal(N, D))
    cupy.asarray = lambda foreign: lift(foreign.array)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    y, _ = relu(x)
    assert type(y) is DeviceArray
    assert np.array_equal(y.get(), relu(x.array)[0])


@pytest.mark.parametrize(
    "foreign",
    [Foreign(normal(N, D), CUDA), SimpleNamespace(__cuda_array_interface__={})],
    ids=["dlpack", "interface"],
)
def test_without_cupy_a_cuda_device_is_refused(monkeypatch, foreign):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ArgumentError, match=r"cannot be shared .*cupy.*; expected"):
        relu(foreign)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array(np.ones((N, D)), np.ones((N, D)) > 0),
        np.ones((N, D)).view(np.recarray),
        [[1.0, 2.0], [3.0, 4.0]],
        ((1.0, 2.0), (3.0, 4.0)),
        3.0,
        np.float64(3),
        "x",
        None,
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_is_refused(value):
    for call in (lambda: batch_norm(value), lambda: relu(value)):
        with pytest.raises(ArgumentError, match=r"expected a .*NumPy or CuPy array") as error:
            call()
        assert "\n" not in str(error.value)
