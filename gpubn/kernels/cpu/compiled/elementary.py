"""exp, tanh and the sigmoid in plain arithmetic, which vectorises; errors below 3 ulp.

e^x = 2^n e^r with n the whole number next to x / ln 2, read off the bits of a sum with 1.5 2^m, and
e^r - 1 by its Taylor series: |r| < 0.35, so 7 terms reach float32 and 12 float64.
"""

import math
from fractions import Fraction

import numpy as np
from numba import types
from numba.extending import overload

from gpubn.kernels.cpu.compiled.lowlevel import bits, copysign, from_bits, jit

_LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009")


def _make(dtype, mantissa, terms, exact_bits, bias, least, flat):
    """exp of a negative number, tanh and the sigmoid of a dtype.

    Args:
        exact_bits: of ln 2, so that their product with n is exact.
        least: where e^x is less than half the least number.
        flat: where tanh is 1 to the last digit.
    """
    kind = np.dtype(dtype).type
    whole = np.dtype(f"i{np.dtype(dtype).itemsize}").type
    rounded = Fraction(math.floor(_LN2 * 2**exact_bits), 2**exact_bits)
    high, low = kind(float(rounded)), kind(float(_LN2 - rounded))
    series = tuple(kind(1 / math.factorial(k + 2)) for k in range(terms))
    last = terms - 1
    magic, per_ln2 = kind(1.5 * 2.0**mantissa), kind(1 / math.log(2))
    magic_bits, shift, one_bits = (
        whole(v) for v in (magic.view(whole), mantissa, bias << mantissa)
    )
    zero, one, two, least, flat = map(kind, (0, 1, 2, least, flat))

    @jit(forceinline=True)
    def power_of_two(n):
        """2^n of a whole number, while that is a normal number."""
        return from_bits(whole(whole(n << shift) + one_bits))

    @jit(forceinline=True)
    def parts(x):
        """n and e^r - 1."""
        t = x * per_ln2 + magic
        n = t - magic
        r = (x - n * high) - n * low
        p = series[last]
        for k in range(last - 1, -1, -1):
            p = p * r + series[k]
        return whole(bits(t) - magic_bits), r + r * r * p

    @jit(forceinline=True)
    def exp_of_negative(x):
        """e^x of x <= 0, in two factors, since 2^n need not be a normal number; NaN stays."""
        n, q = parts(least if x < least else x)
        half = whole(n >> whole(1))
        s = power_of_two(half)
        return (s + s * q) * power_of_two(whole(n - half))

    @jit(forceinline=True)
    def tanh(x):
        a = abs(x)
        n, q = parts(two * (flat if a > flat else a))
        s = power_of_two(n)
        e = s * q + (s - one)
        # Near 1 the distance from it keeps its digits: where tanh is 1 exactly, units are dead.
        near = a > one
        ratio = (two if near else e) / (e + two)
        return copysign(one - ratio if near else ratio, x)

    @jit(forceinline=True)
    def sigmoid(x):
        e = exp_of_negative(-abs(x))
        return (e if x < zero else one) / (one + e)

    return exp_of_negative, tanh, sigmoid


_OF = {
    types.float32: _make("float32", 23, 7, 15, 127, -104.0, 9.1),
    types.float64: _make("float64", 52, 12, 41, 1023, -746.0, 19.1),
}


def exp_of_negative(x):
    """e^x of x <= 0."""
    raise NotImplementedError


def tanh(x):
    """The hyperbolic tangent."""
    raise NotImplementedError


def sigmoid(x):
    """1/(1 + e^-x)."""
    raise NotImplementedError


def _overload(function, number):
    @overload(function, jit_options={"forceinline": True})
    def choose(x):
        compiled = _OF[x][number]
        return lambda x: compiled(x)


for _number, _function in enumerate((exp_of_negative, tanh, sigmoid)):
    _overload(_function, _number)
