"""Intervals, decisions and the comparison with the rows of the evidence file."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import t as student

NEEDED = ("id", "quantity", "mean", "low", "high", "decision")


@dataclass(frozen=True)
class Rule:
    """How the values of one quantity become a decision.

    matters is the smallest difference that counts; published, where given, is the range of values
    that round to the published one, and decides instead. key is the name of the measurement.
    """

    key: str
    unit: str
    matters: float = 0.0
    published: tuple[float, float] | None = None


@dataclass(frozen=True)
class Finding:
    """Mean, interval and decision of one quantity over n seeds."""

    n: int
    mean: float
    low: float
    high: float
    decision: str
    interval: str


def t_interval(values: list[float], single: bool = False) -> tuple[float, float, float]:
    """Return the mean and the 95% limits of the mean, or of a single further run."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, -math.inf, math.inf
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = student.ppf(0.975, n - 1) * std * math.sqrt(1 / n + (1 if single else 0))
    return mean, mean - half, mean + half


def decide(low: float, high: float, matters: float) -> str:
    """Return shown, fails, opposite or open."""
    if low > matters:
        return "shown"
    if high < -matters:
        return "opposite"
    return "fails" if high < matters else "open"


def judge(values: list[float], rule: Rule) -> Finding:
    """Return the finding of one quantity; published losses are judged on a log scale."""
    if rule.published is None:
        mean, low, high = t_interval(values)
        return Finding(len(values), mean, low, high, decide(low, high, rule.matters), "mean")
    mean, low, high = map(math.exp, t_interval([math.log(v) for v in values], single=True))
    inside = low <= rule.published[1] and high >= rule.published[0]
    decision = "fits" if inside else "other value"
    return Finding(len(values), mean, low, high, decision, "single run")


def describe(values: list[float]) -> Finding:
    """Return mean and interval of a quantity that decides nothing."""
    return Finding(len(values), *t_interval(values), "", "mean")


@dataclass(frozen=True)
class Theirs:
    """One primary row of the evidence file."""

    mean: float
    low: float
    high: float
    decision: str
    case: str


def number(text: str | None) -> float:
    """Return the number in a cell, or nan."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def read_evidence(path: Path) -> tuple[dict[tuple[str, str], Theirs], list[str]]:
    """Return the primary rows by id and quantity, and what is wrong with the file."""
    if not path.is_file():
        return {}, [f"{path} does not exist"]
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        absent = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if absent:
            return {}, [f"{path} lacks the columns {', '.join(absent)}"]
        rows = [row for row in reader if (row.get("role") or "primary").strip() == "primary"]
    found: dict[tuple[str, str], Theirs] = {}
    problems = []
    for row in rows:
        key = row["id"].strip(), row["quantity"].strip()
        if key in found:
            problems.append(f"{key[0]} {key[1]} has several primary rows; the first is used")
            continue
        cells = [number(row[name]) for name in ("mean", "low", "high")]
        found[key] = Theirs(*cells, row["decision"].strip(), (row.get("case") or "").strip())
    return found, problems


def overlap(mine: Finding, theirs: Theirs) -> bool:
    """Return whether the means differ by no more than the half-widths combined."""
    mine_half, their_half = (mine.high - mine.low) / 2, (theirs.high - theirs.low) / 2
    slack = 1e-9 * max(1.0, abs(mine.mean))
    return abs(mine.mean - theirs.mean) <= math.hypot(mine_half, their_half) + slack


def agree(mine: Finding, theirs: Theirs) -> bool:
    """Return whether the decisions agree, or one is open and the means may be the same."""
    if mine.decision == theirs.decision:
        return True
    return "open" in (mine.decision, theirs.decision) and overlap(mine, theirs)
