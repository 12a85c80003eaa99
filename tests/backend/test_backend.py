"""Backends: which one is taken, and what is said when it cannot be."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import gpubn
from gpubn.backend import CpuDevice, cores, device_of, gpu_count, host_kernels, namespace, resolve
from gpubn.backend.current import why_not_compiled
from gpubn.errors import ArgumentError, BackendError
from gpubn.kernels import batch_norm
from gpubn.kernels.agnostic.batch_norm import BatchNormCache

ROOT = Path(gpubn.__file__).parents[1]
LIGHT = ["gpubn", "gpubn.kernels", "gpubn.backend.streams", "gpubn.interop"]


class FakeArray:
    """Stands for cupy.ndarray."""


def fake_cupy(*, available=True, error=None):
    """A CuPy with two GPUs, or with one that fails at its first use."""

    def arange(n):
        if error is not None:
            raise error
        return np.arange(n)

    cupy, cupy.used = ModuleType("cupy"), []
    cupy.ndarray, cupy.arange, cupy.RawModule = FakeArray, arange, None
    cupy.cuda = SimpleNamespace(
        is_available=lambda: available,
        Device=lambda i=0: SimpleNamespace(id=i, use=lambda: cupy.used.append(i)),
        runtime=SimpleNamespace(
            getDeviceProperties=lambda i: {
                "name": b"Fake GPU",
                "major": 9,
                "minor": i,
                "sharedMemPerBlockOptin": 1024,
            },
            getDeviceCount=lambda: 2,
            getDevice=lambda: cupy.used[-1],
        ),
    )
    return cupy


@pytest.fixture
def install(monkeypatch):
    """install(cupy) puts a fake in its place; None makes its import fail."""
    return lambda cupy: monkeypatch.setitem(sys.modules, "cupy", cupy) or cupy


def test_the_namespace_is_the_module_of_all_arrays(install):
    assert namespace(None, np.ones(2), None, np.ones(())) is np
    cupy = install(fake_cupy())
    assert namespace(FakeArray(), None) is cupy
    with pytest.raises(ArgumentError, match="arrays of numpy and cupy were mixed in one call"):
        namespace(np.ones(2), None, FakeArray())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), "no array was given; expected a NumPy or CuPy array"),
        ((None, None), "no array was given"),
        ((np.ones(2), [1.0]), "got builtins.list; expected a plain NumPy or CuPy array"),
        ((1.0,), "got builtins.float"),
        ((np.float64(1),), "got numpy.float64"),
        ((np.ma.masked_array([1.0]),), "got numpy.ma.MaskedArray"),
        ((FakeArray(),), "got .*FakeArray"),
    ],
)
def test_what_is_no_plain_array_has_no_namespace(arrays, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        namespace(*arrays)


def test_numpy_is_taken_as_it_is():
    backend = resolve("numpy")
    assert (backend.name, backend.xp, backend.workers) == ("numpy", np, cores())
    assert backend.facts()["numpy"] == np.__version__
    assert backend.facts()["device"] == backend.device
    x = np.ones(3, np.float32)
    assert backend.asarray(x) is x
    assert backend.to_host(x) is x
    assert backend.asarray(x, "float64").dtype == np.float64


def test_only_cores_that_this_process_may_use_are_counted(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6}, raising=False)
    assert cores() == resolve("numpy").workers == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("name", ["x", "", "CuPy", "cuda"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(BackendError, match=f"backend is '{name}'; expected one of auto, numpy, nu"):
        resolve(name)


@pytest.mark.parametrize(
    ("cupy", "why", "short"),
    [
        (None, "needs CuPy, which is not installed", "CuPy is not installed"),
        (fake_cupy(available=False), "needs a CUDA device and CuPy found none.*nvidia-smi", ""),
        (fake_cupy(error=RuntimeError("too old\nsecond line")), r"does not work \(too old\)", ""),
        (fake_cupy(error=OSError()), r"does not work \(OSError\)", ""),
    ],
    ids=["not installed", "no device", "broken", "broken in silence"],
)
def test_a_gpu_that_cannot_run_is_said_in_one_sentence_and_auto_takes_the_cpu(
    install, caplog, cupy, why, short
):
    install(cupy)
    with pytest.raises(BackendError, match=rf"^backend=cupy .*{why}") as error:
        resolve("cupy")
    sentence = str(error.value)
    assert "'.[cuda12]'" in sentence
    assert "'.[cuda13]'" in sentence
    assert "\n" not in sentence
    with caplog.at_level(logging.INFO, logger="gpubn"):
        backend = resolve("auto")
    assert backend == resolve("numba")
    assert caplog.messages == [f"backend=auto: numba on {backend.device} ({short or sentence})"]


def test_gpus_that_work_are_dealt_in_turn_and_each_is_a_device_of_its_own(install, caplog):
    cupy = install(fake_cupy())
    with caplog.at_level(logging.INFO, logger="gpubn"):
        backend = resolve("auto")
    assert (backend.name, backend.device, backend.workers) == ("cupy", "Fake GPU", 1)
    assert caplog.messages == ["backend=auto: cupy on Fake GPU"]
    assert gpu_count() == 2
    devices = []
    for slot in range(4):
        assert resolve("cupy", slot=slot) == backend
        devices.append(device_of(cupy))
    assert cupy.used == [0, 0, 1, 0, 1]
    assert [device.arch for device in devices] == [90, 91, 90, 91]
    assert devices[0] is devices[2]
    assert len(caplog.messages) == 1


def test_without_cupy_there_is_no_gpu(install):
    install(None)
    assert gpu_count() == 0
    assert device_of(np) is None


@pytest.fixture
def numba(monkeypatch):
    """numba(version) pretends one; None makes its import fail, "without SciPy" that of SciPy."""

    def pretend(version):
        if version == "without SciPy":
            monkeypatch.setitem(sys.modules, "scipy", None)
        else:
            module = None if version is None else SimpleNamespace(__version__=version)
            monkeypatch.setitem(sys.modules, "numba", module)
        why_not_compiled.cache_clear()

    yield pretend
    why_not_compiled.cache_clear()


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (None, "import of numba halted; None in sys.modules"),
        ("without SciPy", "import of scipy halted; None in sys.modules"),
        ("0.61.2", "Numba is 0.61.2, expected 0.62 or newer"),
    ],
)
def test_without_a_numba_that_works_array_expressions_run_and_that_is_said_once(
    install, caplog, numba, version, why
):
    install(None)
    numba(version)
    with host_kernels(compiled=True), caplog.at_level(logging.INFO, logger="gpubn"):
        assert device_of(np) is None
        backend = resolve("auto")
        assert backend == resolve("numpy")
        assert type(batch_norm(np.eye(2))[1]) is BatchNormCache
    assert caplog.messages == [
        f"array expressions run, slower than compiled kernels: {why}",
        f"backend=auto: numpy on {backend.device} (CuPy is not installed)",
    ]
    with pytest.raises(BackendError, match=rf"^backend=numba cannot run \({why}\); .*'.\[numba\]'"):
        resolve("numba")


@pytest.mark.parametrize("version", ["0.62.0rc1", "1.0.0"])
def test_kernels_of_numpy_arrays_are_those_of_the_backend_in_its_threads_too(numba, version):
    numba(version)
    for name, kind in (("numpy", type(None)), ("numba", CpuDevice)):
        with host_kernels(compiled=name != "numba"):
            backend = resolve(name)
            assert type(device_of(np)) is not kind
            with backend.kernels():
                assert type(device_of(np)) is kind
            groups = backend.map_groups(lambda *_: type(device_of(np)), range(3), group=1)
            assert groups == [kind] * 3
            assert type(device_of(np)) is not kind
    assert resolve("numpy").facts()["kernels"] == "array expressions"
    assert resolve("numba").facts()["kernels"] == "compiled"


def test_imports_stay_light():
    heavy = {"cupy", "numba", "hydra", "pandas", "matplotlib", "torch", "scipy"}
    code = f"import sys, {', '.join(LIGHT)}; print(sorted({heavy} & {{*sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
