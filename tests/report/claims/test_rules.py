"""Rules: from the states of the cases to a verdict."""

import pytest

from gpubn.report.claims.rules import verdict_of

WHEN = ("it is red", "it is blue", "it is green", "it is grey")


@pytest.mark.parametrize(
    ("kind", "states", "text"),
    [
        ("effect", "opposite", "contradicted"),
        ("effect", "opposite, fails, opposite", "not reproduced"),
        ("equal", "fails, fails", "contradicted"),
        ("exact", "shown, shown", "reproduced"),
        ("published", "shown, other value", "reproduced, other value"),
        ("effect", "open", "undecided"),
        ("effect", "fails, open", "undecided: fails when it is red; open when it is blue"),
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
def test_a_condition_needs_a_case_on_either_side_and_nothing_open_is_passed_over(
    kind, states, text
):
    found = states.split(", ")
    assert verdict_of(kind, found, WHEN[: len(found)] if len(found) > 1 else [None]) == text
