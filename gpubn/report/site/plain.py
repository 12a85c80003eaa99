"""Each claim and what was done about it, in the words of a student: `plain.yaml`.

A result there is a sentence with places for numbers in braces: a comparative ("{higher}", "{more
steps}"), a value by itself ("{value}"), or the change that a logarithm stands for ("{change}"), of
the quantity of the case, or of another one ("{higher:other}"), where `<case>` stands for the
quantity of the case. So no result is typed.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger
from gpubn.report.claims.entries import Entry, Text, at, read_yaml
from gpubn.report.claims.ledger import Claim, ClaimCase
from gpubn.report.site.amounts import (
    COMPARATIVES,
    Difference,
    Level,
    Ratio,
    Wording,
    count,
    number,
    signed,
)

FILE = Path(__file__).with_suffix(".yaml")
_SLOT = re.compile(r"\{(?P<word>[a-z]+)(?: (?P<noun>[a-z ]+))?(?::(?P<of>[\w<>]+))?\}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Slot(NamedTuple):
    """A place for a number in a result.

    Attributes:
        word: a comparative, "value", "change" or "interval".
        noun: what there is more of, "" where nothing is counted.
        of: the quantity, "" where it is that of the case.
    """

    word: str
    noun: str
    of: str


class Told(Entry):
    """A claim in plain words.

    Attributes:
        claim: what it says, as it goes on behind "claims that".
        we: what was done, as it goes on behind "We".
        how: a sentence more on how it counts.
        result: what came out, for every case that has none of its own.
        results: the same for cases by their quantity.
        when: conditions of cases by their quantity, in place of "when" and those of the ledger.
    """

    claim: Text
    we: Text
    how: Text | None = None
    result: Text | None = None
    results: dict[str, Text] = Field({})
    when: dict[str, Text] = Field({})

    def of(self, case: str) -> str:
        """Return the result of a case, by its quantity, as it is written."""
        return self.results.get(case) or self.result or ""

    def condition(self, case: ClaimCase) -> str:
        """Return when a case is met: "with batchnorm before tanh"; "" where it is the only one."""
        return self.when.get(case.quantity) or (f"when {case.when}" if case.when else "")

    def frame(self, case: str) -> str:
        """Return the result of a case with its quantity in place of `<case>`."""
        return self.of(case).replace("<case>", case)


@cache
def load_told(path: Path = FILE, rules: Path = ledger.FOLDER) -> dict[str, Told]:
    """Read the claims in plain words, by id.

    Raises:
        LedgerError: the file is malformed, or does not fit the ledger.
    """
    claims = ledger.load_ledger(rules).claims
    with at(f"{path.name}:"):
        raw = read_yaml(path)
        if not isinstance(raw, dict) or [*raw] != [*claims]:
            odd = {*raw} ^ {*claims} if isinstance(raw, dict) else set()
            raise LedgerError(
                f"differs in {', '.join(sorted(odd)) or 'the order'} from the claims of the "
                "ledger; expected each of them, in their order"
            )
        told = {}
        for id_, entry in raw.items():
            with at(f"{id_}:"):
                told[id_] = Told.read(entry)
                if faults := [*_faults(told[id_], claims[id_], entry)]:
                    raise LedgerError("\n".join(faults))
        return told


def slots(frame: str) -> list[Slot]:
    """Return the places for numbers in a result."""
    return [Slot(m["word"], m["noun"] or "", m["of"] or "") for m in _SLOT.finditer(frame)]


def filled(frame: str, texts: Iterator[str]) -> str:
    """Return a result with a text in each of its places."""
    return _SLOT.sub(lambda _: next(texts), frame)


def form_of(slot: Slot, unit: str) -> Wording:
    """Return how the values of a quantity of this unit are said in a place.

    Raises:
        LedgerError: they cannot be said so.
    """
    back = _back(unit)
    if slot.word == "change" and unit == "log ratio":
        return Level("%", lambda x: 100 * math.expm1(x), signed)
    if slot.word == "value":
        return _level(unit)
    if slot.word in COMPARATIVES:
        if unit in ("accuracy", *_SHARES):
            return Difference(slot.word, " percentage points", 100)
        if unit in ("nats", "standard deviations", "probability"):
            return Difference(slot.word, "" if unit == "probability" else f" {unit}")
        return Ratio(slot.word, slot.noun, back)
    raise LedgerError(f"says {slot.word!r} of {unit}; expected value or a comparative")


_SHARES = ("share", "share of units", "share of outputs", "of the spread between examples")
_COUNTS = ("numbers", "statements", "in beta")


def _back(unit: str) -> Callable[[float], float]:
    if unit.startswith("log"):
        return math.exp
    return _tens if unit.startswith("decades") else float


def _tens(x: float) -> float:
    return math.pow(10, x)


def _level(unit: str) -> Wording:
    if unit in ("accuracy", "relative", *_SHARES):
        return Level("%", lambda x: 100 * x)
    if unit in ("nats", "standard deviations"):
        return Level(f" {unit}")
    if unit == "plateaus":
        return Level(f" {unit}", written=count)
    return Level(back=_back(unit), written=count if unit in _COUNTS else number)


def _faults(told: Told, claim: Claim, entry: object) -> Iterator[str]:
    cases = [case.quantity for case in claim.cases]
    if odd := {*told.results, *told.when} - {*cases}:
        yield f"has {min(odd)!r}, which is no case; expected one of {', '.join(cases)}"
    for case in cases:
        frame = told.frame(case)
        own = 0
        for slot in slots(frame):
            quantity = claim.quantities.get(slot.of or case)
            if quantity is None:
                yield f"names the quantity {slot.of!r}; expected one of the claim's"
            elif slot.word != "interval":
                form_of(slot, quantity.unit)
                own += not slot.of
        if not own:
            yield f"has no result with a number for {case}; expected one"
        if "{" in _SLOT.sub("", frame):
            yield f"has the result {frame!r}; expected places such as {{higher}}"
    known = {"0", "1", *_NUMBER.findall(_design(claim))}
    if typed := [n for n in _NUMBER.findall(_SLOT.sub("", str(entry))) if n not in known]:
        yield f"types the number {typed[0]}; expected none that the ledger does not have"


def _design(claim: Claim) -> str:
    """Return what the ledger says of a claim's design, with every number that may be typed."""
    labels = [quantity.label for quantity in claim.quantities.values()]
    conditions = [case.when or "" for case in claim.cases]
    numbers = [f"{threshold.value:g}" for threshold in claim.thresholds.values()]
    words = (claim.text, claim.matters.why, claim.excluded, claim.note or "", claim.reason)
    return " ".join([*words, *labels, *conditions, *numbers])
