"""Rules: when a verdict holds. Tests of quantities, joined by `and`, `or` and `not`."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gpubn.claims import expression
from gpubn.errors import LedgerError

CALLS = {"above": 1, "below": 1, "within": 2, "outside": 2}
"""Call -> number of bounds."""


@dataclass(frozen=True)
class Test:
    """That a quantity is `above` a bound, `below` a bound, or `within` two."""

    __test__ = False  # for pytest, which collects classes of this name

    quantity: str
    side: str
    bounds: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.side} {' to '.join(f'{b:.4g}' for b in self.bounds)}"


@dataclass(frozen=True)
class Rule:
    """Conditions joined by `and` or `or`, or one under `not`."""

    joined_by: str
    parts: tuple["Rule | Test", ...]


Condition = Rule | Test


def parse(
    source: str, quantities: Mapping[str, object], thresholds: Mapping[str, float]
) -> tuple[Condition, str]:
    """Return a condition, and its text with the thresholds' values in the place of their names.

    Raises:
        LedgerError: something but tests and `and`, `or`, `not` stands in it, or a name is unknown.
    """
    return _parse(expression.syntax(source), quantities, thresholds)


def tests_in(condition: Condition) -> Iterator[Test]:
    """Every test of a condition, whether or not the others leave it open."""
    if isinstance(condition, Test):
        yield condition
    else:
        for part in condition.parts:
            yield from tests_in(part)


def holds(condition: Condition, outcome: Mapping[Test, bool]) -> bool:
    """Whether a condition holds, given what each of its tests came to."""
    if isinstance(condition, Test):
        return outcome[condition]
    parts = [holds(part, outcome) for part in condition.parts]
    if condition.joined_by == "not":
        return not parts[0]
    return all(parts) if condition.joined_by == "and" else any(parts)


def _parse(
    node: ast.expr, quantities: Mapping[str, object], thresholds: Mapping[str, float]
) -> tuple[Condition, str]:
    match node:
        case ast.BoolOp(op=op, values=values):
            joined_by = "and" if isinstance(op, ast.And) else "or"
            found = [_parse(value, quantities, thresholds) for value in values]
            texts = [
                f"({text})" if isinstance(value, ast.BoolOp) else text
                for value, (_, text) in zip(values, found, strict=True)
            ]
            conditions = tuple(condition for condition, _ in found)
            return Rule(joined_by, conditions), f" {joined_by} ".join(texts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            condition, text = _parse(operand, quantities, thresholds)
            inner = f"({text})" if isinstance(operand, ast.BoolOp) else text
            return Rule("not", (condition,)), f"not {inner}"
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in CALLS:
            return _parse_test(name, args, quantities, thresholds)
    raise LedgerError(
        f"uses {ast.unparse(node)!r}; expected {', '.join(CALLS)} of a quantity, joined by and, "
        "or, not"
    )


def _parse_test(
    name: str,
    args: list[ast.expr],
    quantities: Mapping[str, object],
    thresholds: Mapping[str, float],
) -> tuple[Condition, str]:
    if len(args) != 1 + CALLS[name]:
        expected = "a quantity and " + ("one bound" if CALLS[name] == 1 else "two bounds")
        raise LedgerError(f"calls {name} with {len(args)} arguments; expected {expected}")
    quantity, *rest = args
    if not isinstance(quantity, ast.Name) or quantity.id not in quantities:
        raise LedgerError(
            f"tests {ast.unparse(quantity)!r}, which is no quantity; "
            f"expected one of {', '.join(quantities)}"
        )
    bounds = []
    for bound in rest:
        tree = expression.parse(ast.unparse(bound), thresholds)
        bounds.append(expression.constant(tree, thresholds))
    text = f"{name}({', '.join([quantity.id, *(f'{b:.4g}' for b in bounds)])})"
    if len(bounds) == 2 and not bounds[0] < bounds[1]:
        raise LedgerError(f"has {text}; expected the lower bound first")
    if name == "outside":
        low, high = bounds
        either = (Test(quantity.id, "above", (high,)), Test(quantity.id, "below", (low,)))
        return Rule("or", either), text
    return Test(quantity.id, name, tuple(bounds)), text
