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
from dataclasses import dataclass

import numpy as np

from gpubn import theory
from gpubn.errors import LedgerError

LONGEST = 500
"""Characters of an expression: enough for a formula, too few to exhaust the parser."""

_DIVIDES = "divides by zero"
_LOGARITHM = "takes the logarithm of zero or less"
_FUNCTIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "log": (1, np.log),
    "log2": (1, np.log2),
    "log10": (1, np.log10),
    "exp": (1, np.exp),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "floor": (1, np.floor),
    "isfinite": (1, np.isfinite),
    "minimum": (2, np.minimum),
    "maximum": (2, np.maximum),
    "where": (3, lambda c, a, b: np.where(np.isnan(c), np.nan, np.where(c != 0, a, b))),
}
_OPERATORS: dict[type[ast.AST], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_THEORY = {
    name: function
    for name, function in inspect.getmembers(theory, inspect.isfunction)
    if function.__module__ == theory.__name__ and not name.startswith("_")
}
_CONSTANTS = {"pi": np.pi, "e": np.e} | {
    name: value for name, value in vars(theory).items() if name.isupper() and type(value) is float
}
RESERVED = frozenset({*_FUNCTIONS, *_THEORY, *_CONSTANTS})
"""Names that a ledger cannot give to anything of its own."""


@dataclass(frozen=True)
class Evaluated:
    """The values of an expression, and what went wrong on the way to those that are NaN."""

    values: np.ndarray
    faults: tuple[str, ...]

    def problem(self) -> str | None:
        """What keeps the values from being used, as a predicate; None where all are finite."""
        bad = ~np.isfinite(self.values)
        if not bad.any():
            return None
        nan = "is NaN" if np.isnan(self.values).any() else "is infinite"
        what = self.faults[0] if self.faults else nan
        if bad.size == 1:
            return what
        return f"{what} for {'all' if bad.all() else f'{bad.sum()} of {bad.size}'} seeds"


def parse(source: str | float, names: Collection[str]) -> ast.expr:
    """Check an expression in which `names` may stand.

    Raises:
        LedgerError: it is no expression of the grammar, or uses a name that is not defined.
    """
    tree = syntax(source)
    _check(tree, names)
    return tree


def syntax(source: str | float) -> ast.expr:
    """Parse a text as Python would, without a look at what stands in it.

    Raises:
        LedgerError: it is no expression at all.
    """
    if isinstance(source, bool) or not isinstance(source, str | int | float):
        raise LedgerError(f"is {source!r}; expected an expression")
    text = str(source)
    if len(text) > LONGEST:
        raise LedgerError(f"has {len(text)} characters; expected at most {LONGEST}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise LedgerError(f"is {text!r}, which is no expression; expected arithmetic") from error


def names_in(tree: ast.expr) -> set[str]:
    """Every name that stands in an expression, functions aside."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in functions)
    return {node.id for node in found}


def _check(node: ast.expr, names: Collection[str]) -> None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:
                raise LedgerError(f"uses {ast.unparse(node)[:20]}; expected finite numbers")
            parts: list[ast.expr] = []
        case ast.Name(id=name):
            if name not in names and name not in _CONSTANTS:
                known = ", ".join(names) or "numbers alone"
                raise LedgerError(f"names {name!r}, which is not defined here; expected {known}")
            parts = []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            _check_call(name, len(parts))
        case _:
            raise LedgerError(
                f"uses {ast.unparse(node)!r}; expected numbers, names, + - * / **, one comparison "
                f"and {', '.join(_FUNCTIONS)}"
            )
    for part in parts:
        _check(part, names)


def _check_call(name: str, given: int) -> None:
    if name in _FUNCTIONS:
        takes = _FUNCTIONS[name][0]
        if given != takes:
            raise LedgerError(f"calls {name} with {given} arguments; expected {takes}")
    elif name in _THEORY:
        try:
            inspect.signature(_THEORY[name]).bind(*[0] * given)
        except TypeError as error:
            raise LedgerError(f"calls {name} with {given} arguments ({error})") from error
    else:
        allowed = ", ".join([*_FUNCTIONS, *_THEORY])
        raise LedgerError(f"calls {name!r}, which is unknown; expected one of {allowed}")


def evaluate(tree: ast.expr, values: Mapping[str, np.ndarray]) -> Evaluated:
    """The values of a checked expression; names stand for arrays that broadcast.

    Raises:
        LedgerError: a function of `gpubn.theory` refuses its arguments.
    """
    faults: list[str] = []
    with np.errstate(all="ignore"):
        found = np.atleast_1d(np.asarray(_value(tree, values, faults), dtype=np.float64))
    return Evaluated(found, tuple(faults))


def constant(tree: ast.expr, values: Mapping[str, float]) -> float:
    """The one finite value of an expression of numbers.

    Raises:
        LedgerError: it is not finite.
    """
    found = evaluate(tree, {name: np.asarray(v, np.float64) for name, v in values.items()})
    if problem := found.problem():
        raise LedgerError(problem)
    return float(found.values[0])


def _value(node: ast.expr, values: Mapping[str, np.ndarray], faults: list[str]) -> np.ndarray:
    match node:
        case ast.Constant(value=value):
            return np.asarray(value, np.float64)
        case ast.Name(id=name):
            return values[name] if name in values else np.asarray(_CONSTANTS[name])
        case ast.UnaryOp(op=op, operand=operand):
            inner = _value(operand, values, faults)
            return -inner if isinstance(op, ast.USub) else inner
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, values, faults), _value(right, values, faults)
            return _operate(op, a, b, faults)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            a, b = _value(left, values, faults), _value(right, values, faults)
            true = np.asarray(_OPERATORS[type(op)](a, b), dtype=np.float64)
            return np.where(np.isnan(a) | np.isnan(b), np.nan, true)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _call(name, [_value(arg, values, faults) for arg in args], faults)
    raise AssertionError(ast.dump(node))  # parse let it through


def _operate(op: ast.operator, a: np.ndarray, b: np.ndarray, faults: list[str]) -> np.ndarray:
    out = np.asarray(_OPERATORS[type(op)](a, b))
    if isinstance(op, ast.Div):
        return _spoiled(out, b == 0, _DIVIDES, faults)
    if isinstance(op, ast.Pow):
        out = np.where(np.isnan(a) | np.isnan(b), np.nan, out)  # 1 ** NaN would be 1
        return _spoiled(out, (a == 0) & (b < 0), _DIVIDES, faults)
    return out


def _call(name: str, args: list[np.ndarray], faults: list[str]) -> np.ndarray:
    if name in _THEORY:
        return _call_theory(name, args)
    out = np.asarray(_FUNCTIONS[name][1](*args), dtype=np.float64)
    if name.startswith("log"):
        return _spoiled(out, args[0] <= 0, _LOGARITHM, faults)
    return out


def _spoiled(out: np.ndarray, bad: np.ndarray, fault: str, faults: list[str]) -> np.ndarray:
    if np.any(bad):
        faults.append(fault)
    return np.where(bad, np.nan, out)


def _call_theory(name: str, args: list[np.ndarray]) -> np.ndarray:
    """Value by value: these functions take plain numbers, some of them whole ones."""
    shaped = np.broadcast_arrays(*args) if args else [np.asarray(0.0)]
    out = np.empty(shaped[0].shape)
    for index in np.ndindex(out.shape):
        given = [float(array[index]) for array in shaped] if args else []
        try:
            out[index] = _THEORY[name](*(int(v) if v.is_integer() else v for v in given))
        except (ValueError, TypeError, ArithmeticError) as error:
            shown = ", ".join(f"{v:g}" for v in given)
            raise LedgerError(f"calls {name}({shown}), which fails ({error})") from error
    return out
