"""Rules: from where a quantity lies to a state, and from the states of the cases to a verdict."""

import itertools

import pytest

from gpubn.report.claims import rules
from gpubn.report.claims.rules import state_of, verdict_of, verdict_word

ABOVE, BELOW, UNKNOWN = rules.ABOVE, rules.BELOW, rules.UNKNOWN
WHEN = ("it is red", "it is blue", "it is green", "it is grey")
PLACES = {
    "below both": (BELOW, BELOW),
    "below the upper": (UNKNOWN, BELOW),
    "between": (ABOVE, BELOW),
    "above the lower": (ABOVE, UNKNOWN),
    "above both": (ABOVE, ABOVE),
    "nowhere": (UNKNOWN, UNKNOWN),
}
"""Where a quantity is shown to lie, as seen from the lower and from the upper bound."""


@pytest.mark.parametrize(
    ("kind", "fits", "expected"),
    [
        ("effect", None, "opposite, fails, fails, open, shown, open"),
        ("effect", True, "opposite, fails, fails, open, shown, open"),
        ("effect", False, "opposite, fails, fails, open, other value, open"),
        ("equal", None, "fails, open, shown, open, fails, open"),
        ("published", True, "open, shown, shown, shown, open, shown"),
        ("published", False, "fails, open, other value, open, fails, open"),
    ],
)
def test_the_state_of_a_case(kind, fits, expected):
    assert ", ".join(state_of(kind, *place, fits) for place in PLACES.values()) == expected


def verdict(kind, states):
    states = states.split(", ")
    when = WHEN[: len(states)] if len(states) > 1 else [None]
    return verdict_of(kind, states, when)


@pytest.mark.parametrize(
    ("kind", "states", "text"),
    [
        ("effect", "shown", "reproduced"),
        ("effect", "shown, shown", "reproduced"),
        ("effect", "other value", "reproduced, other value"),
        ("effect", "shown, other value", "reproduced, other value"),
        ("effect", "fails", "not reproduced"),
        ("effect", "fails, fails", "not reproduced"),
        ("effect", "opposite", "contradicted"),
        ("effect", "opposite, opposite", "contradicted"),
        ("effect", "fails, opposite", "not reproduced"),
        ("effect", "opposite, fails, opposite", "not reproduced"),
        ("effect", "open", "undecided"),
        ("equal", "shown", "reproduced"),
        ("equal", "fails, fails", "contradicted"),
        ("exact", "shown, shown", "reproduced"),
        ("exact", "fails", "contradicted"),
        ("published", "shown", "reproduced"),
        ("published", "other value, shown", "reproduced, other value"),
        ("published", "fails, fails", "contradicted"),
        ("effect", "shown, fails", "holds only when it is red; not when it is blue"),
        ("effect", "opposite, shown", "holds only when it is blue; not when it is red"),
        ("equal", "fails, shown", "holds only when it is blue; not when it is red"),
        ("exact", "shown, fails", "holds only when it is red; not when it is blue"),
        (
            "published",
            "other value, fails",
            "holds only when it is red (with another value); not when it is blue",
        ),
        (
            "effect",
            "shown, fails, shown, opposite",
            "holds only when it is red, or it is green; not when it is blue, or it is grey",
        ),
        (
            "effect",
            "open, fails, shown, open",
            "holds only when it is green; not when it is blue; open when it is red, or it is grey",
        ),
        ("effect", "shown, open", "undecided: shown when it is red; open when it is blue"),
        ("effect", "open, fails", "undecided: fails when it is blue; open when it is red"),
        ("effect", "opposite, open", "undecided: fails when it is red; open when it is blue"),
        ("equal", "open, shown", "undecided: shown when it is blue; open when it is red"),
        (
            "published",
            "other value, shown, open",
            "undecided: shown when it is red (with another value), or it is blue; "
            "open when it is green",
        ),
        ("effect", "open, open", "undecided: open when it is red, or it is blue"),
    ],
)
def test_the_verdict(kind, states, text):
    found = verdict(kind, states)
    assert found == text
    words = [word for word in rules.VERDICTS if text.startswith(word)]
    assert verdict_word(found) == max(words, key=len)


STATES = {
    "effect": rules.STATES,
    "equal": ("shown", "fails", "open"),
    "exact": ("shown", "fails"),
    "published": ("shown", "other value", "fails", "open"),
}


@pytest.mark.parametrize("kind", rules.KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_what_a_verdict_needs(kind, count):
    """A condition needs a case on either side, and nothing open is passed over."""
    for states in itertools.product(STATES[kind], repeat=count):
        found = verdict(kind, ", ".join(states))
        held = {"shown", "other value"} & set(states)
        failed = {"fails", "opposite"} & set(states)
        assert (verdict_word(found) == "holds only when") == bool(held and failed)
        assert (verdict_word(found) == "undecided") == ("open" in states and not (held and failed))
        assert (verdict_word(found) in ("reproduced", "reproduced, other value")) == (
            set(states) <= {"shown", "other value"}
        )
        assert (verdict_word(found) in ("not reproduced", "contradicted")) == (
            set(states) <= {"fails", "opposite"}
        )
        if count > 1 and verdict_word(found) in ("holds only when", "undecided"):
            told = found.replace(" (with another value)", "").replace("; ", ", or ")
            told = told.split(", or ")
            assert sorted(part[part.index("it is ") :] for part in told) == sorted(WHEN[:count])
