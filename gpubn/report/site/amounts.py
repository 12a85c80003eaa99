"""Amounts in words: logarithms turned back, two digits that count, and intervals."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

_DIGITS = 2
_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WORDS = {
    "higher": ("high", "lower"),
    "larger": ("large", "smaller"),
    "more": ("many", "fewer"),
    "longer": ("long", "shorter"),
    "wider": ("wide", "narrower"),
}
"""A word for more -> what both are, and the word for less."""
COMPARATIVES = tuple(_WORDS)
_ALIKE = "exactly"


class Amount(NamedTuple):
    """An amount in parts: "4.1", " times", " as high", and "as", which leads on to the other."""

    number: str
    unit: str
    word: str = ""
    link: str = ""

    def __str__(self) -> str:
        return self.number + self.unit + self.word


def number(x: float) -> str:
    """Return a number with two digits that count: "0.57", "1,900" or "8.3 × 10⁻⁴⁷"."""
    if not x:
        return "0"
    mantissa, exponent = f"{abs(x):.{_DIGITS - 1}e}".split("e")
    power, sign = int(exponent), "−" if x < 0 else ""
    if -4 <= power < 6:
        rounded = float(f"{mantissa}e{exponent}")
        return f"{sign}{rounded:,.{max(_DIGITS - 1 - power, 0)}f}"
    factor = "" if float(mantissa) == 1 else f"{mantissa} × "
    return f"{sign}{factor}10{str(power).translate(_POWERS)}"


def count(x: float) -> str:
    """Return a whole number with all its digits, "no" for 0, and another one as `number` does."""
    return (f"{x:,.0f}" if float(x).is_integer() else number(x)) if x else "no"


def signed(x: float) -> str:
    """Return a number with its sign: "+39" or "−16"."""
    return f"{'+' if x > 0 else ''}{number(x)}"


@dataclass(frozen=True)
class Ratio:
    """The words of a ratio: its first part beside the second.

    Attributes:
        word: one of `COMPARATIVES`.
        noun: what there is more of, where a number of things is meant.
        back: from the value to the ratio.
    """

    word: str
    noun: str = ""
    back: Callable[[float], float] = math.exp

    @property
    def alike(self) -> float:
        """The value where both parts are alike."""
        return 1.0 if self.back(1) == 1 else 0.0

    def amount(self, value: float, like: float | None = None) -> Amount:
        """Return "39% higher", "4.1 times as high" or "90 times lower".

        Args:
            like: another value whose unit is taken, "%" or "times", where it serves.
        """
        ratio, other = self.back(value), self.back(value if like is None else like)
        alike, less = (f" {word}{self.noun and ' '}{self.noun}" for word in _WORDS[self.word])
        more = f" {self.word}{self.noun and ' '}{self.noun}"
        if ratio == 1:
            return Amount(_ALIKE, "", f" as{alike}", "as")
        in_times = not 0.5 < other < 1.5
        if ratio >= (1.05 if in_times else 3):
            return Amount(number(ratio), " times", f" as{alike}", "as")
        if ratio <= (0.95 if in_times else 0.1):
            return Amount(number(1 / ratio), " times", less, "than")
        return Amount(number(100 * abs(ratio - 1)), "%", more if ratio > 1 else less, "than")

    def at_least(self, value: float) -> str:
        """Return an effect that matters: "11%" or "10 times"."""
        ratio = self.back(value)
        return f"{_rule(ratio)} times" if ratio >= 1.5 else f"{_rule(100 * (ratio - 1))}%"


@dataclass(frozen=True)
class Difference:
    """The words of a difference: its first part beside the second.

    Attributes:
        word: one of `COMPARATIVES`.
        unit: with its blank, "" where there is none.
        scale: what the value is multiplied by.
    """

    word: str
    unit: str = ""
    scale: float = 1
    alike: ClassVar[float] = 0.0

    def amount(self, value: float, like: float | None = None) -> Amount:
        """Return "12 percentage points higher"."""
        alike, less = _WORDS[self.word]
        if not value:
            return Amount(_ALIKE, "", f" as {alike}", "as")
        word = self.word if value > 0 else less
        return Amount(number(abs(self.scale * value)), self.unit, f" {word}", "than")

    def at_least(self, value: float) -> str:
        """Return an effect that matters: "1 percentage point"."""
        size = _rule(self.scale * value)
        return size + (self.unit.removesuffix("s") if size == "1" else self.unit)


@dataclass(frozen=True)
class Level:
    """The words of a value by itself.

    Attributes:
        unit: with its blank: " nats" or "%".
        back: from the value to what is said.
        written: how that is written.
    """

    unit: str = ""
    back: Callable[[float], float] = float
    written: Callable[[float], str] = number

    def amount(self, value: float, like: float | None = None) -> Amount:
        """Return "0.22 nats"."""
        return self._of(self.written(self.back(value)))

    def at_least(self, value: float) -> str:
        """Return an effect that matters: "90%"."""
        return str(self._of(_rule(self.back(value))))

    def _of(self, size: str) -> Amount:
        return Amount(size, self.unit.removesuffix("s") if size == "1" else self.unit)


Wording = Ratio | Difference | Level
"""The words for values of a quantity."""


def between(form: Wording, low: float, high: float) -> str:
    """Return an interval in words: "between 3.9 and 4.3 times"; "" where its ends read alike."""
    middle = (low + high) / 2
    ends = form.amount(low, middle), form.amount(high, middle)
    if ends[0] == ends[1]:
        return ""
    if ends[0][1:] != ends[1][1:]:
        said = ["no difference" if end.number == _ALIKE else str(end) for end in ends]
        return f"between {said[0]} and {said[1]}"
    if not isinstance(form, Level) and high < form.alike:
        ends = ends[1], ends[0]  # the smaller change first
    percent, times = ("%" * (ends[0].unit == "%"), " times" * (ends[0].unit == " times"))
    return f"between {ends[0].number}{percent} and {ends[1].number}{percent}{times}"


def powers(text: str) -> str:
    """Return a text in which 3.50e-35 is written 3.50 × 10⁻³⁵."""
    return re.sub(
        r"(\d)e([+-]?\d+)", lambda m: f"{m[1]} × 10{str(int(m[2])).translate(_POWERS)}", text
    )


def _rule(x: float) -> str:
    """Return a number that is set and not measured: "2" and not "2.0", and 1.05 as it is."""
    text = f"{x:.3g}" if 1 < x < 2 else number(x)
    return re.sub(r"(\.\d*?)0+$", r"\1", text).removesuffix(".")
