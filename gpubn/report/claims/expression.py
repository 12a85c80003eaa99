"""Arithmetic in the ledger: a small grammar that is checked when read and evaluated without `eval`.

Numbers, names, `+ - * / **`, a comparison (0 or 1), the functions below, pi, e, and the functions
and constants of `gpubn.theory`. NaN passes through everything but `isfinite` and the branch that
`where` leaves out, so that nothing can hide one: a comparison with NaN is NaN, and so are a
division by zero and the logarithm of zero.
"""

import ast
import inspect
import operator
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np

from gpubn import theory
from gpubn.errors import LedgerError

LONGEST = 500
"""Characters of an expression: enough for a formula, too few to exhaust the parser."""


@dataclass(frozen=True)
class _Operation:
    """A sign or function; its value is NaN where the arguments are `bad`, and `fault` says why."""

    function: Callable[..., Any]
    bad: Callable[..., Any] | None = None
    fault: str = ""

    def __call__(self, faults: list[str], *args: np.ndarray) -> np.ndarray:
        out = np.asarray(self.function(*args), dtype=np.float64)
        if self.bad is None:
            return out
        bad = self.bad(*args)
        if self.fault and np.any(bad):
            faults.append(self.fault)
        return np.where(bad, np.nan, out)

    @property
    def takes(self) -> Collection[int]:
        """The numbers of arguments that it can be called with."""
        if isinstance(self.function, np.ufunc):
            return (self.function.nin,)
        parameters = inspect.signature(self.function).parameters.values()
        return range(sum(p.default is p.empty for p in parameters), len(parameters) + 1)


def _any_nan(*args: np.ndarray) -> np.ndarray:
    return np.asarray(sum(map(np.isnan, args)), dtype=bool)


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(_any_nan(a, b), np.nan, a**b)  # 1 ** NaN would be 1


def _where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, a, b))


def _by_value(function: Callable[..., float]) -> Callable[..., np.ndarray]:
    """Let a function of plain numbers, some of them integers, take arrays."""

    def of_numbers(*given: float) -> float:
        try:
            return function(*(int(v) if v.is_integer() else v for v in given))
        except (ValueError, TypeError, ArithmeticError) as error:
            shown = f"{function.__name__}({', '.join(f'{v:g}' for v in given)})"
            raise LedgerError(f"calls {shown}, which fails ({error})") from error

    return wraps(function)(np.vectorize(of_numbers, otypes=[np.float64]))


_SIGNS: dict[type[ast.AST], _Operation] = {
    ast.USub: _Operation(operator.neg),
    ast.UAdd: _Operation(operator.pos),
    ast.Add: _Operation(operator.add),
    ast.Sub: _Operation(operator.sub),
    ast.Mult: _Operation(operator.mul),
    ast.Div: _Operation(operator.truediv, lambda a, b: b == 0, "divides by zero"),
    ast.Pow: _Operation(_power, lambda a, b: (a == 0) & (b < 0), "divides by zero"),
    ast.Lt: _Operation(operator.lt, _any_nan),
    ast.LtE: _Operation(operator.le, _any_nan),
    ast.Gt: _Operation(operator.gt, _any_nan),
    ast.GtE: _Operation(operator.ge, _any_nan),
    ast.Eq: _Operation(operator.eq, _any_nan),
    ast.NotEq: _Operation(operator.ne, _any_nan),
}
_ARITHMETIC = {
    name: _Operation(getattr(np, name))
    for name in ("exp", "sqrt", "abs", "floor", "isfinite", "minimum", "maximum")
} | {
    name: _Operation(getattr(np, name), lambda x: x <= 0, "takes the logarithm of zero or less")
    for name in ("log", "log2", "log10")
}
_ARITHMETIC["where"] = _Operation(_where)
_FUNCTIONS = _ARITHMETIC | {
    name: _Operation(_by_value(function))
    for name, function in inspect.getmembers(theory, inspect.isfunction)
    if function.__module__ == theory.__name__ and not name.startswith("_")
}
_CONSTANTS = {"pi": np.pi, "e": np.e} | {
    name: value for name, value in vars(theory).items() if name.isupper() and type(value) is float
}
RESERVED = frozenset({*_FUNCTIONS, *_CONSTANTS})
"""Names that a ledger cannot give to anything of its own."""


_Formula = Callable[[Mapping[str, np.ndarray], list[str]], np.ndarray]


@dataclass(frozen=True)
class Expression:
    """A formula of the grammar, and the `names` that stand in it for values of the ledger."""

    source: str
    names: frozenset[str]
    _formula: _Formula = field(repr=False, compare=False)

    @classmethod
    def parse(cls, source: object) -> "Expression":
        """Read `Expression.parse("log(a / b)")`; a LedgerError says what is not of the grammar."""
        if isinstance(source, bool) or not isinstance(source, str | int | float):
            raise LedgerError(f"is {source!r}; expected an expression")
        text = str(source)
        if len(text) > LONGEST:
            raise LedgerError(f"has {len(text)} characters; expected at most {LONGEST}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise LedgerError(
                f"is {text!r}, which is no expression; expected arithmetic"
            ) from error
        names: set[str] = set()
        formula = _compiled(tree, names)
        return cls(text, frozenset(names), formula)

    def require(self, known: Collection[str]) -> None:
        """Raise a LedgerError unless all its names are among the `known`."""
        if unknown := sorted(self.names.difference(known)):
            allowed = ", ".join(known) or "numbers alone"
            raise LedgerError(
                f"names {unknown[0]!r}, which is not defined here; expected {allowed}"
            )

    def evaluate(self, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str | None]:
        """Return its values, and what keeps them from being used, None where all are finite.

        Names stand for arrays that broadcast. Where a function of `gpubn.theory` refuses its
        arguments a LedgerError says so.
        """
        faults: list[str] = []
        with np.errstate(all="ignore"):
            out = np.atleast_1d(np.asarray(self._formula(values, faults), dtype=np.float64))
        bad = ~np.isfinite(out)
        if not bad.any():
            return out, None
        fault = [*faults, "is NaN" if np.isnan(out).any() else "is infinite"][0]
        seeds = f" for {'all' if bad.all() else f'{bad.sum()} of {bad.size}'} seeds"
        return out, fault + seeds if bad.size > 1 else fault

    def number(self, values: Mapping[str, float]) -> float:
        """Return its one finite value, where names stand for numbers; else raise a LedgerError."""
        self.require(values)
        (value,), problem = self.evaluate({n: np.asarray(v, float) for n, v in values.items()})
        if problem:
            raise LedgerError(problem)
        return float(value)


def _compiled(node: ast.expr, names: set[str]) -> _Formula:
    """Return what computes a node, and add the names that stand in it to `names`."""
    operation: _Operation | None = None
    parts: list[ast.expr] = []
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:
                raise LedgerError(f"uses {ast.unparse(node)[:20]}; expected finite numbers")
            return lambda values, faults: np.asarray(value, np.float64)
        case ast.Name(id=name) if name in _CONSTANTS:
            return lambda values, faults: np.asarray(_CONSTANTS[name])
        case ast.Name(id=name):
            names.add(name)
            return lambda values, faults: values[name]
        case ast.UnaryOp(op=op, operand=operand):
            operation, parts = _SIGNS.get(type(op)), [operand]
        case (
            ast.BinOp(left=left, op=op, right=right)
            | ast.Compare(left=left, ops=[op], comparators=[right])
        ):
            operation, parts = _SIGNS.get(type(op)), [left, right]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            operation = _called(name, len(parts))
    if operation is None:
        raise LedgerError(
            f"uses {ast.unparse(node)!r}; expected numbers, names, + - * / **, one comparison and "
            f"{', '.join(_ARITHMETIC)}"
        )
    arguments = [_compiled(part, names) for part in parts]
    return lambda values, faults: operation(faults, *(a(values, faults) for a in arguments))


def _called(name: str, given: int) -> _Operation:
    if name not in _FUNCTIONS:
        allowed = ", ".join(_FUNCTIONS)
        raise LedgerError(f"calls {name!r}, which is unknown; expected one of {allowed}")
    operation = _FUNCTIONS[name]
    if given not in operation.takes:
        allowed = " or ".join(map(str, operation.takes))
        raise LedgerError(f"calls {name} with {given} arguments; expected {allowed}")
    return operation
