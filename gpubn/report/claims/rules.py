"""Rules: from where a quantity lies to the state of a case, and from the cases to a verdict.

There is one rule for each kind of claim, and none of a claim's own. With m the smallest effect that
matters and q the primary quantity of a case:

    effect       shown: q > m; fails: q < m; opposite: q < -m
    equal        shown: -m < q < m; fails: q > m or q < -m
    noninferior  shown: q > -m, however large it is; fails: q < -m
    exact        shown: q at most m for every seed, which is a tolerance; fails: not so
    published    shown: the printed values are ordinary draws of our single runs, and our mean is
                 not shown to be further than m from the printed one; other value: they are none,
                 but our mean is within m; fails: they are none, and it is further away

What is not shown to be so is open. An effect may have printed values, too: where it is shown and
they are no ordinary draws its state is `other value`.
"""

from collections.abc import Sequence
from typing import Literal, get_args

SHOWN, OTHER, FAILS, OPPOSITE, OPEN = "shown", "other value", "fails", "opposite", "open"
STATES = (SHOWN, OTHER, FAILS, OPPOSITE, OPEN)

Word = Literal[
    "reproduced",
    "reproduced, other value",
    "holds only when",
    "not reproduced",
    "contradicted",
    "undecided",
]
"""A verdict without its conditions."""
VERDICTS: tuple[Word, ...] = get_args(Word)
REPRODUCED, OTHER_VALUE, CONDITIONAL, NOT_REPRODUCED, CONTRADICTED, UNDECIDED = VERDICTS

Kind = Literal["effect", "equal", "noninferior", "exact", "published"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EFFECT, EQUAL, NONINFERIOR, EXACT, PUBLISHED = KINDS

ABOVE, BELOW, UNKNOWN = 1, -1, 0
"""The places where a quantity is shown to lie, as seen from a bound."""


def state_of(kind: str, of_low: int, of_high: int, fits: bool | None) -> str:
    """The state of a case of a claim that is no `exact` one.

    Args:
        of_low, of_high: where the quantity is shown to lie as seen from the lower bound (-m, or m
            below the printed value) and from the upper one.
        fits: whether the printed values are ordinary draws; None where none is printed.
    """
    within = of_low == ABOVE and of_high == BELOW
    beyond = of_high == ABOVE or of_low == BELOW
    if kind == EFFECT:
        if of_high == ABOVE:
            return OTHER if fits is False else SHOWN
        if of_low == BELOW:
            return OPPOSITE
        return FAILS if of_high == BELOW else OPEN
    if kind == EQUAL:
        return SHOWN if within else FAILS if beyond else OPEN
    if kind == NONINFERIOR:
        return {ABOVE: SHOWN, BELOW: FAILS}.get(of_low, OPEN)
    if fits:
        return OPEN if beyond else SHOWN
    return OTHER if within else FAILS if beyond else OPEN


def verdict_of(kind: str, states: Sequence[str], when: Sequence[str | None]) -> str:
    """The verdict on a claim from the states of its cases, and the conditions that tell them apart.

    A condition is given only where it is shown on both sides: the claim holds where it is met, and
    fails where it is not.
    """
    phrases: dict[str, list[str]] = {SHOWN: [], FAILS: [], OPEN: []}
    for state, phrase in zip(states, when, strict=True):
        side = {OTHER: SHOWN, OPPOSITE: FAILS}.get(state, state)
        phrases[side].append(f"{phrase} (with another value)" if state == OTHER else phrase or "")
    joined = {side: ", or ".join(conditions) for side, conditions in phrases.items()}
    if phrases[SHOWN] and phrases[FAILS]:
        text = f"{CONDITIONAL} {joined[SHOWN]}; not when {joined[FAILS]}"
        return f"{text}; open when {joined[OPEN]}" if phrases[OPEN] else text
    if phrases[OPEN]:
        parts = [f"{side} when {text}" for side, text in joined.items() if text]
        return f"{UNDECIDED}: {'; '.join(parts)}" if parts else UNDECIDED
    if phrases[SHOWN]:
        return OTHER_VALUE if OTHER in states else REPRODUCED
    return NOT_REPRODUCED if kind == EFFECT and set(states) != {OPPOSITE} else CONTRADICTED


def verdict_word(text: str) -> Word:
    """Return a verdict without its conditions: `verdict_word("undecided: open when it is red")`."""
    return max((word for word in VERDICTS if text.startswith(word)), key=len)


def rule_in_words(kind: Kind, matters: str) -> str:
    """Return what decides a case of a claim, `matters` being the smallest effect that does."""
    return {
        EFFECT: f"shown above {matters}, fails below {matters}, opposite below -{matters}",
        EQUAL: f"shown between -{matters} and {matters}, fails beyond",
        NONINFERIOR: f"shown above -{matters}, fails below it",
        EXACT: f"at most {matters} for every seed",
        PUBLISHED: "shown where the printed values are ordinary draws of our single runs; fails "
        f"where they are not and our mean is more than {matters} away",
    }[kind]
