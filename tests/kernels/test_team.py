"""Operations that threads share: the same bits, whoever takes part and whatever becomes of it."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gpubn.backend import CpuDevice, host_kernels
from gpubn.backend import cpu_device as module
from gpubn.kernels import (
    RunningStatistics,
    activation,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    dropout,
    softmax_cross_entropy,
)
from gpubn.kernels.cpu import launch, team
from gpubn.kernels.cpu.compiled import run
from gpubn.kernels.cpu.compiled import team as states
from gpubn.kernels.cpu.compiled.lowlevel import products
from gpubn.kernels.cpu.compiled.rows import memory_of
from gpubn.kernels.cpu.layout import ACTIVATION, COLUMNS, RELU

SHAPES = (33, 50), (300, 40), (3, 200, 31)
LABELS = {shape: np.arange(shape[-2]) % 7 for shape in SHAPES}
EPS = dict(zip(SHAPES, (0.1, 0.0, np.array([0.1, 0.2, 0.3])), strict=True))
RATES = dict(zip(SHAPES, (0.5, 0.1, np.array([0.1, 0.5, 0.9])), strict=True))


@pytest.fixture
def on_cores(monkeypatch):
    """on_cores(n): however small, operations are shared by so many threads in small parts."""
    monkeypatch.setattr(module, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(module, "PART", 700)

    def use(cores):
        device = CpuDevice(cores)
        monkeypatch.setattr("gpubn.backend.current.cpu_device", lambda: device)

    return use


def results(x, dy, average="var"):
    """All that shared operations make of x and dy."""
    shape, d = x.shape, x.shape[-1]
    mean, spread = np.ones((2, *shape[:-2], d), x.dtype)
    eps, momentum = EPS[shape], 0.3
    if x.ndim == 3:
        eps, momentum = eps.astype(x.dtype), np.array([0.1, 0.5, 0.9], x.dtype)
    running = RunningStatistics(mean, spread, momentum, average)
    gamma, beta = x[..., 1, :].copy(), x[..., 2, :].copy()
    with host_kernels(compiled=True):
        y, cache = batch_norm(x, gamma, beta, activation="tanh", eps=eps, running=running)
        plain, of_plain = batch_norm(x, correction=1, eps=eps)
        arrays = [y, plain, mean, spread, cache.mean, cache.var]
        arrays += [*batch_norm_backward(dy, cache), *batch_norm_backward(dy, of_plain)]
        arrays += softmax_cross_entropy(x, LABELS[shape])[1]
        arrays += [activation(name)[0](x)[0] for name in ("relu", "sigmoid")]
        arrays.append(dropout(x, dy > 0, RATES[shape])[0])
        arrays.append(batch_norm_inference(x, x[..., 0, :], y[..., 1, :] ** 2, gamma, eps=eps))
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("average", ["var", "std"])
def test_kernels_give_the_same_bits_on_any_number_of_threads(on_cores, rng, dtype, shape, average):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in "xy")
    x[..., 3] = 5  # without eps and spread
    found = []
    for cores in (1, 2, 7):
        on_cores(cores)
        found.append(results(x, dy, average))
    assert found[0] == found[1] == found[2]


def test_a_helper_takes_all_parts_where_who_leads_takes_none():
    """And ends when the team does."""
    job, memory = new_memory()
    x, y = np.linspace(-1, 1, 100, dtype="float32"), np.zeros(100, "float32")
    whole, real = np.zeros((1, COLUMNS), np.int64), np.zeros((1, 2), "float32")
    whole[0, 0], whole[0, 4], whole[0, 9:15] = ACTIVATION, RELU, (*place(x), *place(y))
    parts = np.array([[100, 16]])
    each, threads = memory_of(whole), 2
    own = np.empty(each * threads)
    arrays = (array.ctypes.data for array in (whole, real, parts))
    job[:9] = *arrays, 1, 1, x.itemsize, own.ctypes.data, each, threads
    memory[0] = states.OPEN
    loop, taken = run.compiled_loop(), []

    def serve():
        arguments = whole, real, team.NO_PARTS, 0, 0, 1 << 60
        taken.append(loop(products(4), run.SERVE, memory.ctypes.data, *arguments))

    helper = threading.Thread(target=serve)
    helper.start()
    until(lambda: memory[states.DONE // 8] == 7)
    memory[0] = states.ENDED
    helper.join()
    assert taken == [7]
    assert memory[states.INSIDE // 8] == 0
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def until(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0)


def new_memory():
    """(where the job stands, all) of a team that nobody uses."""
    raw = np.zeros(states.SIZE // 8 + 8, np.int64)
    memory = raw[-raw.ctypes.data % 64 // 8 :]
    return memory[states.JOB // 8 :], memory


def place(array):
    return array.ctypes.data, 0, array.itemsize


def test_who_waited_in_vain_sleeps_and_is_woken(on_cores, monkeypatch, rng):
    """Also for another dtype than before; one helper is enough for two cores."""
    ours, woken = team.Team(), []
    monkeypatch.setattr(launch, "team", lambda: ours)
    release = ours._wake.release
    monkeypatch.setattr(ours._wake, "release", lambda n=1: (woken.append(n), release(n)))
    for dtype in ("float32", "float64", "float32"):
        x, dy = (rng.standard_normal((300, 40)).astype(dtype) for _ in "xy")
        on_cores(1)
        right = results(x, dy)
        on_cores(2)
        assert results(x, dy) == right
        until(lambda: ours._asleep)
    assert [helper.is_alive() for helper in ours._helpers] == [True]
    assert len(woken) >= 2
    ours._end()
    assert [helper.is_alive() for helper in ours._helpers] == [False]


def test_helpers_that_are_awake_go_from_one_dtype_to_another(on_cores, rng):
    x, dy = (rng.standard_normal((300, 40)) for _ in "xy")
    given = [[array.astype(dtype) for array in (x, dy)] for dtype in ("float32", "float64")]
    on_cores(1)
    right = [results(*arrays) for arrays in given]
    on_cores(2)
    for _ in range(20):
        assert [results(*arrays) for arrays in given] == right


def test_two_who_launch_at_once_do_not_meet(on_cores, rng):
    x, dy = (rng.standard_normal((300, 40)).astype("float32") for _ in "xy")
    on_cores(1)
    right = results(x, dy)
    on_cores(3)
    found = []
    callers = [
        threading.Thread(target=lambda: found.extend(results(x, dy) == right for _ in range(20)))
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [True] * 40


def test_where_threads_are_refused_who_leads_does_it_all(on_cores, monkeypatch, rng):
    x, dy = (rng.standard_normal((300, 40)).astype("float32") for _ in "xy")
    on_cores(1)
    right = results(x, dy)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    alone = team.Team()
    monkeypatch.setattr(launch, "team", lambda: alone)
    on_cores(3)
    assert results(x, dy) == right
    assert alone._helpers == []


FORK = """
import os, warnings
import numpy as np
from gpubn.backend import CpuDevice, current
from gpubn import batch_norm
from gpubn.kernels.cpu.team import team
warnings.simplefilter("ignore")  # Python warns of a fork beside threads, which is what is tested
current.cpu_device = lambda device=CpuDevice(2): device
x = np.random.default_rng(0).standard_normal((5000, 64))
right = batch_norm(x)[0]
child = os.fork()
same = (batch_norm(x)[0] == right).all() and team()._helpers[0].is_alive()
if child == 0:
    os._exit(int(not same))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or int(not same))
"""


def test_a_process_that_forks_goes_on_as_both_and_ends():
    ended = subprocess.run(
        [sys.executable, "-c", FORK], timeout=120, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
