"""Memory of the host that is used again: fresh pages cost more than what is computed on them."""

import ctypes
import math
import os
import threading
from collections import deque
from typing import Any
from weakref import WeakSet

import numpy as np

from gpubn.backend.arrays import Array

LINE = 64
"""Bytes of a line of the cache: a vector that crosses from one to the next takes longer."""
_number_at, _FIELD = ctypes.c_ssize_t.from_address, object.__basicsize__


def address_of(array: Array) -> int:
    """Return the address of an array's numbers.

    It is the first field of NumPy's C structure, which is part of its ABI; `array.ctypes.data`
    takes seven times as long.

    >>> numbers = np.zeros(3)
    >>> address_of(numbers[1:]) == numbers.ctypes.data + 8
    True
    """
    address: int = _number_at(id(array) + _FIELD).value
    return address


class HostPool:
    """Lends memory and takes it back when nobody refers to the array any more.

    Args:
        most: bytes that it keeps.
    """

    def __init__(self, most: float = float("inf")) -> None:
        self._most, self._kept = most, 0
        self._free: dict[int, list[np.ndarray]] = {}
        self._back: deque[np.ndarray] = deque()
        self._renew()
        _pools.add(self)

    def _renew(self) -> None:
        """Have a lock that nobody holds: before a fork another thread may have had it."""
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: Any, start: int = 0) -> Array:
        """Return an array of any values that starts so many bytes into a line of the cache."""
        dtype = np.dtype(dtype)
        size = start + math.prod(shape) * dtype.itemsize
        return np.asarray(_Loan(self, self._take(-(-size // LINE) * LINE), start, shape, dtype))

    def lent(self, array: Array) -> bool:
        """Return True for an array of this pool, and for a view on one."""
        while type(array.base) is np.ndarray:
            array = array.base
        return type(array.base) is _Loan and array.base.pool is self

    def take_back(self, memory: np.ndarray) -> None:
        """Keep memory for the next who needs as much, or all that is too much for none.

        The garbage collector may call this anywhere, even where this thread has the lock: then
        whoever has it next looks after the memory.
        """
        self._back.append(memory)
        if self._lock.acquire(blocking=False):
            try:
                self._look_after()
            finally:
                self._lock.release()

    def _look_after(self) -> None:
        while self._back:
            memory = self._back.popleft()
            if self._kept + memory.size > self._most:
                self._free.clear()
                self._kept = 0
            if memory.size <= self._most:
                self._free.setdefault(memory.size, []).append(memory)
                self._kept += memory.size

    def _take(self, size: int) -> np.ndarray:
        with self._lock:
            self._look_after()
            if free := self._free.get(size):
                self._kept -= size
                return free.pop()
        memory = np.empty(size + LINE, np.uint8)
        start = -memory.ctypes.data % LINE
        return memory[start : start + size]


_pools: WeakSet[HostPool] = WeakSet()


def _renew_all() -> None:
    for pool in _pools:
        pool._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class _Loan:
    """The base of an array of a pool; gone, it gives the memory back."""

    __slots__ = ("__array_interface__", "memory", "pool")

    def __init__(
        self,
        pool: HostPool,
        memory: np.ndarray,
        start: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.pool, self.memory = pool, memory
        data = address_of(memory) + start, False
        self.__array_interface__ = {
            **{"shape": shape, "typestr": dtype.str, "data": data, "version": 3}
        }

    def __del__(self) -> None:
        self.pool.take_back(self.memory)
