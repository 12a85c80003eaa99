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
from gpubn.backend import cores, gpu_count, namespace, resolve
from gpubn.errors import ArgumentError, BackendError

ROOT = Path(gpubn.__file__).parents[1]


class FakeArray:
    """Stands for cupy.ndarray."""


def fake_cupy(*, available=True, error=None):
    """A CuPy without a GPU, or with one that fails at its first use."""

    def arange(n):
        if error is not None:
            raise error
        return np.arange(n)

    cupy = ModuleType("cupy")
    cupy.ndarray = FakeArray
    cupy.arange = arange
    cupy.cuda = SimpleNamespace(
        is_available=lambda: available,
        Device=lambda i=0: SimpleNamespace(id=i, use=lambda: used.append(i)),
        runtime=SimpleNamespace(
            getDeviceProperties=lambda i: {"name": b"Fake GPU"}, getDeviceCount=lambda: 2
        ),
    )
    cupy.used = used = []
    return cupy


@pytest.fixture
def install(monkeypatch):
    """Put a fake CuPy in place, or with None make its import fail."""
    return lambda cupy: monkeypatch.setitem(sys.modules, "cupy", cupy)


def test_namespace_is_the_module_of_all_arrays(install):
    assert namespace(np.ones(2)) is np
    assert namespace(None, np.ones(2), None, np.ones(())) is np
    cupy = fake_cupy()
    install(cupy)
    assert namespace(FakeArray(), None) is cupy


@pytest.mark.parametrize("arrays", [(), (None,), (None, None)])
def test_namespace_needs_an_array(arrays):
    with pytest.raises(ArgumentError, match="no array was given; expected a NumPy or CuPy array"):
        namespace(*arrays)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([1.0], r"builtins\.list"),
        (1.0, r"builtins\.float"),
        (np.float64(1), r"numpy\.float64"),
        (np.ma.masked_array([1.0]), r"numpy\.ma\.MaskedArray"),
        (FakeArray(), r"FakeArray"),
    ],
    ids=["list", "float", "scalar", "masked", "other"],
)
def test_namespace_refuses_what_is_no_plain_array(value, name):
    with pytest.raises(ArgumentError, match=f"got .*{name}; expected a plain NumPy or CuPy array"):
        namespace(np.ones(2), value)


def test_namespace_refuses_a_mixture(install):
    install(fake_cupy())
    with pytest.raises(ArgumentError, match="arrays of numpy and cupy were mixed in one call"):
        namespace(np.ones(2), None, FakeArray())


def test_resolve_numpy():
    backend = resolve("numpy")
    assert (backend.name, backend.xp, backend.workers) == ("numpy", np, cores())
    assert backend.facts()["numpy"] == np.__version__
    assert backend.facts()["device"] == backend.device
    x = np.ones(3, np.float32)
    assert backend.asarray(x) is x
    assert backend.to_host(x) is x
    assert backend.asarray(x, "float64").dtype == np.float64


@pytest.mark.parametrize("name", ["x", "", "CuPy", "cuda"])
def test_resolve_refuses_an_unknown_name(name):
    with pytest.raises(BackendError, match=f"backend is '{name}'; expected one of auto, numpy, cu"):
        resolve(name)


CANNOT = {
    "not installed": (None, "needs CuPy, which is not installed"),
    "no device": (
        fake_cupy(available=False),
        "needs a CUDA device and CuPy found none.*nvidia-smi",
    ),
    "broken": (
        fake_cupy(error=RuntimeError("driver is too old\nsecond line")),
        r"does not work \(driver is too old\)",
    ),
    "broken in silence": (fake_cupy(error=OSError()), r"does not work \(OSError\)"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_cupy_that_cannot_run_is_one_sentence_that_names_the_extras(install, case):
    cupy, why = CANNOT[case]
    install(cupy)
    with pytest.raises(BackendError, match=f"^backend=cupy .*{why}") as error:
        resolve("cupy")
    assert "'.[cuda12]'" in str(error.value)
    assert "'.[cuda13]'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", CANNOT)
def test_auto_falls_back_to_numpy_and_says_so(install, caplog, case):
    cupy, why = CANNOT[case]
    install(cupy)
    with caplog.at_level(logging.INFO, logger="gpubn"):
        backend = resolve("auto")
    assert backend == resolve("numpy")
    assert caplog.messages[0].startswith(f"backend=auto: numpy on {backend.device} (")
    assert caplog.text.count("backend=auto") == 1
    expected = "CuPy is not installed" if cupy is None else why.split(".*")[0].replace("\\", "")
    assert expected in caplog.text


def test_auto_takes_a_gpu_that_works_and_says_so(install, caplog):
    install(fake_cupy())
    with caplog.at_level(logging.INFO, logger="gpubn"):
        backend = resolve("auto")
    assert (backend.name, backend.device, backend.workers) == ("cupy", "Fake GPU", 1)
    assert caplog.messages == ["backend=auto: cupy on Fake GPU"]
    caplog.clear()
    assert resolve("cupy") == backend
    assert caplog.messages == []


def test_to_and_from_the_device(backend, xp):
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = backend.asarray(host)
    assert namespace(x) is xp
    back = backend.to_host(x + 1)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, host + 1, strict=True)
    assert backend.facts()["backend"] == backend.name


def run_python(*args, **environment):
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "module", ["gpubn", "gpubn.kernels", "gpubn.backend", "tests.cuda.checkers", "gpubn.interop"]
)
def test_import_stays_light(module):
    code = (
        "heavy = {'cupy', 'hydra', 'pandas', 'matplotlib', 'torch', 'scipy'}; "
        f"import sys, {module}; "
        "print(sorted(heavy & set(sys.modules)), 'numpy' in sys.modules)"
    )
    result = run_python("-c", code)
    assert (result.stdout.strip(), result.returncode) == ("[] True", 0), result.stderr


def test_a_required_gpu_that_is_missing_fails_the_run_and_else_is_announced():
    pytest_args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/test_dropout.py"]
    without = run_python(
        *pytest_args, "-k", "full_mask", CUDA_VISIBLE_DEVICES="", GPUBN_REQUIRE_GPU="0"
    )
    assert without.returncode == 0, without.stdout
    assert "WARNING: 1 gpu tests DID NOT RUN: backend=cupy needs" in without.stdout
    required = run_python(*pytest_args, CUDA_VISIBLE_DEVICES="", GPUBN_REQUIRE_GPU="1")
    assert required.returncode == 1, required.stdout
    said = required.stdout + required.stderr
    assert "GPUBN_REQUIRE_GPU=1, but gpu tests cannot run: backend=cupy needs" in said


def test_gpus_are_dealt_in_turn(install):
    cupy = fake_cupy()
    install(cupy)
    assert gpu_count() == 2
    for slot in range(4):
        resolve("cupy", slot=slot)
    assert cupy.used == [0, 1, 0, 1]


def test_without_cupy_there_is_no_gpu(install):
    install(None)
    assert gpu_count() == 0
