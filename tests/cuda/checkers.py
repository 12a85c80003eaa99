"""Checkers for anyone who adds a kernel: sameness of two arrays, and gradients by difference."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from gpubn.backend import Array, namespace


def assert_same(actual: Array, expected: Array, *, rtol: float, atol: float = 0.0) -> None:
    """Assert equal namespace, dtype, shape and device, and values that differ by no more than this.

    That is |actual - expected| <= atol + rtol |expected| for each value. NaN must stand exactly
    where `expected` has NaN, inf likewise with its sign; nothing else passes. A NumPy scalar counts
    as an array of shape ().
    """
    facts = [(_module(a).__name__, str(a.dtype), tuple(a.shape)) for a in (actual, expected)]
    assert facts[0] == facts[1], f"got (namespace, dtype, shape) {facts[0]}; expected {facts[1]}"
    if facts[0][0] == "cupy":
        assert actual.device == expected.device, f"on {actual.device}; expected {expected.device}"
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(_host(actual), _host(expected), rtol=rtol, atol=atol)


def check_gradient(
    f: Callable[..., Array],
    vjp: Callable[[Array], Sequence[Array]],
    inputs: Sequence[Array],
    *,
    rng: np.random.Generator,
    eps: float = 3e-4,
    rtol: float = 1e-7,
) -> None:
    """Check a hand-written gradient along one random direction for each input.

    For each input, compares <v, J'u>, from `vjp`, with <u, Jv>, a central difference of `f`, for
    random u and v. Wants float64 inputs with values around 1, away from kinks by a few eps.

    Args:
        f: `f(*inputs)` returns y.
        vjp: `vjp(dy)` returns the gradient of each input, in order.
        eps: step of the difference.
        rtol: allowed error, relative to the norm of the gradient.

    Raises:
        AssertionError: a gradient has the wrong namespace, dtype, shape or value.
    """
    xp = namespace(*inputs)
    u = _draw(rng, f(*inputs), xp)
    gradients = vjp(u)
    assert len(gradients) == len(inputs), f"{len(gradients)} gradients for {len(inputs)} inputs"
    for i, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        assert x.dtype == np.float64, f"input {i} has dtype {x.dtype}; the check needs float64"
        assert_same(xp.zeros_like(gradient), xp.zeros_like(x), rtol=0)  # all but the values
        assert xp.isfinite(gradient).all(), f"gradient of input {i} holds NaN or inf: {gradient}"
        v = _draw(rng, x, xp)

        def moved(step: float, i: int = i, x: Array = x, v: Array = v) -> Array:
            return f(*inputs[:i], x + step * v, *inputs[i + 1 :])

        # Fourth order: with values around 1 it errs by eps^4 ~ 1e-14 from truncation and
        # 1e-16/eps ~ 1e-12 from rounding. Second order, at its best step of 1e-5, errs by 1e-10
        # from either, too near to 1e-7 once a third derivative is large.
        difference = 8 * (moved(eps) - moved(-eps)) - (moved(2 * eps) - moved(-2 * eps))
        numeric = float(xp.sum(u * difference)) / (12 * eps)
        analytic = float(xp.sum(v * gradient))
        # <v, J'u> itself may come out near 0 by chance; |J'u| is its size for a random v.
        scale = float(xp.sqrt(xp.sum(gradient * gradient)))
        # "not <=", because a NaN must fail.
        if not abs(numeric - analytic) <= rtol * scale:
            raise AssertionError(
                f"gradient of input {i}: the analytic derivative is {analytic!r}, the numeric "
                f"{numeric!r}; they differ by {abs(numeric - analytic):.3g}, expected at most "
                f"{rtol:.3g} x {scale:.3g}"
            )


def _module(array: Array) -> ModuleType:
    return np if isinstance(array, np.generic) else namespace(array)


def _host(array: Array) -> np.ndarray:
    host = np.asarray(array) if _module(array) is np else array.get()
    return host.astype(np.float64) if host.dtype.kind == "f" else host.astype(np.int64)


def _draw(rng: np.random.Generator, like: Array, xp: ModuleType) -> Any:
    return xp.asarray(rng.standard_normal(like.shape))
