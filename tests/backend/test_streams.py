"""CuPy on a device and a stream of another package."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from gpubn.backend.streams import on_stream
from gpubn.errors import BackendError


def test_work_runs_on_the_device_and_inside_on_the_stream(monkeypatch):
    log = []

    @contextmanager
    def context(*what):
        log.append(("enter", *what))
        yield
        log.append(("exit", *what))

    cuda = SimpleNamespace(
        Device=lambda number: context("device", number),
        Stream=SimpleNamespace(from_external=lambda owner: context(*owner.__cuda_stream__())),
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    with on_stream(1, 4096):
        log.append("work")
    device, stream = ("device", 1), (0, 4096)
    entered = [("enter", *device), ("enter", *stream)]
    assert log == [*entered, "work", ("exit", *stream), ("exit", *device)]


def test_without_cupy_the_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"need CuPy, .*'\.\[cuda12\]'"), on_stream(0, 0):
        pass
