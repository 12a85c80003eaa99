"""Arrays of other packages in the public kernels: taken in and given back, without a copy."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.backend import resolve, takes_foreign_arrays
from gpubn.errors import ArgumentError
from gpubn.kernels import (
    RunningStatistics,
    affine,
    affine_backward,
    batch_norm,
    batch_norm_inference,
    descend,
    fold_batch_norm,
    relu,
)
from tests.cuda.standin import DeviceArray, lift, stand_in
from tests.kernels.table import KERNELS, draw

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
CPU, CUDA, PINNED, VULKAN, MANAGED = 1, 2, 3, 7, 13
R, N, D = 2, 6, 3


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


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def to_torch(*arrays):
    return [torch.from_numpy(array.copy()) for array in arrays]


def assert_twins(ours, theirs):
    """Tensors with the bits of NumPy's arrays."""
    for o, t in zip(ours, theirs, strict=True):
        assert type(t) is torch.Tensor
        assert (t.shape, str(t.dtype)) == (o.shape, f"torch.{o.dtype}")
        assert t.numpy().tobytes() == o.tobytes()


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KERNELS)
def test_tensors_in_and_tensors_out(rng, name, dtype):
    inputs, dy = draw(KERNELS[name], resolve("numpy"), rng, (R, N, D), dtype)
    ours, theirs = (
        KERNELS[name].run(*g) for g in ((inputs, dy), (to_torch(*inputs), *to_torch(dy)))
    )
    assert_twins(ours, theirs)


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
    out, (y, cache) = torch.zeros(D, 4), affine(torch.ones(N, D), torch.ones(D, 4))
    assert affine_backward(y, cache, dweight_out=out)[1].data_ptr() == out.data_ptr()
    assert out.any()


@needs_torch
def test_named_tuples_go_in_and_come_out_as_what_they_are():
    x, mean, rate = normal(R, N, D), normal(R, D), np.array([0.25, 0.5], "float32")
    own = RunningStatistics(mean, np.ones((R, D), "float32"), rate)
    theirs = own._make([*to_torch(*own[:3]), "var"])
    (tensor,) = to_torch(x)
    expected, cache = batch_norm(x, eps=rate, running=own)
    y, of_tensors = batch_norm(tensor, eps=theirs.momentum, running=theirs)
    assert type(of_tensors) is type(cache)
    assert type(of_tensors.mean) is np.ndarray  # a cache stays internal
    batch_norm(x + 1, running=own)
    batch_norm(x + 1, running=theirs)  # the tensors in it are enough
    assert_twins((expected, own.mean, own.spread), (y, theirs.mean, theirs.spread))
    assert_twins([batch_norm_inference(x, *own[:2])], [batch_norm_inference(tensor, *theirs[:2])])
    assert_twins(fold_batch_norm(*own[:2]), fold_batch_norm(*theirs[:2]))
    passed = takes_foreign_arrays(lambda statistics: statistics)(theirs)
    assert type(passed) is RunningStatistics


@needs_torch
def test_tensors_in_a_list_are_enough():
    parameter = torch.ones(1, D)
    descend([parameter], [torch.ones(1, D)], torch.full((1,), 0.25))
    assert parameter.tolist() == [[0.75] * D]


@needs_torch
@pytest.mark.parametrize("foreign", [(0,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_kinds_can_be_mixed(foreign):
    args = normal(N, D), normal(D), normal(D)
    expected, _ = batch_norm(*args)
    y, _ = batch_norm(*(torch.from_numpy(a) if i in foreign else a for i, a in enumerate(args)))
    assert_twins([expected], [y])


@needs_torch
def test_a_lazy_minus_sign_is_seen():
    z = torch.complex(torch.ones(N, D), torch.from_numpy(normal(N, D)))
    y, _ = relu(torch.imag(z.conj()))
    assert torch.equal(y, (-z.imag).clamp(min=0))


@needs_torch
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"requires_grad": True}, "require gradient, use tensor.detach"),
        ({"device": "meta"}, "meta"),
    ],
)
def test_tensors_that_cannot_be_shared_are_refused(options, why):
    sentence = f"an array of torch.* cannot be shared .*{why}"
    with pytest.raises(ArgumentError, match=sentence) as error:
        batch_norm(torch.ones(N, D, **options))
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
    x = normal(N, D)
    y, _ = relu(Standard(x))
    assert type(y) is Standard
    assert np.array_equal(y.array, relu(x)[0])


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
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ArgumentError, match=r"cannot be shared .*cupy.*; expected"):
        relu(x)
