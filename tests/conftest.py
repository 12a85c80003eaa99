"""Backends, oracle and random numbers for the whole suite. Without a GPU, gpu tests skip loudly.

GPUBN_REQUIRE_GPU=1 turns the missing GPU into a failing run.
"""

import functools
import os
import shutil
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings

from gpubn.backend import Backend, host_kernels, resolve
from gpubn.errors import BackendError
from tests.cuda.shim import ShimDevice
from tests.cuda.standin import DeviceArray, stand_in

settings.register_profile(
    "gpubn", derandomize=True, deadline=None, print_blob=True, max_examples=30, database=None
)
settings.load_profile("gpubn")

# The suite may itself run under make, whose options and variables reach a make that a test starts,
# or where a user's own trackers are set, who must not see what it reports.
LEAKS = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "FIGURE", "RESULTS", "FULL", "ARGS", "DATA", "GPU"]
LEAKS += ["MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "TENSORBOARD_LOGDIR"]
for leaked in [*LEAKS, "PYTHON", "WORKERS", "GPUBN_EXTEND"]:
    os.environ.pop(leaked, None)


@functools.cache
def gpu_problem():
    """Why gpu tests cannot run here, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns at import about what is missing
            resolve("cupy")
    except BackendError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items):
    required = os.environ.get("GPUBN_REQUIRE_GPU") == "1"
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not (required or gpu_items) or gpu_problem() is None:
        return
    if required:
        pytest.exit(f"GPUBN_REQUIRE_GPU=1, but gpu tests cannot run: {gpu_problem()}", returncode=1)
    for item in gpu_items:
        item.add_marker(pytest.mark.skip(reason=f"gpu: {gpu_problem()}"))


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("skipped", [])
    # A module that skips itself while it is collected reports without keywords.
    skipped = [r for r in reports if "gpu" in getattr(r, "keywords", ())]
    if skipped:
        terminalreporter.write_line(
            f"WARNING: {len(skipped)} gpu tests DID NOT RUN: {gpu_problem()}",
            yellow=True,
            bold=True,
        )


@pytest.fixture(scope="session")
def shim_folder(tmp_path_factory):
    """Where the CUDA sources are compiled for the CPU, once for the whole run."""
    if shutil.which("g++") is None:
        pytest.skip("the CUDA sources run on the CPU only where g++ is installed")
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shim"


@pytest.fixture(
    scope="session", params=["numpy", "numba", "shim", pytest.param("cupy", marks=pytest.mark.gpu)]
)
def backend(request):
    """Array expressions; compiled kernels; the CUDA kernels on the CPU, and on a GPU."""
    if request.param != "shim":
        return resolve(request.param)
    extra = "all any array_equal flip full_like isclose square var shares_memory"
    xp = stand_in(tuple(extra.split()))
    xp.device = ShimDevice(xp, request.getfixturevalue("shim_folder"))
    return Backend("cupy", xp, "shim", 1)


@pytest.fixture(autouse=True)
def kernels_in_place(request, monkeypatch):
    """While a test runs on a backend, kernels are its own; without one, array expressions.

    The shim is what CuPy's place in the system holds.
    """
    name = "numpy"
    if "backend" in request.fixturenames:
        backend = request.getfixturevalue("backend")
        name = backend.name
        if backend.device == "shim":
            use_shim(monkeypatch, backend.xp.device)
            monkeypatch.setattr(DeviceArray, "readable", True)  # as CuPy's are
    with host_kernels(compiled=name == "numba"):
        yield


@pytest.fixture(name="use_shim")
def use_shim_fixture():
    """use_shim(monkeypatch, device): see there."""
    return use_shim


def use_shim(monkeypatch, device):
    """Let arrays of the stand-in run on this device."""
    device.xp.RawModule = None
    device.xp.cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0))
    monkeypatch.setitem(sys.modules, "cupy", device.xp)
    monkeypatch.setattr("gpubn.backend.current._cupy_device", lambda xp, number: device)


@pytest.fixture(scope="session")
def xp(backend):
    return backend.xp


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def same_bits(backend):
    """Assert that two arrays hold the same bits.

    On a GPU the library may choose another algorithm for another shape, so there only the digits
    are compared that any order of summation keeps in float32, of numbers of size 1 or larger.
    """

    def assert_same_bits(actual, expected):
        a, e = (
            np.asarray(v) if isinstance(v, np.generic) else backend.to_host(v)
            for v in (actual, expected)
        )
        assert (a.dtype, a.shape) == (e.dtype, e.shape)
        if backend.on_host or backend.device == "shim" or a.dtype.kind != "f":
            assert a.tobytes() == e.tobytes()
        else:
            atol = tolerance(np.float32, 4096) * np.nanmax(np.abs(e), initial=1)
            np.testing.assert_allclose(a, e, rtol=0, atol=atol)

    return assert_same_bits


def tolerance(dtype, n):
    """Error of a sum of n terms, relative to the sum of their sizes, and of a few steps more.

    The worst case n eps is never met; rounding errors behave like a random walk, sqrt(n) eps
    (Higham and Mary 2019), with 8 as the confidence and 16 for the steps around the sum.
    """
    return float((8 * np.sqrt(n) + 16) * np.finfo(dtype).eps)


def batch_norm_oracle(x, gamma=None, beta=None, dy=None, *, eps=1e-5, correction=0):
    """The textbook, node by node as in Ioffe and Szegedy 2015, section 3, in extended precision.

    Takes host arrays of any float dtype; returns float64, gradients one a replica.
    """
    n = x.shape[-2]
    x = x.astype(np.longdouble)
    gamma = np.asarray(1 if gamma is None else gamma[..., None, :], np.longdouble)
    beta = np.asarray(0 if beta is None else beta[..., None, :], np.longdouble)
    with np.errstate(all="ignore"):
        centred = x - x.mean(axis=-2, keepdims=True)
        residue = centred.mean(axis=-2, keepdims=True)  # what rounding left in the mean
        mean = x.mean(axis=-2, keepdims=True) + residue
        centred = np.where((x == x[..., :1, :]).all(axis=-2, keepdims=True), 0, centred - residue)
        var = (centred**2).sum(axis=-2, keepdims=True) / (n - correction)
        inv = np.where(var + eps == 0, 0, 1 / np.sqrt(var + eps))
        x_hat = centred * inv
        found = {"y": gamma * x_hat + beta, "mean": mean[..., 0, :], "var": var[..., 0, :]}
        # Scales of the rounding errors: each result is a sum of terms of this size.
        scale = {"y": np.max(np.abs(gamma)) * np.max(np.abs(x_hat)) + np.max(np.abs(beta))}
        if dy is not None:
            dy = dy.astype(np.longdouble)
            dx_hat = dy * gamma
            dvar = (dx_hat * centred).sum(axis=-2, keepdims=True) * -0.5 * inv**3
            dmean = -(dx_hat * inv).sum(axis=-2, keepdims=True) + dvar * (-2 * centred).sum(
                axis=-2, keepdims=True
            ) / (n - correction)
            found["dx"] = dx_hat * inv + dvar * 2 * centred / (n - correction) + dmean / n
            found["dgamma"] = (dy * x_hat).sum(axis=-2)
            found["dbeta"] = dy.sum(axis=-2)
            scale["dx"] = (
                np.max(np.abs(inv * gamma)) * np.max(np.abs(dy)) * (1 + np.max(np.abs(x_hat)))
            )
            scale["dgamma"] = np.max(np.abs(dy * x_hat).sum(axis=-2))
            scale["dbeta"] = np.max(np.abs(dy).sum(axis=-2))
    return SimpleNamespace(
        **{k: v.astype(np.float64) for k, v in found.items()},
        scale={k: float(v) for k, v in scale.items()},
    )


@pytest.fixture(scope="session")
def oracle():
    """The float64 oracle of batch norm, and the tolerance that a sum of n terms needs."""
    return SimpleNamespace(batch_norm=batch_norm_oracle, tolerance=tolerance)
