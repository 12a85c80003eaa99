"""The CUDA device, by the calls that it makes of CuPy and of cuBLAS: no GPU is needed."""

import ctypes
import gc
import re
import sys
import weakref
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpubn.backend import Kernel
from gpubn.backend.cupy_device import CupyDevice
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


class Function:
    """A compiled kernel: `calls` is what it was launched with."""

    max_dynamic_shared_size_bytes = 0

    def __init__(self):
        self.calls = []

    def __call__(self, grid, block, args, *, shared_mem):
        self.calls.append((grid, block, args, shared_mem))


class Pool:
    """The memory of a capture."""

    def malloc(self, size):
        raise AssertionError("nothing is allocated here")


class Stream:
    """A stream, current inside its `with`."""

    def __init__(self, cupy, ptr):
        self.cupy, self.ptr, self.outer = cupy, ptr, []

    def __enter__(self):
        self.cupy.log.append("stream on")
        self.outer.append(self.cupy.current)
        self.cupy.current = self

    def __exit__(self, *error):
        self.cupy.log.append("stream off")
        self.cupy.current = self.outer.pop()

    def begin_capture(self):
        self.cupy.log.append("begin")

    def end_capture(self):
        self.cupy.log.append("end")
        if self.cupy.breaks_capture:
            raise CUDARuntimeError(901)
        launch = lambda stream: self.cupy.log.append(("launch", stream.ptr))  # noqa: E731
        return SimpleNamespace(launch=launch)


@pytest.fixture
def cupy():
    """A CuPy that writes down in `log` what is asked of it."""
    fake = SimpleNamespace(log=[], compiled=[], functions={}, breaks_capture=False, pools=[])
    properties = {"major": 9, "sharedMemPerBlockOptin": LIMIT}

    def raw_module(**options):
        fake.compiled.append(options)
        get_function = lambda name: fake.functions.setdefault(name, Function())  # noqa: E731
        return SimpleNamespace(get_function=get_function)

    @contextmanager
    def using_allocator(allocator):
        fake.log.append("own memory" if allocator.__self__ is fake.pools[-1]() else "other memory")
        try:
            yield
        finally:
            fake.log.append("memory as before")

    def new_pool():
        pool = Pool()
        fake.pools.append(weakref.ref(pool))
        return pool

    def new_stream(*, non_blocking):
        assert non_blocking
        return Stream(fake, 77)

    fake.RawModule = raw_module
    fake.default_pool = SimpleNamespace(
        free_bytes=lambda: 234, free_all_blocks=lambda: fake.log.append("free_all_blocks")
    )
    fake.get_default_memory_pool = lambda: fake.default_pool
    fake.zeros = lambda size, dtype: ("zeros", size, dtype)
    fake.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceProperties=lambda number: properties | {"minor": number},
            memGetInfo=lambda: (1000, 5000),
            CUDARuntimeError=CUDARuntimeError,
        ),
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        get_current_stream=lambda: fake.current,
        Stream=new_stream,
        MemoryPool=new_pool,
        using_allocator=using_allocator,
        alloc=lambda size: SimpleNamespace(ptr=4096, size=size),
    )
    fake.current = Stream(fake, 0)
    return fake


@pytest.fixture
def device(cupy):
    return CupyDevice(cupy, 0)


# Launches and memory ------------------------------------------------------------------------------


def test_what_the_device_is_comes_from_the_properties_of_its_number(cupy):
    device = CupyDevice(cupy, 3)
    assert (device.arch, device.shared_limit, device.xp) == (93, LIMIT, cupy)
    assert device.zeros(5, np.uint32) == ("zeros", 5, np.uint32)
    assert device.free_bytes() == 1234  # with what the pool keeps


def test_a_kernel_is_compiled_at_its_first_launch_and_once(cupy, device):
    array, number = object(), np.int32(7)
    device.launch(SCALE, 3, [None, array, number], threads=256, shared=100)
    device.launch(Kernel("scale.cu", "the whole source", SCALE.name), 5, [], threads=32)
    names = ["scale<float, 4>"]
    options = {"options": ("--std=c++17",), "name_expressions": names}
    assert cupy.compiled == [{"code": "the whole source", **options}]
    (_, _, args, shared), second = cupy.functions[SCALE.name].calls
    assert (type(args[0]), int(args[0]), args[0].nbytes) == (np.uintp, 0, 8)  # a null pointer
    assert args[1] is array
    assert args[2] is number
    assert shared == 100
    assert second == ((5,), (32,), (), 0)
    # Another kernel of this source, and one of this name in another source.
    device.launch(Kernel("scale.cu", "the whole source", "scale<double, 2>"), 1, [], threads=32)
    device.launch(Kernel("scale.cu", "another source", SCALE.name), 1, [], threads=32)
    assert [compiled["code"] for compiled in cupy.compiled[1:]] == [
        "the whole source",
        "another source",
    ]
    assert len(cupy.functions["scale<double, 2>"].calls) == 1


def test_shared_memory_is_asked_for_only_above_what_is_free(cupy, device):
    for shared in (0, FREE_SHARED, FREE_SHARED + 1, LIMIT):
        device.launch(SCALE, 1, [], threads=256, shared=shared)
        function = cupy.functions[SCALE.name]
        assert function.calls[-1][3] == shared
        asked = LIMIT if shared > FREE_SHARED else 0  # at once for the most that there is
        assert function.max_dynamic_shared_size_bytes == asked


def test_what_a_cycle_holds_is_gone_before_the_pool_gives_back(cupy, device):
    class Cycle:
        pass

    array = Cycle()
    array.itself, gone = array, weakref.ref(array)
    cupy.default_pool.free_all_blocks = lambda: cupy.log.append(gone() is None)
    gc.disable()
    try:
        del array
        assert gone() is not None
        device.free_cached()
    finally:
        gc.enable()
    assert cupy.log == [True]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("Out of memory allocating 7 bytes"), True),
        (CUDARuntimeError(2), True),
        (CUDADriverError(2), True),
        (CUDARuntimeError(700), False),  # an illegal address
        (MemoryError(), False),  # of the host
        (RuntimeError("status 2"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=repr,
)
def test_which_errors_say_that_memory_is_out(device, error, expected):
    assert device.is_out_of_memory(error) is expected


# Recording ----------------------------------------------------------------------------------------

RECORDED = ["free_all_blocks", "stream on", "own memory", "begin", "end", "memory as before", "stream off"]


def test_work_is_recorded_on_its_own_stream_and_replayed_on_the_current_one(cupy, device):
    outer, inside = cupy.current, []
    replay = device.capture(lambda: inside.append(cupy.current))
    assert cupy.log == RECORDED
    assert inside[0].ptr == 77
    assert cupy.current is outer
    del cupy.log[:]
    replay()
    cupy.current = Stream(cupy, 5)
    replay()
    assert cupy.log == [("launch", 0), ("launch", 5)]


def test_the_memory_of_a_recording_is_its_own_and_lives_as_long_as_what_replays_it(cupy, device):
    replay, other = (device.capture(lambda: None) for _ in "12")
    one, two = (pool() for pool in cupy.pools)
    assert one is not two
    del one, two
    assert [pool() is None for pool in cupy.pools] == [False, False]
    del replay
    assert [pool() is None for pool in cupy.pools] == [True, False]
    other()


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("error", [OutOfMemoryError("no room"), KeyboardInterrupt()], ids=repr)
def test_work_that_fails_ends_the_recording_and_its_error_goes_on(cupy, device, error, broken):
    outer, cupy.breaks_capture = cupy.current, broken

    def work():
        raise error

    with pytest.raises(type(error)) as caught:
        device.capture(work)
    assert caught.value is error
    assert cupy.log == RECORDED
    assert cupy.current is outer


def test_an_error_of_the_recording_itself_goes_on(cupy, device):
    cupy.breaks_capture = True
    with pytest.raises(CUDARuntimeError, match="901"):
        device.capture(lambda: None)
    assert cupy.log == RECORDED


# Matrix products ----------------------------------------------------------------------------------


@pytest.fixture
def cublas(monkeypatch):
    """The calls that are made of cuBLAS; alpha and beta as what is at their address."""
    calls, bindings = [], ModuleType("nvmath.bindings")

    def product(name, number):
        def call(*args):
            alpha, beta = (number.from_address(args[i]).value for i in (6, 13))
            calls.append((name, *args[:6], alpha, *args[7:13], beta, *args[14:]))

        return call

    bindings.cublas = SimpleNamespace(
        create=lambda: calls.append(("create",)) or 99,
        set_stream=lambda *args: calls.append(("set_stream", *args)),
        set_workspace=lambda *args: calls.append(("set_workspace", *args)),
        sgemm_strided_batched=product("sgemm", ctypes.c_float),
        dgemm_strided_batched=product("dgemm", ctypes.c_double),
    )
    monkeypatch.setitem(sys.modules, "nvmath", ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", bindings)
    return calls


class Matrices:
    """An array (R, ., .) of the device at an address."""

    def __init__(self, address, *shape, dtype="float32"):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.data = SimpleNamespace(ptr=address)

    def __len__(self):
        return self.shape[0]


def multiply(device, dtype="float32", shared=2, **options):
    """(2, 3, 4) times (2, 4, 5), or times one for both."""
    places = (1000, (2, 3, 4)), (2000, (shared, 4, 5)), (3000, (2, 3, 5))
    device.multiply(*(Matrices(at, *shape, dtype=dtype) for at, shape in places), **options)


@pytest.mark.parametrize(("dtype", "name"), [("float32", "sgemm"), ("float64", "dgemm")])
@pytest.mark.parametrize(("shared", "stride"), [(2, 20), (1, 0)])
def test_the_dtype_decides_the_routine(cublas, device, dtype, name, shared, stride):
    # Matrices by columns: out' (5, 3) = b' (5, 4) a' (4, 3), with the length of a row as the lead.
    for scales, (alpha, beta) in (({"alpha": -1.5, "beta": 0.5}, (-1.5, 0.5)), ({}, (1.0, 0.0))):
        multiply(device, dtype, shared, **scales)
        assert cublas[-1] == (
            *(name, 99, 0, 0, 5, 3, 4, alpha),
            *(2000, 5, stride, 1000, 4, 12),
            *(beta, 3000, 5, 15, 2),
        )


def test_the_workspace_is_set_after_each_change_of_the_stream_and_only_then(cublas, cupy, device):
    for pointer in (0, 0, 6, 6, 0):
        cupy.current = Stream(cupy, pointer)
        multiply(device)
    workspace = ("set_workspace", 99, 4096, 32 << 20)
    assert [call if call[0].startswith("set") else call[0] for call in cublas] == [
        "create",
        *(("set_stream", 99, 0), workspace, "sgemm", "sgemm"),
        *(("set_stream", 99, 6), workspace, "sgemm", "sgemm"),
        *(("set_stream", 99, 0), workspace, "sgemm"),
    ]


def test_nvmath_is_asked_for_at_the_first_product_and_its_absence_names_the_extras(
    monkeypatch, device
):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    device.launch(SCALE, 1, [], threads=256)
    with pytest.raises(BackendError, match=r"^backend=cupy needs nvmath-python .*;") as error:
        multiply(device)
    assert re.findall(r"\.\[cuda1\d\]", str(error.value)) == [".[cuda12]", ".[cuda13]"]
    assert "\n" not in str(error.value)
