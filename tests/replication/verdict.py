"""Intervals, decisions and the comparison with the rows of the evidence file."""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

from scipy.stats import t as student

Range = tuple[float, float]


@dataclass(frozen=True)
class Rule:
    """How values become a decision; matters is the smallest difference that counts.

    kind: "effect" (above matters), "equal" (within it of 0) or "published" (one run of someone's
    printed the values, here the range that rounds to each, the quantity's own first).
    """

    kind: str
    matters: float
    printed: dict[str, Range] = field(default_factory=dict)


@dataclass
class Finding:
    """Mean of one quantity over n seeds, its 95% interval and the decision."""

    n: int
    mean: float
    low: float
    high: float
    decision: str = ""


def describe(values: list[float]) -> Finding:
    """Return the mean and its interval, with no decision."""
    mean, std = moments(values)
    half = student.ppf(0.975, len(values) - 1) * std / math.sqrt(len(values))
    return Finding(len(values), mean, mean - half, mean + half)


def moments(values: list[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def p_single(values: list[float], printed: Range) -> float:
    """Return the p-value of a further run in the printed range coming from the values' normal."""
    mean, std = moments(values)
    away = max(printed[0] - mean, mean - printed[1], 0.0)
    if away == 0:
        return 1.0
    if std == 0:
        return 0.0
    return 2 * student.sf(away / (std * math.sqrt(1 + 1 / len(values))), len(values) - 1)


def place(finding: Finding, inner: Range) -> str:
    """Return where the interval lies: within, below or above the inner range, or across an end."""
    if finding.high < inner[0]:
        return "below"
    if finding.low > inner[1]:
        return "above"
    return "within" if inner[0] < finding.low and finding.high < inner[1] else "across"


def decide(name: str, values: dict[str, list[float]], rule: Rule) -> str:
    """Return shown, other value, fails, opposite or open for a quantity, at 5%."""
    finding = describe(values[name])
    if rule.kind == "published":
        p = min(p_single(values[key], printed) for key, printed in rule.printed.items())
        if p * len(rule.printed) >= 0.05:
            return "shown"
        low, high = rule.printed[name]
        where = place(finding, (low - rule.matters, high + rule.matters))
        return {"within": "other value", "across": "open"}.get(where, "fails")
    where = place(finding, (-rule.matters, rule.matters))
    if rule.kind == "equal":
        return {"within": "shown", "across": "open"}.get(where, "fails")
    if where == "across":
        return "fails" if finding.high < rule.matters else "open"
    return {"above": "shown", "within": "fails", "below": "opposite"}[where]


def read_evidence(path: Path) -> dict[tuple[str, str], Finding]:
    """Return the primary rows by id and quantity."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["id"], row["quantity"]): Finding(
                int(row["n"] or 0),
                *(float(row[name] or "nan") for name in ("mean", "low", "high")),
                row["decision"],
            )
            for row in csv.DictReader(file)
            if row["role"] == "primary"
        }


def agree(mine: Finding, theirs: Finding) -> bool:
    """Return whether the decisions agree, or one is open and the means may be the same."""
    both = {mine.decision, theirs.decision}
    if len(both) == 1 or both == {"fails", "opposite"}:
        return True
    return "open" in both and mine.low <= theirs.high and theirs.low <= mine.high
