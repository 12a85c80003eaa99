"""The shim says what is wrong with a launch, instead of computing something."""

import numpy as np
import pytest

from tests.cuda import shim
from tests.cuda.shim import Library
from tests.cuda.standin import check_strips, empty

SOURCE = """
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
    text = (shim._FOLDER / "platform.cuh").read_text() + SOURCE
    return Library(text, ["fill<float>", "stuck"], tmp_path_factory.mktemp("small"))


def fill(small, size, n, value=3):
    out = empty(size, "float32")
    small.launch("fill<float>", 1, 64, 256, [out, np.int32(n), np.float32(value)], 0)
    return out


def test_a_kernel_runs_and_what_it_leaves_out_is_nan(small):
    assert (fill(small, 40, 40).get() == 3).all()
    partly = fill(small, 40, 30).get()
    assert (partly[:30] == 3).all()
    assert np.isnan(partly[30:]).all()


@pytest.mark.parametrize(
    ("name", "grid", "shared", "args", "said"),
    [
        ("fill<double>", 1, 256, (np.int32(4), np.float32(1)), "no kernel fill<double>"),
        ("fill<float>", 1, 256, (np.int32(4),), "2 arguments; expected 3"),
        ("fill<float>", 1, 256, (np.int64(4), np.float32(1)), "argument 1 has 8 bytes; expected 4"),
        ("fill<float>", 0, 256, (np.int32(4), np.float32(1)), "a grid of 0"),
        ("fill<float>", 1, 200, (np.int32(4), np.float32(1)), "a write beyond shared memory"),
        ("stuck", 1, 0, (), "threads wait for each other for ever"),
    ],
)
def test_what_is_wrong_with_a_launch_is_said(small, name, grid, shared, args, said):
    with pytest.raises(RuntimeError, match=said):
        small.launch(name, grid, 64, shared, [empty(64, "float32"), *args], 0)
    assert (fill(small, 40, 40).get() == 3).all()  # and the next one runs


def test_a_write_beside_an_array_is_noticed(small):
    out = fill(small, 10, 12)
    with pytest.raises(AssertionError, match="a kernel wrote beside an array"):
        check_strips()
    del out
    check_strips()
