"""Code compiled for the CPU: elementary functions, products in pieces, what is kept on disk."""

import logging
import platform
import re
import threading

import numpy as np
import pytest

from gpubn.backend import address_of, host_kernels
from gpubn.kernels import activation, batch_norm, batch_norm_backward, batch_norm_inference
from gpubn.kernels.cpu import launch
from gpubn.kernels.cpu.compiled import run
from gpubn.kernels.cpu.compiled.elementary import exp_of_negative, sigmoid, tanh
from gpubn.kernels.cpu.compiled.lowlevel import LINE, jit, multiply, products


@jit
def all_tanh(x, y):
    for i in range(len(x)):
        y[i] = tanh(x[i])


@jit
def all_sigmoids(x, y):
    for i in range(len(x)):
        y[i] = sigmoid(x[i])


@jit
def all_exponentials(x, y):
    for i in range(len(x)):
        y[i] = exp_of_negative(x[i])


RIGHT = {
    all_tanh: np.tanh,
    all_sigmoids: lambda x: 1 / (1 + np.exp(-x)),
    all_exponentials: np.exp,
}


def points(dtype, function):
    """Small, usual and extreme numbers, down to those whose result is the least of all."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    least = np.log(float(info.smallest_subnormal))
    x = np.concatenate(
        [
            *(rng.standard_normal(50_000) * size for size in (1e-30, 1e-3, 1, 3, 20)),
            np.linspace(least, 0, 50_000),
            float(info.smallest_subnormal) * np.arange(-9, 9),
        ]
    )
    return (-abs(x) if function is all_exponentials else x).astype(dtype)


@pytest.mark.parametrize("function", RIGHT, ids=lambda f: f.__name__)
def test_elementary_functions_err_by_less_than_4_ulp(function, dtype):
    x = points(dtype, function)
    y = np.empty_like(x)
    function(x, y)
    right = RIGHT[function](x.astype(np.longdouble))
    ulp = np.spacing(abs(right).astype(dtype)).astype(np.longdouble)
    assert (abs(y - right) / ulp).max() < 4
    special = np.array([np.nan, -np.inf, 0.0, -0.0, -1e30], dtype)
    found = np.empty_like(special)
    function(special, found)
    with np.errstate(over="ignore"):
        right = RIGHT[function](special)
    np.testing.assert_array_equal(found, right.astype(dtype))
    assert (np.signbit(found[1:]) == np.signbit(right[1:])).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86's assembly")
@pytest.mark.parametrize("function", RIGHT, ids=lambda f: f.__name__)
def test_elementary_functions_are_vectorised(function):
    """Divisions of several numbers at once, and no call of the C library."""
    x = np.ones(3, np.float32)
    function(x, x.copy())
    assembly = function.inspect_asm(function.signatures[0])
    if function is not all_exponentials:  # which divides nothing
        assert re.search(r"\bv?divps\b", assembly)
    assert re.search(r"\bv?(mulps|vfn?m(add|sub)\d+ps)\b", assembly)
    assert not re.search(r"\bcall\w*\s.*\b(exp|tanh)f?\b", assembly)


@jit
def product(blas, transpose_a, transpose_b, m, n, k, alpha, a, b, beta, out):
    one = a.dtype.type(1)
    at = a.ctypes.data, b.ctypes.data, out.ctypes.data
    if transpose_a:
        multiply(blas, True, False, m, n, k, alpha, at[0], at[1], beta, at[2], one)
    elif transpose_b:
        multiply(blas, False, True, m, n, k, alpha, at[0], at[1], beta, at[2], one)
    else:
        multiply(blas, False, False, m, n, k, alpha, at[0], at[1], beta, at[2], one)


@pytest.mark.parametrize("limit", [1, 16, 500, 3000, 1 << 62])
@pytest.mark.parametrize("transposed", ["neither", "a", "b"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 70, 5), (3, 7, 70), (100, 2, 64)], ids=str)
def test_a_product_in_pieces_is_the_product(rng, dtype, sizes, transposed, limit):
    m, n, k = sizes
    a, b, out = (rng.integers(-9, 9, s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
    right = out * 2.0 - 3 * a @ b  # of whole numbers, so without rounding
    given_a = np.ascontiguousarray(a.T) if transposed == "a" else a
    given_b = np.ascontiguousarray(b.T) if transposed == "b" else b
    kinds = np.dtype(dtype).type
    blas = (products(a.itemsize)[0], limit, limit // k)
    which = transposed == "a", transposed == "b"
    product(blas, *which, m, n, k, kinds(-3), given_a, given_b, kinds(2), out)
    np.testing.assert_array_equal(out, right)


def placed(array, start):
    """A copy that starts so many bytes into a line of the cache, with NaN around it."""
    memory = np.full(array.size + 2 * LINE, np.nan, array.dtype)
    first = (-address_of(memory) % LINE + start) // array.itemsize
    copy = memory[first : first + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def all_of(x, dy, activation):
    """Return what batch norm makes of x and dy, and how far into a line its large arrays start."""
    gamma, beta = x[..., 1, :].copy(), x[..., 2, :].copy()
    with host_kernels(compiled=True):
        y, cache = batch_norm(x, gamma, beta, activation=activation)
        dx, *gradients = batch_norm_backward(dy, cache)
        given = x, cache.mean, cache.var
        plain = batch_norm_inference(*given)
        inferred = batch_norm_inference(*given, gamma, beta, activation=activation)
    found = y, cache.mean, cache.inv_std, dx, *gradients, inferred, plain
    places = [address_of(array) % LINE for array in (y, dx, inferred, plain)]
    return [array.tobytes() for array in found], places


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("shape", [(63, 544), (2, 70, 240), (300, 111), (2049, 16)], ids=str)
def test_bits_of_batch_norm_do_not_depend_on_where_arrays_start(rng, dtype, shape, activation):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in "xy")
    right, places = all_of(placed(x, 0), placed(dy, 0), activation)
    assert places == [0] * 4
    for of_x, of_dy in ((16, 16), (x.itemsize, x.itemsize), (56, 56), (16, 0), (0, 16), (8, 48)):
        found, places = all_of(placed(x, of_x), placed(dy, of_dy), activation)
        assert found == right
        assert places == [of_x, of_x if of_x == of_dy else 0, of_x, of_x]


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_one_number_without_an_axis_is_given_back_as_such(name):
    forward, backward = activation(name)
    with host_kernels(compiled=True):
        y, cache = forward(np.array(0.5))
        assert y.shape == backward(y, cache).shape == ()


def test_what_starts_at_no_place_for_its_numbers_gives_what_does(rng, dtype):
    x = rng.standard_normal((130, 256)).astype(dtype)
    odd = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    with host_kernels(compiled=True):
        (right, _), (y, _) = batch_norm(x), batch_norm(odd)
    assert y.flags.aligned
    assert y.tobytes() == right.tobytes()


def test_what_is_kept_on_disk_is_of_this_source(monkeypatch):
    """Numba looks at what a closure holds; a change of any file changes that."""
    texts = {name: name.encode() for name in ("layout", "run", "lowlevel")}
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: texts.get(path.stem, b""))
    found = [run.compiled_loop.__wrapped__().py_func.__closure__[0].cell_contents]
    for name in texts:
        texts[name] = b"other"
        found.append(run.compiled_loop.__wrapped__().py_func.__closure__[0].cell_contents)
    assert len({*found}) == 1 + len(texts)


def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(monkeypatch, caplog):
    def refuse(**options):
        raise RuntimeError("cannot cache function 'run': no locator available")

    compiled = run.jit
    monkeypatch.setattr(run, "jit", lambda *f, **options: compiled(*f) if f else refuse())
    with caplog.at_level(logging.WARNING, logger="gpubn"):
        loop = run.compiled_loop.__wrapped__()
    assert loop.py_func.__name__ == "run"
    expected = "compiled kernels are compiled anew in each process (cannot cache function 'run'"
    assert [message.startswith(expected) for message in caplog.messages] == [True]


@pytest.mark.parametrize("how", ["fails", "has no thread"])
def test_nobody_is_told_of_a_compiler_that_fails_or_cannot_be_watched(monkeypatch, how):
    timers = []

    def refused(timer):
        timers.append(timer)
        raise RuntimeError("can't start new thread")

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(launch, "_compiles", {})
    monkeypatch.setattr(launch, "_SOON", threading.TIMEOUT_MAX)
    if how == "fails":
        monkeypatch.setattr(threading.Timer, "start", lambda timer: timers.append(timer))
        monkeypatch.setattr(run, "compiled_loop", lambda: fail)
        with pytest.raises(ZeroDivisionError):
            launch._Loop(8)
    else:
        monkeypatch.setattr(threading.Timer, "start", refused)
        monkeypatch.setattr(run, "compiled_loop", lambda: lambda *_: None)
        launch._Loop(8)
    assert [timer.finished.is_set() for timer in timers] == [True]


@pytest.mark.parametrize("slow", [True, False])
def test_who_waits_for_the_compiler_is_told_why(monkeypatch, caplog, slow):
    told, heard = threading.Event(), []

    def hear(record):
        heard.append(record.getMessage())
        told.set()

    monkeypatch.setattr(launch, "_compiles", {})
    monkeypatch.setattr(launch, "_SOON", 0.0 if slow else threading.TIMEOUT_MAX)
    monkeypatch.setattr(launch.log, "filters", [hear])
    monkeypatch.setattr(run, "compiled_loop", lambda: lambda *_: told.wait() if slow else None)
    caplog.set_level("INFO")
    launch._Loop(8)
    assert [words[:29] for words in heard] == slow * ["compiling kernels for float64"]
