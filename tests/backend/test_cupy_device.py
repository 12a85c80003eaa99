"""The CUDA device and its streams, by the calls made of CuPy and of cuBLAS: no GPU is needed."""

import ctypes
import gc
import re
import sys
import weakref
from contextlib import nullcontext
from types import ModuleType
from unittest.mock import MagicMock, call

import numpy as np
import pytest

from gpubn.backend import Kernel
from gpubn.backend.cupy_device import CupyDevice
from gpubn.backend.streams import on_stream
from gpubn.errors import BackendError

SCALE = Kernel("scale.cu", "the whole source", "scale<float, 4>")
FREE_SHARED, LIMIT = 48 * 1024, 232_448


class OutOfMemoryError(MemoryError):
    """Stands for cupy.cuda.memory.OutOfMemoryError."""


class CUDARuntimeError(RuntimeError):
    """Stands for cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class CUDADriverError(CUDARuntimeError):
    """Stands for cupy.cuda.driver.CUDADriverError."""


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that writes down what is asked of it."""
    fake = MagicMock()
    properties = {"major": 9, "sharedMemPerBlockOptin": LIMIT}
    fake.cuda.runtime.getDeviceProperties = lambda number: properties | {"minor": number}
    fake.cuda.runtime.memGetInfo.return_value = (1000, 5000)
    fake.get_default_memory_pool.return_value.free_bytes.return_value = 234
    fake.cuda.memory.OutOfMemoryError = OutOfMemoryError
    fake.cuda.runtime.CUDARuntimeError = CUDARuntimeError
    fake.cuda.driver.CUDADriverError = CUDADriverError
    fake.kernel = fake.RawModule.return_value.get_function.return_value
    fake.kernel.max_dynamic_shared_size_bytes = 0
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


@pytest.fixture
def device(cupy):
    return CupyDevice(cupy, 0)


# Launches and memory ------------------------------------------------------------------------------


def test_what_the_device_is_comes_from_the_properties_of_its_number(cupy):
    device = CupyDevice(cupy, 3)
    assert (device.arch, device.shared_limit, device.xp) == (93, LIMIT, cupy)
    assert device.free_bytes() == 1234  # with what the pool keeps


def test_a_kernel_is_compiled_at_its_first_launch_and_once(cupy, device):
    array, number = object(), np.int32(7)
    device.launch(SCALE, 3, [None, array, number], threads=256, shared=100)
    (grid, block, (null, *rest)), options = cupy.kernel.call_args
    assert (grid, block, options) == ((3,), (256,), {"shared_mem": 100})
    assert (type(null), int(null), null.nbytes) == (np.uintp, 0, 8)  # a null pointer
    assert rest == [array, number]
    device.launch(Kernel("scale.cu", "the whole source", SCALE.name), 5, [], threads=32)
    assert cupy.kernel.call_args == call((5,), (32,), (), shared_mem=0)
    options = {"options": ("--std=c++17",), "name_expressions": [SCALE.name]}
    assert cupy.RawModule.call_args_list == [call(code="the whole source", **options)]
    # Another kernel of this source, and one of this name in another source.
    device.launch(Kernel("scale.cu", "the whole source", "scale<double, 2>"), 1, [], threads=32)
    device.launch(Kernel("scale.cu", "another source", SCALE.name), 1, [], threads=32)
    asked = [compiled.kwargs["code"] for compiled in cupy.RawModule.call_args_list]
    assert asked[1:] == ["the whole source", "another source"]


def test_shared_memory_is_asked_for_only_above_what_is_free(cupy, device):
    for shared in (0, FREE_SHARED, FREE_SHARED + 1, LIMIT):
        device.launch(SCALE, 1, [], threads=256, shared=shared)
        assert cupy.kernel.call_args.kwargs == {"shared_mem": shared}
        asked = LIMIT if shared > FREE_SHARED else 0  # at once for the most that there is
        assert cupy.kernel.max_dynamic_shared_size_bytes == asked


def test_what_a_cycle_holds_is_gone_before_the_pool_gives_back(cupy, device):
    class Cycle:
        pass

    cycle, seen = Cycle(), []
    cycle.itself, gone = cycle, weakref.ref(cycle)
    pool = cupy.get_default_memory_pool.return_value
    pool.free_all_blocks.side_effect = lambda: seen.append(gone() is None)
    gc.disable()
    try:
        del cycle
        assert gone() is not None
        device.free_cached()
    finally:
        gc.enable()
    assert seen == [True]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("Out of memory allocating 7 bytes"), True),
        (CUDARuntimeError(2), True),
        (CUDADriverError(2), True),
        (CUDARuntimeError(700), False),  # an illegal address
        (MemoryError(), False),  # of the host
    ],
    ids=repr,
)
def test_which_errors_say_that_memory_is_out(device, error, expected):
    assert device.is_out_of_memory(error) is expected


# Recording ----------------------------------------------------------------------------------------

RECORDED = [
    *("get_default_memory_pool", "get_default_memory_pool().free_all_blocks"),
    *("cuda.MemoryPool", "cuda.Stream", "cuda.Stream().__enter__"),
    *("cuda.using_allocator", "cuda.using_allocator().__enter__", "cuda.Stream().begin_capture"),
    *("work", "cuda.Stream().end_capture", "cuda.using_allocator().__exit__"),
    "cuda.Stream().__exit__",
]


def test_work_is_recorded_on_its_own_stream_and_replayed_on_the_current_one(cupy, device):
    replay = device.capture(cupy.work, 1)
    assert [name for name, _, _ in cupy.mock_calls] == RECORDED
    assert cupy.cuda.Stream.call_args == call(non_blocking=True)
    graph = cupy.cuda.Stream.return_value.end_capture.return_value
    for stream in "ab":
        cupy.cuda.get_current_stream.return_value = stream
        replay()
    assert graph.launch.call_args_list == [call("a"), call("b")]


def test_the_memory_of_a_recording_is_its_own_and_lives_as_long_as_what_replays_it(cupy, device):
    class Pool:
        def malloc(self, size):
            """Nothing is allocated here."""

    pools, used = [], []

    def new_pool():
        pool = Pool()
        pools.append(weakref.ref(pool))
        return pool

    def using_allocator(allocator):
        used.append(allocator.__self__ is pools[-1]())
        return nullcontext()

    cupy.cuda.MemoryPool, cupy.cuda.using_allocator = new_pool, using_allocator
    replay, other = (device.capture(lambda: None, 1) for _ in "12")
    assert used == [True, True]
    assert [pool() is None for pool in pools] == [False, False]
    del replay
    assert [pool() is None for pool in pools] == [True, False]
    other()


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("error", [OutOfMemoryError("no room"), KeyboardInterrupt()], ids=repr)
def test_work_that_fails_ends_the_recording_and_its_error_goes_on(cupy, device, error, broken):
    cupy.work.side_effect = error
    if broken:
        cupy.cuda.Stream.return_value.end_capture.side_effect = CUDARuntimeError(901)
    with pytest.raises(type(error)) as caught:
        device.capture(cupy.work, 1)
    assert caught.value is error
    assert [name for name, _, _ in cupy.mock_calls] == RECORDED


def test_an_error_of_the_recording_itself_goes_on(cupy, device):
    cupy.cuda.Stream.return_value.end_capture.side_effect = CUDARuntimeError(901)
    with pytest.raises(CUDARuntimeError, match="901"):
        device.capture(cupy.work, 1)
    assert [name for name, _, _ in cupy.mock_calls] == RECORDED


def test_work_on_a_borrowed_stream_is_on_its_device(cupy):
    with on_stream(1, 4096):
        cupy.work()
    borrowed = cupy.cuda.Stream.from_external.call_args.args[0]
    assert borrowed.__cuda_stream__() == (0, 4096)
    assert cupy.cuda.Device.call_args == call(1)
    assert [name for name, _, _ in cupy.mock_calls] == [
        *("cuda.Device", "cuda.Device().__enter__"),
        *("cuda.Stream.from_external", "cuda.Stream.from_external().__enter__", "work"),
        *("cuda.Stream.from_external().__exit__", "cuda.Device().__exit__"),
    ]


# Matrix products; test_matmul.py computes with their arguments ------------------------------------


@pytest.fixture
def cublas(monkeypatch):
    """The calls that are made of cuBLAS; of a product alpha and beta, read at their addresses."""
    fake, bindings = MagicMock(scales=[]), ModuleType("nvmath.bindings")
    fake.create.return_value = 99
    for name, number in (("sgemm", ctypes.c_float), ("dgemm", ctypes.c_double)):

        def product(*args, number=number):
            fake.scales.append([number.from_address(args[i]).value for i in (6, 13)])

        getattr(fake, f"{name}_strided_batched").side_effect = product
    bindings.cublas = fake
    monkeypatch.setitem(sys.modules, "nvmath", ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", bindings)
    return fake


def multiply(device, dtype="float32", **scales):
    matrix = MagicMock(shape=(1, 2, 2), dtype=np.dtype(dtype), **{"__len__.return_value": 1})
    device.multiply(matrix, matrix, matrix, **scales)


def test_the_dtype_decides_the_routine(cublas, device):
    for dtype in ("float32", "float64"):
        multiply(device, dtype)
        multiply(device, dtype, alpha=-1.5, beta=0.5)
        assert cublas.scales[-2:] == [[1.0, 0.0], [-1.5, 0.5]]
    routines = [name for name, _, _ in cublas.mock_calls if "gemm" in name]
    assert routines == ["sgemm_strided_batched"] * 2 + ["dgemm_strided_batched"] * 2


def test_the_workspace_is_set_after_each_change_of_the_stream_and_only_then(cublas, cupy, device):
    cupy.cuda.alloc.return_value.ptr = 4096
    for pointer in (0, 0, 6, 6, 0):
        cupy.cuda.get_current_stream.return_value.ptr = pointer
        multiply(device)
    calls = [c if "set" in c[0] else c[0].partition("_")[0] for c in cublas.mock_calls]
    workspace = call.set_workspace(99, 4096, 32 << 20)
    assert calls == [
        "create",
        *(call.set_stream(99, 0), workspace, "sgemm", "sgemm"),
        *(call.set_stream(99, 6), workspace, "sgemm", "sgemm"),
        *(call.set_stream(99, 0), workspace, "sgemm"),
    ]


def test_the_absence_of_cupy_or_nvmath_names_the_extras(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    device.launch(SCALE, 1, [], threads=256)  # no product is asked for
    with pytest.raises(BackendError, match=r"^backend=cupy needs nvmath-python .*;") as of_nvmath:
        multiply(device)
    with pytest.raises(BackendError, match="need CuPy, ") as of_cupy, on_stream(0, 0):
        pass
    for error in (of_nvmath, of_cupy):
        assert re.findall(r"\.\[cuda1\d\]", str(error.value)) == [".[cuda12]", ".[cuda13]"]
