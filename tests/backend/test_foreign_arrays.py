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
CPU, CUDA, PINNED, VULKAN, MANAGED = 1, 2, 3, 7, 13
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


def calls(dtype):
    """Name of a public kernel -> its arguments, arrays of NumPy."""
    x, y = normal(N, D, dtype=dtype), normal(N, H, dtype=dtype)
    gamma, beta, weight, bias = (normal(*s, dtype=dtype) for s in ((D,), (D,), (D, H), (H,)))
    var = np.ones(D, dtype)
    running = RunningStatistics(np.zeros(D, dtype), var.copy(), 0.1)
    labels, mask = np.arange(N) % H, x > 0
    cache, of_softmax = batch_norm(x, gamma, beta)[1], softmax_cross_entropy(y, labels)[1]
    found = {
        "batch_norm": ((x, gamma, beta), {"running": running, "activation": "tanh"}),
        "batch_norm_backward": ((x, cache), {}),
        "batch_norm_backward_graph": ((x, cache), {}),
        "batch_norm_inference": ((x, beta, var), {"gamma": gamma, "beta": beta}),
        "fold_batch_norm": ((beta, var, gamma), {"beta": beta}),
        "affine": ((x, weight, bias), {}),
        "affine_backward": ((y, affine(x, weight, bias)[1]), {}),
        "dropout": ((x, mask, 0.5), {}),
        "dropout_backward": ((x, kernels.dropout(x, mask, 0.5)[1]), {}),
        "softmax_cross_entropy": ((y, labels), {}),
        "softmax_cross_entropy_backward": ((of_softmax, np.ones((), dtype)), {}),
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
def test_no_tensor_is_copied_on_its_way_in_and_out():
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
    out, (y, cache) = torch.zeros(D, H), affine(torch.ones(N, D), torch.ones(D, H))
    assert affine_backward(y, cache, dweight_out=out)[1].data_ptr() == out.data_ptr()
    assert out.any()


@needs_torch
def test_named_tuples_go_in_and_come_out_as_what_they_are():
    x, rate = normal(R, N, D), np.array([0.25, 0.5], "float32")
    own = RunningStatistics(np.zeros((R, D), "float32"), np.ones((R, D), "float32"), rate)
    theirs = to_torch(own)
    expected, _ = batch_norm(x, eps=rate, running=own)
    y, _ = batch_norm(torch.from_numpy(x), eps=theirs.momentum, running=theirs)
    batch_norm(normal(R, N, D) + 1, running=own)
    batch_norm(normal(R, N, D) + 1, running=theirs)  # the tensors in it are enough
    for ours, tensor in ((expected, y), (own.mean, theirs.mean), (own.spread, theirs.spread)):
        assert tensor.numpy().tobytes() == ours.tobytes()
    passed = takes_foreign_arrays(lambda statistics: statistics)(theirs)
    assert type(passed) is RunningStatistics
    assert type(passed.mean) is np.ndarray  # a cache stays internal


@needs_torch
def test_tensors_in_a_list_are_enough():
    parameter = torch.ones(1, D)
    kernels.descend([parameter], [torch.ones(1, D)], torch.full((1,), 0.25))
    assert parameter.tolist() == [[0.75] * D]


@needs_torch
@pytest.mark.parametrize("foreign", [(0,), (1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_kinds_can_be_mixed(foreign):
    args = normal(N, D), normal(D), normal(D)
    expected, _ = batch_norm(*args)
    y, cache = batch_norm(*(torch.from_numpy(a) if i in foreign else a for i, a in enumerate(args)))
    assert (type(y), type(cache.gamma)) == (torch.Tensor, np.ndarray)
    assert np.array_equal(y.numpy(), expected)


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
        (lambda: torch.ones(N, D).to_sparse(), "layout other than torch.strided"),
        (lambda: torch.ones(N, D, device="meta"), "meta"),
        (lambda: torch.ones(N, D, dtype=torch.bfloat16), "dtype"),
    ],
    ids=["requires_grad", "sparse", "meta", "bfloat16"],
)
def test_tensors_that_cannot_be_shared_are_refused(tensor, why):
    sentence = f"an array of torch.* cannot be shared .*{why}"
    with pytest.raises(ArgumentError, match=sentence) as error:
        batch_norm(tensor())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", [CPU, PINNED])
def test_dlpack_alone_is_enough_and_gives_numpy(device):
    x, gamma = normal(N, D), normal(D)
    expected, _ = batch_norm(x, gamma)
    y, cache = batch_norm(Foreign(x, device), Foreign(gamma, device))
    assert type(y) is np.ndarray
    assert np.array_equal(y, expected)
    assert cache.gamma.ctypes.data == gamma.ctypes.data


def test_a_namespace_of_its_own_takes_the_result():
    x, mean, var = normal(N, D), normal(D), np.ones(D, "float32")
    y = batch_norm_inference(Standard(x), mean, var)
    assert type(y) is Standard
    assert np.array_equal(y.array, batch_norm_inference(x, mean, var))


def test_an_unknown_device_is_refused():
    message = "lies on a device of DLPack type 7; expected the host or a CUDA device"
    with pytest.raises(ArgumentError, match=message):
        batch_norm(Foreign(normal(N, D)), Foreign(normal(D), VULKAN))


ON_CUDA = [
    Foreign(normal(N, D), CUDA),
    Foreign(normal(N, D), MANAGED),
    SimpleNamespace(__cuda_array_interface__={}, array=normal(N, D)),
]


@pytest.mark.parametrize("x", ON_CUDA, ids=["cuda", "managed", "interface"])
def test_an_array_on_a_cuda_device_is_cupys(monkeypatch, x):
    cupy, taken = stand_in(), []
    entry = "from_dlpack" if isinstance(x, Foreign) else "asarray"
    setattr(cupy, entry, lambda foreign: taken.append(foreign) or lift(foreign.array))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    y, _ = relu(x)
    assert taken == [x]
    assert type(y) is DeviceArray
    assert np.array_equal(y.get(), relu(x.array)[0])
    with pytest.raises(ArgumentError, match=r"arrays of .* and .* were mixed"):
        batch_norm(x, normal(D))
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ArgumentError, match=r"cannot be shared .*cupy.*; expected"):
        relu(x)
