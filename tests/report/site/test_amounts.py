"""Numbers in words: logarithms come back, two digits count, and no interval is turned over."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from gpubn.report.site.amounts import Difference, Level, Ratio, between, count, number, powers

HIGHER = Ratio("higher")
TENS = Ratio("larger", back=lambda x: 10**x)
POINTS = Difference("higher", " percentage points", 100)


def ratio_in(text):
    """The ratio that an amount in words stands for."""
    if text in ("exactly as high", "no difference"):
        return 1.0
    found = re.fullmatch(
        r"([\d.,]+)?(?: × )?(?:10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?(%| times) (as high|higher|lower)", text
    )
    power = "".join("-0123456789"["⁻⁰¹²³⁴⁵⁶⁷⁸⁹".index(c)] for c in found[2] or "⁰")
    size = float((found[1] or "1").replace(",", "")) * 10 ** int(power)
    if found[3] == "%":
        return 1 + size / 100 if found[4] == "higher" else 1 - size / 100
    return size if found[4] == "as high" else 1 / size


@given(st.floats(-250, 250))
def test_a_logarithm_in_words_is_its_ratio_to_two_digits(x):
    text, truth = str(HIGHER.amount(x)), math.exp(x)
    close = abs(ratio_in(text) - 1) if "%" in text else ratio_in(text)
    assert close == pytest.approx(abs(truth - 1) if "%" in text else truth, rel=0.051, abs=1e-300)


@given(st.floats(-5, 5))
def test_words_never_say_one_time(x):
    assert not re.search(r"(?<![\d.,])1(\.0)? times", str(HIGHER.amount(x)))


@given(st.floats(-3, 3), st.floats(0, 3))
def test_an_interval_in_words_has_both_ends(low, width):
    high = low + width
    said = between(HIGHER, low, high)
    assume(said)
    ends = re.fullmatch(r"between (.+) and (.+)", said).groups()
    whole = re.search(r"(as high|higher|lower)$", ends[1])
    if whole:
        found = [ratio_in(end) for end in ends]
    else:
        unit = "%" if "%" in ends[1] else " times"
        word = {"%": "lower" if high < 0 else "higher", " times": "as high"}[unit]
        word = "lower" if unit == " times" and high < 0 else word
        found = [ratio_in(f"{end.removesuffix(unit)}{unit} {word}") for end in ends]
    assert sorted(found) == pytest.approx([math.exp(low), math.exp(high)], rel=0.051, abs=0.06)
    assert "1.0 times" not in said


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0"),
        (0.5, "0.50"),
        (0.000123, "0.00012"),
        (0.0000123, "1.2 × 10⁻⁵"),
        (99.6, "100"),
        (1927, "1,900"),
        (-16.4, "−16"),
        (8.26e-47, "8.3 × 10⁻⁴⁷"),
        (1e9, "10⁹"),
        (999999, "10⁶"),
    ],
)
def test_a_number_has_two_digits_that_count(x, text):
    assert number(x) == text


@pytest.mark.parametrize(("x", "text"), [(0, "no"), (2, "2"), (1254, "1,254"), (0.9, "0.90")])
def test_a_count_keeps_all_digits(x, text):
    assert count(x) == text


@pytest.mark.parametrize(
    ("form", "x", "text", "link"),
    [
        (HIGHER, 0, "exactly as high", "as"),
        (HIGHER, 0.33, "39% higher", "than"),
        (HIGHER, -0.43, "35% lower", "than"),
        (HIGHER, math.log(90), "90 times as high", "as"),
        (HIGHER, -math.log(90), "90 times lower", "than"),
        (TENS, 49.2, "1.6 × 10⁴⁹ times as large", "as"),
        (TENS, -46.08, "1.2 × 10⁴⁶ times smaller", "than"),
        (Ratio("more", "steps"), 0.5278, "1.7 times as many steps", "as"),
        (Ratio("more", "steps"), -0.5, "39% fewer steps", "than"),
        (Ratio("larger", back=float), 1927, "1,900 times as large", "as"),
        (POINTS, 0.123, "12 percentage points higher", "than"),
        (POINTS, -0.0145, "1.5 percentage points lower", "than"),
        (POINTS, 0, "exactly as high", "as"),
        (Level("%", lambda x: 100 * x), 0.5, "50%", ""),
        (Level(" nats"), 0.302, "0.30 nats", ""),
    ],
)
def test_an_amount_is_said_by_its_form(form, x, text, link):
    assert (str(form.amount(x)), form.amount(x).link) == (text, link)


@pytest.mark.parametrize(
    ("form", "low", "high", "text"),
    [
        (HIGHER, 1.36, 1.46, "between 3.9 and 4.3 times"),
        (HIGHER, 0.3126, 0.3483, "between 37% and 42%"),
        (HIGHER, -0.4855, -0.3801, "between 32% and 38%"),
        (HIGHER, -0.7543, -0.6781, "between 2.0 and 2.1 times"),
        (HIGHER, -0.05, 0.09, "between 4.9% lower and 9.4% higher"),
        (HIGHER, 0.04, 1.2, "between 4.1% higher and 3.3 times as high"),
        (HIGHER, 0.5, 0.5, ""),
        (TENS, 1.85, 2.08, "between 71 and 120 times"),
        (TENS, -49.28, -49.11, "between 1.3 × 10⁴⁹ and 1.9 × 10⁴⁹ times"),
        (POINTS, 0.12, 0.24, "between 12 and 24"),
        (POINTS, -0.24, -0.12, "between 12 and 24"),
        (POINTS, -0.003, 0.0085, "between 0.30 percentage points lower and 0.85 percentage points "
         "higher"),
        (Level("%", lambda x: 100 * x), -0.036, -0.034, "between −3.6% and −3.4%"),
        (Level(" nats"), 0.21, 0.24, "between 0.21 and 0.24"),
        (Level(" nats"), 2.308, 2.312, ""),
    ],
)  # fmt: skip
def test_an_interval_is_said_like_its_mean(form, low, high, text):
    assert between(form, low, high) == text


@pytest.mark.parametrize(
    ("form", "m", "text"),
    [
        (HIGHER, 0.1, "11%"),
        (HIGHER, math.log(1.05), "5%"),
        (HIGHER, math.log(2), "2 times"),
        (HIGHER, 0.5, "1.65 times"),
        (TENS, 1, "10 times"),
        (TENS, 3, "1,000 times"),
        (POINTS, 0.01, "1 percentage point"),
        (POINTS, 0.1, "10 percentage points"),
        (Level("%", lambda x: 100 * x), 0.9, "90%"),
        (Level(" nats"), 0.05, "0.05 nats"),
    ],
)
def test_what_would_matter_has_no_idle_digits(form, m, text):
    assert form.at_least(m) == text


def test_powers_of_ten_are_written_out():
    text = "1.0038, 3.46e-44 and 2e+3, not 2e or e-4"
    assert powers(text) == "1.0038, 3.46 × 10⁻⁴⁴ and 2 × 10³, not 2e or e-4"
