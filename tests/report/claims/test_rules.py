"""Rules: from where a quantity lies to a state, and from the states of the cases to a verdict."""

import itertools

import pytest

from gpubn.report.claims import rules
from gpubn.report.claims.rules import ABOVE, BELOW, UNKNOWN, state_of, verdict_of, verdict_word

WHEN = ("it is red", "it is blue", "it is green", "it is grey")
PLACES = [
    (BELOW, BELOW),
    (UNKNOWN, BELOW),
    (ABOVE, BELOW),
    (ABOVE, UNKNOWN),
    (ABOVE, ABOVE),
    (UNKNOWN, UNKNOWN),
]
"""Where a quantity is shown to lie, as seen from the lower and from the upper bound."""
STATES = {
    "effect": rules.STATES,
    "equal": ("shown", "fails", "open"),
    "exact": ("shown", "fails"),
    "published": ("shown", "other value", "fails", "open"),
}


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
    assert ", ".join(state_of(kind, *place, fits) for place in PLACES) == expected


def verdict(kind, states):
    return verdict_of(kind, states, WHEN[: len(states)] if len(states) > 1 else [None])


@pytest.mark.parametrize(
    ("kind", "states", "text"),
    [
        ("effect", "opposite", "contradicted"),
        ("effect", "opposite, fails, opposite", "not reproduced"),
        ("equal", "fails, fails", "contradicted"),
        ("published", "shown, other value", "reproduced, other value"),
        ("effect", "open", "undecided"),
        ("equal", "fails, shown", "holds only when it is blue; not when it is red"),
        (
            "published",
            "other value, open, fails, shown",
            "holds only when it is red (with another value), or it is grey; "
            "not when it is green; open when it is blue",
        ),
        ("effect", "opposite, open", "undecided: fails when it is red; open when it is blue"),
        ("effect", "open, shown", "undecided: shown when it is blue; open when it is red"),
    ],
)
def test_the_verdict(kind, states, text):
    assert verdict(kind, states.split(", ")) == text


@pytest.mark.parametrize("kind", rules.KINDS)
def test_what_a_verdict_needs(kind):
    """A condition needs a case on either side, and nothing open is passed over."""
    for states in itertools.chain(*(itertools.product(STATES[kind], repeat=n) for n in (1, 2, 3))):
        found = verdict(kind, states)
        held, failed = {"shown", "other value"} & set(states), {"fails", "opposite"} & set(states)
        if held and failed:
            expected = ["holds only when"]
        elif "open" in states:
            expected = ["undecided"]
        elif held:
            expected = ["reproduced, other value" if "other value" in states else "reproduced"]
        else:
            expected = ["not reproduced", "contradicted"]
        assert verdict_word(found) in expected
        if " when " in found:
            told = found.replace(" (with another value)", "").replace("; ", ", or ").split(", or ")
            assert {part[part.index("it is ") :] for part in told} == set(WHEN[: len(states)])
