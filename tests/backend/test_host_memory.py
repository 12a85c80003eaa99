"""Memory that is used again: never while somebody looks at it, and starting where it should."""

import gc
import os

import numpy as np
import pytest

from gpubn.backend.host_memory import LINE, HostPool, address_of


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (1000, 7)], ids=str)
@pytest.mark.parametrize("start", [0, 16, 56])
def test_an_array_is_as_asked_for_and_starts_where_asked_for(shape, dtype, start):
    array = HostPool().empty(shape, dtype, start)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert address_of(array) == array.__array_interface__["data"][0]
    assert address_of(array) % LINE == start
    array[...] = 7
    assert (array == 7).all()


def test_memory_that_is_free_is_lent_again_and_views_keep_it():
    pool = HostPool()
    first = pool.empty((4, 8), "float64")
    view, at = first[1:].T.reshape(-1, 3).view("int64"), address_of(first)
    del first
    assert pool.lent(view)
    second = pool.empty((4, 8), "float64")
    assert address_of(second) != at
    del view
    gc.collect()
    third = pool.empty((2, 16), "float64")  # as many bytes
    assert address_of(third) == at
    assert address_of(pool.empty((4, 8), "float64")) not in (at, address_of(second))
    assert not pool.lent(np.empty(3))
    assert not HostPool().lent(third)


def test_memory_may_come_back_while_this_thread_has_the_lock():
    """The garbage collector may run anywhere."""
    pool = HostPool()
    first, second = pool.empty((8,), "float64"), pool.empty((8,), "float64")
    at = address_of(first)
    with pool._lock:
        del first
    assert pool._kept == 0
    del second
    assert pool._kept == 128
    taken = [pool.empty((8,), "float64") for _ in range(2)]
    assert at in map(address_of, taken)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_that_forks_does_not_wait_for_threads_that_it_does_not_have():
    pool = HostPool()
    pool._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if pool._lock.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_more_is_kept_than_is_allowed():
    pool = HostPool(most=256)
    kept = [pool.empty((16,), "float64") for _ in range(3)]
    del kept
    assert pool._kept == 128
    again = pool.empty((16,), "float64")
    assert pool._kept == 0
    del again
    assert pool._kept == 128
    big = pool.empty((64,), "float64")
    del big
    assert pool._kept == 0
    assert pool._free == {}
