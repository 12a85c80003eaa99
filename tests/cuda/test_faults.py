"""The comparison on the CPU can fail: faults planted in the CUDA sources are all caught.

And the shim says what is wrong with a launch, instead of computing something.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.kernels.cuda import batch_norm_backward as cuda_backward
from gpubn.kernels.cuda import batch_norm_forward as cuda_forward
from gpubn.kernels.cuda.batch_norm_launch import one_pass, tiled
from tests.cuda import shim
from tests.cuda.shim import Library, ShimDevice
from tests.cuda.standin import check_strips, empty, lift, stand_in

SHAPE = (1, 700, 12)
ORDERS = (0, 1, 7, 8, 9)
STEMS = ("batch_norm_forward", "batch_norm_backward")
FORMS = ("slab<float, 4>", "cluster<float, 4, 4>", "tiled<float, 4>")
# What is replaced, once, by what: a barrier that is missing, a wrong width, one too few.
FAULTS = {
    "a barrier is missing before the sums are read": (
        "  __syncthreads();\n#pragma unroll\n  for (int k = 0; k < K; ++k)",
        "#pragma unroll\n  for (int k = 0; k < K; ++k)",
    ),
    "the cluster does not wait for its sums": (
        "    cluster_sync();\n    Pack",
        "    Pack",
    ),
    "a block of a cluster ends while others read its sums": (
        "  if constexpr (C > 1) cluster_sync();  // others may still read this block's sums\n",
        "",
    ),
    "a shuffle goes half as far": ("value[k][j], offset);", "value[k][j], (offset + 1) / 2);"),
    "shuffles stop at half a warp": (
        "for (int offset = lanes; offset < 32; offset *= 2) {\n#pragma unroll",
        "for (int offset = lanes; offset < 16; offset *= 2) {\n#pragma unroll",
    ),
    "the last row is left out": (
        "const int end = min(n, (rank + 1) * rows);",
        "const int end = min(n - 1, (rank + 1) * rows);",
    ),
    "the last warp is left out": ("w < WARPS; ++w) value", "w < WARPS - 1; ++w) value"),
    "copies are not waited for": ("  wait_for_copies();\n\n  S sum[1]", "\n  S sum[1]"),
    "two sums share their scratch": ("scratch + (WARPS + 1) * lanes * V)", "scratch)"),
    "a column too far": ("inside = column < d;", "inside = column <= d;"),
    "the second pass does not wait for the first": (
        "  wait_for_chunks(counter, chunks);\n  for (int chunk = slab.row; chunk < chunks; "
        "chunk += slab.stride)\n    own",
        "  for (int chunk = slab.row; chunk < chunks; chunk += slab.stride)\n    own",
    ),
    "a chunk is reported before all have written": (
        "  publish();\n  __syncthreads();\n  if (threadIdx.x == 0) atomicAdd(counter, 1u);",
        "  if (threadIdx.x == 0) atomicAdd(counter, 1u);\n  __syncthreads();",
    ),
    "the last chunk is not merged": (
        "chunk < chunks; chunk += slab.stride)\n    own",
        "chunk < chunks - 1; chunk += slab.stride)\n    own",
    ),
    "the variance is not merged with its means": (
        "squares[j] += squares_[j] + delta * delta * weight;",
        "squares[j] += squares_[j];",
    ),
    "the correction of the shift is left out": ("column[j].shift += rest;", ""),
    "the gradient forgets its mean": ("dy[j] - sums[0][j] / S(n) -", "dy[j] -"),
}
# On a device the block may be gone; the shim keeps its memory until all of a cluster have ended.
NOT_SEEN = {"a block of a cluster ends while others read its sums"}


@pytest.fixture
def device(shim_folder):
    return ShimDevice(stand_in(), shim_folder)


def differs(device, order):
    """Whether any form gives another result than float64 does, or the shim stops it."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(SHAPE) + 2e3).astype("float32")
    x[:, 0] = -3e4  # a bad first row: what corrects the shift counts
    dy = (rng.standard_normal(SHAPE) + 1).astype("float32")
    wide = SimpleNamespace(x=x.astype("float64"), dy=dy.astype("float64"))
    mean = wide.x.mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt(wide.x.var(axis=1, keepdims=True) + 1e-5)
    x_hat = (wide.x - mean) * inv_std
    dbeta, dgamma = wide.dy.sum(axis=1), (wide.dy * x_hat).sum(axis=1)
    dx = inv_std * (wide.dy - (dbeta[:, None] + x_hat * dgamma[:, None]) / SHAPE[1])
    right = {"y": x_hat, "dx": dx, "dbeta": dbeta, "dgamma": dgamma}
    scales = {name: np.abs(value).max() for name, value in right.items()}
    scales["dgamma"] = np.abs(wide.dy * x_hat).sum(axis=1).max()  # its terms cancel
    device.order = order
    for forward, backward in zip(plans(False), plans(True), strict=True):
        try:
            y, cache = cuda_forward.batch_norm(
                lift(x), None, None, 1e-5, 0, "linear", None, device, forward
            )
            found = cuda_backward.batch_norm_backward(lift(dy), cache, device, backward)
        except (AssertionError, RuntimeError):
            return True
        values = {"y": y, **dict(zip(("dx", "dgamma", "dbeta"), found, strict=True))}
        for name, value in values.items():
            if not (np.abs(value.get() - right[name]) <= 2e-5 * scales[name]).all():
                return True
    return False


def plans(backward):
    small = replace(tiled(backward, SHAPE, "float32", 4), rows=128)
    return [*(p for p in one_pass(backward, SHAPE, "float32", 4, 90) if p.cluster != 8), small]


def test_the_sources_as_they_are_pass(device):
    assert not any(differs(device, order) for order in ORDERS)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in NOT_SEEN])
def test_a_planted_fault_is_caught(device, tmp_path, monkeypatch, fault):
    before, after = FAULTS[fault]
    texts = {stem: shim.shim_text(stem) for stem in STEMS}
    assert before in "".join(texts.values()), "no source holds what the fault replaces"
    broken = {
        stem: Library(
            text.replace(before, after, 1), [f"{stem}_{form}" for form in FORMS], tmp_path / stem
        )
        for stem, text in texts.items()
        if before in text
    }
    sound = shim._library
    monkeypatch.setattr(
        shim, "_library", lambda stem, folder: broken.get(stem) or sound(stem, folder)
    )
    assert any(differs(device, order) for order in ORDERS)


# What the shim says ------------------------------------------------------------------------------

SMALL = """
template <class T>
__global__ void fill(T* out, int n, T value) {
  DYNAMIC_SHARED(shared);
  T* own = reinterpret_cast<T*>(shared);
  own[threadIdx.x] = value;
  __syncthreads();
  if (threadIdx.x < n) out[threadIdx.x] = own[(threadIdx.x + 1) % n];
}
__global__ void stuck(int* out) {
  if (threadIdx.x == 0) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory, shim_folder):
    text = (shim._FOLDER / "platform.cuh").read_text() + SMALL
    return Library(text, ["fill<float>", "stuck"], tmp_path_factory.mktemp("small"))


def test_a_kernel_runs(small):
    out = empty(40, "float32")
    small.launch("fill<float>", 1, 64, 256, [out, np.int32(40), np.float32(3)], 0)
    assert (out.get() == 3).all()


@pytest.mark.parametrize(
    ("name", "grid", "shared", "args", "said"),
    [
        ("fill<double>", 1, 256, (np.int32(4), np.float32(1)), "no kernel fill<double>"),
        ("fill<float>", 1, 256, (np.int32(4),), "2 arguments; expected 3"),
        ("fill<float>", 1, 256, (np.int64(4), np.float32(1)), "argument 1 has 8 bytes; expected 4"),
        ("fill<float>", 1, 256, (np.int32(4), np.float64(1)), "argument 2 has 8 bytes; expected 4"),
        ("fill<float>", 0, 256, (np.int32(4), np.float32(1)), "a grid of 0"),
        ("fill<float>", 1, 200, (np.int32(4), np.float32(1)), "a write beyond shared memory"),
        ("stuck", 1, 0, (), "threads wait for each other for ever"),
    ],
)
def test_what_is_wrong_with_a_launch_is_said(small, name, grid, shared, args, said):
    with pytest.raises(RuntimeError, match=said):
        small.launch(name, grid, 64, shared, [empty(64, "float32"), *args], 0)
    test_a_kernel_runs(small)  # and the next one runs


def test_a_write_beside_an_array_is_noticed(small):
    out = empty(10, "float32")
    small.launch("fill<float>", 1, 64, 256, [out, np.int32(12), np.float32(1)], 0)
    with pytest.raises(AssertionError, match="a kernel wrote beside an array"):
        check_strips()
    del out
    check_strips()


def test_what_a_kernel_leaves_out_is_nan(small):
    out = empty(40, "float32")
    small.launch("fill<float>", 1, 64, 256, [out, np.int32(30), np.float32(1)], 0)
    assert np.isnan(out.get()[30:]).all()
