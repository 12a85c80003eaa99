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
from gpubn.backend.matmul import Blas
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
    """A compiled kernel: `calls` is what it was launched with, `raised` what its limit became."""

    def __init__(self, name):
        self.name, self.calls, self.raised = name, [], []

    def __call__(self, grid, block, args, *, shared_mem):
        self.calls.append((grid, block, args, shared_mem))

    @property
    def max_dynamic_shared_size_bytes(self):
        return self.raised[-1] if self.raised else 0

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value):
        self.raised.append(value)


class Pool:
    """A memory pool: the default one, or one of a capture."""

    def __init__(self, log):
        self.log, self.free = log, 0
        log.append("pool")

    def malloc(self, size):
        raise AssertionError("nothing is allocated here")

    def free_bytes(self):
        return self.free

    def free_all_blocks(self):
        self.log.append("free_all_blocks")


class Stream:
    """A stream, current inside its `with`."""

    def __init__(self, cupy, ptr, non_blocking=False):
        self.cupy, self.ptr, self.outer, self.broken = cupy, ptr, [], False
        if non_blocking:
            cupy.log.append("non-blocking stream")

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
    fake = SimpleNamespace(log=[], compiled=[], functions={}, breaks_capture=False, memory=(0, 0))
    default = Pool([])
    default.log = fake.log
    properties = {"major": 9, "minor": 0, "sharedMemPerBlockOptin": LIMIT, "name": b"H100"}
    pools = []

    def raw_module(**kwargs):
        fake.compiled.append(kwargs)

        def get_function(name):
            return fake.functions.setdefault(name, Function(name))

        return SimpleNamespace(get_function=get_function)

    @contextmanager
    def using_allocator(allocator):
        fake.log.append("own memory" if allocator.__self__ is pools[-1]() else "other memory")
        try:
            yield
        finally:
            fake.log.append("memory as before")

    def memory_pool():
        pool = Pool(fake.log)
        pools.append(weakref.ref(pool))
        return pool

    fake.pools, fake.default_pool = pools, default
    fake.RawModule = raw_module
    fake.get_default_memory_pool = lambda: default
    fake.zeros = lambda size, dtype: ("zeros", size, dtype)
    fake.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceProperties=lambda number: properties | {"minor": number},
            memGetInfo=lambda: fake.memory,
            CUDARuntimeError=CUDARuntimeError,
        ),
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        get_current_stream=lambda: fake.current,
        Stream=lambda non_blocking: Stream(fake, 77, non_blocking),
        MemoryPool=memory_pool,
        using_allocator=using_allocator,
        alloc=lambda size: SimpleNamespace(ptr=4096, size=size),
    )
    fake.current = Stream(fake, 0)
    return fake


@pytest.fixture
def device(cupy):
    return CupyDevice(cupy, 0)


# Facts and launches -------------------------------------------------------------------------------


def test_what_the_device_is_comes_from_the_properties_of_its_number(cupy):
    device = CupyDevice(cupy, 3)
    assert (device.arch, device.shared_limit) == (93, LIMIT)
    assert device.xp is cupy
    assert cupy.compiled == []


def test_a_kernel_is_compiled_at_its_first_launch_and_once(cupy, device):
    for grid in (3, 5):
        device.launch(SCALE, grid, [1], threads=256)
    assert cupy.compiled == [
        {
            "code": "the whole source",
            "options": ("--std=c++17",),
            "name_expressions": ["scale<float, 4>"],
        }
    ]
    assert cupy.functions["scale<float, 4>"].calls == [
        ((3,), (256,), (1,), 0),
        ((5,), (256,), (1,), 0),
    ]
    same = Kernel("scale.cu", "the whole source", "scale<float, 4>")
    device.launch(same, 1, [], threads=256)
    assert len(cupy.compiled) == 1
    device.launch(Kernel("scale.cu", "the whole source", "scale<double, 2>"), 1, [], threads=32)
    assert [c["name_expressions"] for c in cupy.compiled[1:]] == [["scale<double, 2>"]]
    assert len(cupy.functions["scale<double, 2>"].calls) == 1


def test_kernels_of_one_name_in_two_sources_are_two(cupy, device):
    device.launch(SCALE, 1, [], threads=256)
    device.launch(Kernel("scale.cu", "another source", SCALE.name), 1, [], threads=256)
    assert [c["code"] for c in cupy.compiled] == ["the whole source", "another source"]


def test_none_is_a_null_pointer_and_the_rest_is_passed_as_it_is(cupy, device):
    array, number = object(), np.int32(7)
    device.launch(SCALE, 1, [None, array, number, None], threads=256, shared=100)
    ((_, _, args, shared),) = cupy.functions[SCALE.name].calls
    assert args[1] is array
    assert args[2] is number
    for null in (args[0], args[3]):
        assert (type(null), int(null), null.nbytes) == (np.uintp, 0, 8)
    assert shared == 100


def test_shared_memory_is_asked_for_only_above_what_is_free(cupy, device):
    for shared in (0, FREE_SHARED - 1, FREE_SHARED):
        device.launch(SCALE, 1, [], threads=256, shared=shared)
    function = cupy.functions[SCALE.name]
    assert function.raised == []
    sizes = [FREE_SHARED + 1, LIMIT, FREE_SHARED + 2]
    for shared in sizes:
        device.launch(SCALE, 1, [], threads=256, shared=shared)
    assert function.raised == [LIMIT]  # once, and to the most that there is
    assert [shared for *_, shared in function.calls[3:]] == sizes


def test_zeros_are_those_of_cupy(device):
    assert device.zeros(5, np.uint32) == ("zeros", 5, np.uint32)


# Memory -------------------------------------------------------------------------------------------


def test_free_memory_counts_what_the_pool_keeps(cupy, device):
    cupy.memory, cupy.default_pool.free = (1000, 5000), 234
    assert device.free_bytes() == 1234


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


RECORDED = [
    *("pool", "non-blocking stream", "stream on", "own memory", "begin"),
    *("work", "end"),
    *("memory as before", "stream off"),
]


def test_work_is_recorded_on_a_stream_and_with_memory_of_its_own(cupy, device):
    outer, inside = cupy.current, []

    def work():
        cupy.log.append("work")
        inside.append(cupy.current)

    device.capture(work)
    assert cupy.log == RECORDED
    assert inside[0] is not outer
    assert cupy.current is outer


def test_a_replay_is_launched_on_the_stream_that_is_current_then(cupy, device):
    replay = device.capture(lambda: cupy.log.append("work"))
    del cupy.log[:]
    replay()
    cupy.current = Stream(cupy, 5)
    replay()
    replay()
    assert cupy.log == [("launch", 0), ("launch", 5), ("launch", 5)]


def test_the_memory_of_a_recording_lives_as_long_as_what_replays_it(cupy, device):
    replay = device.capture(lambda: None)
    gc.collect()
    (pool,) = cupy.pools
    assert pool() is not None
    replay()
    del replay
    gc.collect()
    assert pool() is None


def test_recordings_share_no_memory(cupy, device):
    kept = [device.capture(lambda: None) for _ in range(2)]
    assert len({id(pool()) for pool in cupy.pools}) == len(kept) == 2


@pytest.mark.parametrize("error", [OutOfMemoryError("no room"), KeyboardInterrupt()], ids=repr)
def test_work_that_fails_ends_the_recording_and_its_error_goes_on(cupy, device, error):
    outer = cupy.current

    def work():
        cupy.log.append("work")
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
    assert cupy.log.count("end") == 1


def test_the_error_of_the_work_counts_where_the_recording_is_broken_by_it(cupy, device):
    cupy.breaks_capture = True

    def work():
        raise OutOfMemoryError("no room")

    with pytest.raises(OutOfMemoryError, match="no room"):  # which sends the replicas into halves
        device.capture(work)
    assert cupy.log.count("end") == 1


# Matrix products ----------------------------------------------------------------------------------


class Cublas(ModuleType):
    """Writes down in `calls` what is asked of it; alpha and beta as what is at their address."""

    def __init__(self):
        super().__init__("nvmath.bindings.cublas")
        self.calls = []

    def create(self):
        self.calls.append(("create",))
        return 99

    def set_stream(self, *args):
        self.calls.append(("set_stream", *args))

    def set_workspace(self, *args):
        self.calls.append(("set_workspace", *args))

    def _product(self, name, number, args):
        scalars = [number.from_address(args[i]).value for i in (6, 13)]
        self.calls.append((name, *args[:6], scalars[0], *args[7:13], scalars[1], *args[14:]))

    def sgemm_strided_batched(self, *args):
        self._product("sgemm", ctypes.c_float, args)

    def dgemm_strided_batched(self, *args):
        self._product("dgemm", ctypes.c_double, args)


@pytest.fixture
def cublas(monkeypatch):
    fake, bindings = Cublas(), ModuleType("nvmath.bindings")
    bindings.cublas = fake
    modules = {"nvmath": ModuleType("nvmath"), "nvmath.bindings": bindings, fake.__name__: fake}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


class Matrices:
    """An array (R, ., .) of the device at an address."""

    def __init__(self, address, *shape, dtype="float32"):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.data = SimpleNamespace(ptr=address)

    def __len__(self):
        return self.shape[0]


def multiply(device, dtype="float32", **options):
    """(2, 3, 4) times (2, 4, 5)."""
    a, b, out = (
        Matrices(at, *shape, dtype=dtype)
        for at, shape in ((1000, (2, 3, 4)), (2000, (2, 4, 5)), (3000, (2, 3, 5)))
    )
    device.multiply(a, b, out, **options)


@pytest.mark.parametrize(("dtype", "name"), [("float32", "sgemm"), ("float64", "dgemm")])
def test_the_dtype_decides_the_routine(cublas, device, dtype, name):
    multiply(device, dtype, alpha=-1.5, beta=0.5)
    # Matrices by columns: out' (5, 3) = b' (5, 4) a' (4, 3), with the length of a row as the lead.
    assert cublas.calls[-1] == (
        *(name, 99, 0, 0, 5, 3, 4, -1.5),
        *(2000, 5, 20, 1000, 4, 12),
        *(0.5, 3000, 5, 15, 2),
    )


def test_a_product_alone_replaces_what_was_there(cublas, device):
    multiply(device)
    assert (cublas.calls[-1][7], cublas.calls[-1][14]) == (1.0, 0.0)


def test_the_workspace_is_set_after_each_change_of_the_stream_and_only_then(cublas, cupy, device):
    for pointer in (0, 0, 6, 6, 0):
        cupy.current = Stream(cupy, pointer)
        multiply(device)
    workspace = ("set_workspace", 99, 4096, 32 << 20)
    calls = [call if call[0].startswith("set") else call[0] for call in cublas.calls]
    assert calls == [
        "create",
        *(("set_stream", 99, 0), workspace, "sgemm", "sgemm"),
        *(("set_stream", 99, 6), workspace, "sgemm", "sgemm"),
        *(("set_stream", 99, 0), workspace, "sgemm"),
    ]


def test_without_a_product_cublas_is_not_asked_for(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    device.zeros(1, "float32")
    device.launch(SCALE, 1, [], threads=256)


def test_a_missing_nvmath_is_one_sentence_that_names_the_extras(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    with pytest.raises(BackendError, match=r"^backend=cupy needs nvmath-python .*;") as error:
        multiply(device)
    assert re.findall(r"\.\[cuda1\d\]", str(error.value)) == [".[cuda12]", ".[cuda13]"]
    assert "\n" not in str(error.value)
    with pytest.raises(BackendError):
        Blas(device.xp)
