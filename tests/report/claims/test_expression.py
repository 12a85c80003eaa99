"""Expressions: the grammar is all there is, and no NaN or division by zero hides."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn import theory
from gpubn.errors import LedgerError
from gpubn.report.claims.expression import LONGEST, Expression

VALUES = {
    "a": np.array([1.0, 2.0, 4.0]),
    "b": np.array([1.0, 0.0, -1.0]),
    "n": np.array([np.nan, 1.0, np.inf]),
}
NAN = np.nan
FOREIGN = [
    *("a.real", "a[0]", "[a]", "(a, b)", "{a}", "...", "True", "None", "f'{a}'"),
    *("lambda: a", "a if b else n", "[x for x in a]", "(c := a)", "(lambda: a)()", "a.sum()"),
    *("a and b", "not a", "a < b < n", "a is b", "a in b", "a // b", "a % b", "~a", "a & b"),
    *("log(x=a)", "log(*a)", "log(**a)", "log(a)(b)", "__import__('os').getcwd()"),
]
"""What Python has and the grammar has not."""


def value(source):
    expression = Expression.parse(source)
    expression.require(VALUES)
    return expression.evaluate(VALUES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("2 + 3 * a", [5, 8, 14]),
        ("-a ** 2", [-1, -4, -16]),
        ("0 ** 0", [1]),
        ("exp(0) * sqrt(a * a) + pi", [1 + math.pi, 2 + math.pi, 4 + math.pi]),
        ("(a > 1) + (a >= 2) + 3 * (a == 2) + 5 * (a != 2)", [5, 5, 7]),
        ("(a < 2) + (a <= 2) + abs(b) + floor(1.5)", [4, 2, 2]),
        ("log2(a) + log(e) - log10(10 ** a)", [0, 0, -1]),
        ("minimum(a, 2) + maximum(b, 0)", [2, 2, 2]),
        ("where(b > 0, a, -a)", [1, -2, -4]),
        *((f"0 * (n {sign} n)", [NAN, 0, 0]) for sign in ("<", "<=", ">", ">=", "==", "!=")),
        ("maximum(n, 2)", [NAN, 2, math.inf]),
        ("where(isfinite(n), n, 7)", [7, 1, 7]),
        ("where(n > 0, 1, 2)", [NAN, 1, 1]),
        ("a / b", [1, NAN, -4]),
        ("b ** -1", [1, NAN, -1]),
        ("1 / n", [NAN, 1, 0]),
        ("n ** 0 + 1 ** n", [NAN, 2, 2]),
        ("batchnorm_relu_gradient_growth(1000)", [theory.batchnorm_relu_gradient_growth(1000)]),
        ("relu_gain(2, a)", [1, 2, 4]),
    ],
)
def test_value(source, expected):
    np.testing.assert_allclose(value(source)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a / b", "divides by zero for 1 of 3 seeds"),
        ("1 / 0", "divides by zero"),
        ("log10(b)", "takes the logarithm of zero or less for 2 of 3 seeds"),
        ("sqrt(-a)", "is NaN for all seeds"),
        ("10 ** (a * 100)", "is infinite for 1 of 3 seeds"),
    ],
)
def test_what_is_not_finite_is_named(source, problem):
    assert value(source)[1] == problem


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\0", "no expression"),
        ("(" * 300, "no expression"),
        ("-" * 600 + "1", f"at most {LONGEST}"),
        (True, "expected an expression"),
        ([1], "expected an expression"),
        ("c + 1", "'c', which is not defined here; expected a, b, n"),
        ("'a'", "uses \"'a'\""),
        *((foreign, "uses ") for foreign in FOREIGN),
        ("eval(1)", "calls 'eval', which is unknown"),
        ("log(a, b)", "calls log with 2 arguments; expected 1"),
        ("relu_gain(1)", "calls relu_gain with 1 arguments"),
        ("batchnorm_relu_gradient_growth(3)", r"growth\(3\), which fails"),
        ("1e999", "finite"),
    ],
)
def test_what_is_no_expression_is_named(source, said):
    with pytest.raises(LedgerError, match=said):
        value(source)


LEAVES = st.sampled_from(["a", "b", "n", "0", "1", "2.5"])
OPERATORS = st.sampled_from(["+", "-", "*", "/", "**", "<", "=="])


def joined(part):
    return st.tuples(part, OPERATORS, part).map(lambda parts: f"({' '.join(parts)})")


@given(st.recursive(LEAVES, joined, max_leaves=12))
def test_nan_never_hides(source):
    """Where a name is NaN the whole expression is."""
    assert "n" not in source or np.isnan(value(source)[0][0])
