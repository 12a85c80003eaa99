"""The ledger: what each document claims and what decides it, as data.

One YAML file a document in `gpubn/report/claims/ledger/`. Every key is checked when the file is
read: a misspelt one is an error, never a rule that silently does not apply. A malformed entry keeps
its claim from a verdict, and no other.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Any

from gpubn.errors import LedgerError
from gpubn.report.claims import expression, fields, measure, rules
from gpubn.report.claims.fields import at

FOLDER = Path(__file__).parent / "ledger"
DOCUMENTS = {"A": 12, "B": 15, "C": 5, "D": 14}
"""Document -> number of claims."""
EXPECTED = tuple(f"{d}{n}" for d, count in DOCUMENTS.items() for n in range(1, count + 1))

BASES = ("words", "theory", "margin")
KINDS = ("mean", "proportion", "single")

_CLAIM = (
    *("id", "claim", "kind", "matters", "prediction", "artefact"),
    *("measures", "quantities", "cases"),
)
_CLAIM_OPTIONAL = ("published", "thresholds", "note")
_QUANTITY_OPTIONAL = ("label", "kind", "scale", "predicted", "source")


@dataclass(frozen=True)
class Threshold:
    """A number that decides, and where it comes from."""

    value: float
    basis: str
    why: str


@dataclass(frozen=True)
class Quantity:
    """One value a seed, from measures."""

    value: ast.expr
    unit: str
    label: str
    kind: str
    log: bool
    predicted: ast.expr | None
    source: str | None


@dataclass(frozen=True)
class Case:
    """The primary quantity where one condition is met.

    Attributes:
        quantity: its name.
        when: the condition, as it stands in the verdict; None where there is one case alone.
        published: what the document prints for the quantity, as the range that rounds to it.
        beside: other quantities -> what the document prints for them in the same run.
    """

    quantity: str
    when: str | None
    published: tuple[float, float] | None
    beside: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Prediction:
    """The verdict that the literature leads one to expect, written before the numbers were seen."""

    verdict: str
    why: str
    source: str


@dataclass(frozen=True)
class Artefact:
    """A way in which the verdict could be an artefact, and how it was excluded."""

    threat: str
    excluded: str


@dataclass(frozen=True)
class Claim:
    """One claim of one document, and what decides it.

    Attributes:
        kind: which of the rules in `gpubn.report.claims.rules` decides it.
        matters: the smallest effect that matters; of an `exact` claim the tolerance.
    """

    id: str
    text: str
    published: str | None
    kind: str
    matters: Threshold
    prediction: Prediction
    artefact: Artefact
    note: str | None
    thresholds: dict[str, Threshold]
    measures: dict[str, measure.Measure]
    quantities: dict[str, Quantity]
    cases: tuple[Case, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The stems of the tables that it reads."""
        return tuple(dict.fromkeys(m.table for m in self.measures.values()))

    @property
    def decisive(self) -> dict[str, measure.Measure]:
        """The measures that its cases rest on, by name."""
        waiting = [c.quantity for c in self.cases] + [q for c in self.cases for q in c.beside]
        names: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in names:
                names.add(name)
                if name in self.quantities:
                    waiting += expression.names_in(self.quantities[name].value)
        return {name: m for name, m in self.measures.items() if name in names}


@dataclass(frozen=True)
class Ledger:
    """The titles of the documents, all sound claims by id, and what is wrong with the others."""

    titles: dict[str, str]
    claims: dict[str, Claim]
    faults: dict[str, str] = field(default_factory=dict)


def load(folder: Path = FOLDER) -> Ledger:
    """Read every YAML file of a folder.

    Raises:
        LedgerError: a file is malformed, or an id stands there twice or is none.
    """
    titles: dict[str, str] = {}
    claims: dict[str, Claim] = {}
    faults: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        with at(f"{path.name}:"):
            raw = fields.record(fields.read(path), ("document", "title", "claims"))
            document = fields.choice(raw, "document", DOCUMENTS)
            titles[document] = fields.text(raw, "title")
            if not isinstance(raw["claims"], list):
                raise LedgerError(f"claims is {raw['claims']!r}; expected a list")
        for entry in raw["claims"]:
            id_ = _id(entry, path.name, document)
            if id_ in claims or id_ in faults:
                raise LedgerError(f"{id_}: stands in the ledger twice; expected one entry")
            try:
                with at(f"{id_}:"):
                    claims[id_] = _claim(id_, entry)
            except LedgerError as error:
                faults[id_] = str(error)
    return Ledger(titles, {id_: claims[id_] for id_ in EXPECTED if id_ in claims}, faults)


def _id(raw: object, file: str, document: str) -> str:
    with at(f"{file}: a claim"):
        given = fields.mapping(raw)
        if "id" not in given:
            raise LedgerError("has no id; expected one")
        id_ = fields.text(given, "id")
    if not re.fullmatch(f"{document}[0-9]+", id_) or id_ not in EXPECTED:
        last = f"{document}{DOCUMENTS[document]}"
        raise LedgerError(f"{file}: id is {id_!r}; expected {document}1 to {last}")
    return id_


def _claim(id_: str, raw: object) -> Claim:
    given = fields.record(raw, _CLAIM, _CLAIM_OPTIONAL)
    names = _Names()
    thresholds = {}
    for name, value in _mapping(given, "thresholds").items():
        with at(f"threshold {name}"):
            names.add(name)
            thresholds[name] = _threshold(value)
    limits = {name: threshold.value for name, threshold in thresholds.items()}
    measures = {}
    for name, value in _mapping(given, "measures").items():
        with at(f"measure {name}"):
            names.add(name)
            measures[name] = measure.parse(value, limits)
    quantities: dict[str, Quantity] = {}
    for name, value in _mapping(given, "quantities").items():
        with at(f"quantity {name}"):
            quantities[name] = _quantity(name, value, (*limits, *measures, *quantities))
            names.add(name)
    kind = fields.choice(given, "kind", rules.KINDS)
    with at("matters"):
        matters = _threshold(given["matters"])
        if matters.value <= 0:
            raise LedgerError(f"has value {matters.value:g}; expected more than 0")
    with at("prediction"):
        said = fields.record(given["prediction"], ("verdict", "why", "source"))
        prediction = Prediction(
            fields.choice(said, "verdict", rules.VERDICTS),
            fields.text(said, "why"),
            fields.text(said, "source"),
        )
    with at("artefact"):
        said = fields.record(given["artefact"], ("threat", "excluded"))
        artefact = Artefact(fields.text(said, "threat"), fields.text(said, "excluded"))
    return Claim(
        id_,
        fields.text(given, "claim"),
        fields.optional_text(given, "published"),
        kind,
        matters,
        prediction,
        artefact,
        fields.optional_text(given, "note"),
        thresholds,
        measures,
        quantities,
        tuple(_cases(given["cases"], kind, quantities, limits)),
    )


def _mapping(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    with at(key):
        return fields.mapping(given.get(key, {}))


class _Names:
    """Names given so far in a claim, each for one thing."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def add(self, name: str) -> None:
        """Refuse a name that is none, is taken, or means something already."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or iskeyword(name):
            raise LedgerError(f"is named {name!r}; expected letters, digits and _")
        if name in self._taken or name in expression.RESERVED:
            raise LedgerError(f"is named {name!r}, which is taken; expected another name")
        self._taken.add(name)


def _threshold(raw: object) -> Threshold:
    given = fields.record(raw, ("value", "basis", "why"))
    value = expression.constant(expression.parse(given["value"], ()), {})
    return Threshold(value, fields.choice(given, "basis", BASES), fields.text(given, "why"))


def _quantity(name: str, raw: object, known: Iterable[str]) -> Quantity:
    given = fields.record(raw, ("value", "unit"), _QUANTITY_OPTIONAL)
    if ("predicted" in given) != ("source" in given):
        raise LedgerError("has one of predicted and source; expected both or neither")
    kind = fields.choice(given, "kind", KINDS) if "kind" in given else "mean"
    log = "scale" in given and fields.choice(given, "scale", ("log",)) == "log"
    if log and kind != "mean":
        raise LedgerError(f"has scale log and kind {kind}; expected kind mean")
    names = tuple(known)
    predicted = None
    if "predicted" in given:
        with at("has a prediction that"):
            predicted = expression.parse(given["predicted"], names)
    return Quantity(
        expression.parse(given["value"], names),
        fields.text(given, "unit"),
        fields.text(given, "label") if "label" in given else name,
        kind,
        log,
        predicted,
        fields.optional_text(given, "source"),
    )


def _cases(
    raw: object, kind: str, quantities: Mapping[str, Quantity], limits: Mapping[str, float]
) -> Iterable[Case]:
    if not isinstance(raw, list) or not raw:
        raise LedgerError(f"cases is {raw!r}; expected a list with the primary quantity")
    seen: set[str] = set()
    conditions: set[str] = set()
    for number, entry in enumerate(raw, 1):
        with at(f"case {number}"):
            given = fields.record(entry, ("quantity",), ("when", "published", "beside"))
            name = fields.choice(given, "quantity", quantities)
            if name in seen:
                raise LedgerError(f"has quantity {name!r}, as another case; expected its own")
            seen.add(name)
            quantity = quantities[name]
            allowed = ("mean", "single") if kind == rules.EXACT else ("mean",)
            if quantity.log or quantity.kind not in allowed:
                raise LedgerError(
                    f"has quantity {name!r} of kind {quantity.kind}, scale "
                    f"{'log' if quantity.log else 'linear'}; expected a mean on a linear scale"
                )
            if "when" in given and len(raw) == 1:
                raise LedgerError(
                    f"has the condition {given['when']!r} and no counter-test; expected another "
                    "case in which it is not met"
                )
            if "when" not in given and len(raw) > 1:
                raise LedgerError("has no when; expected what tells it from the other cases")
            if ("published" in given) < (kind == rules.PUBLISHED):
                raise LedgerError("has nothing published; expected what the document prints")
            if ("published" in given or "beside" in given) and kind in (rules.EQUAL, rules.EXACT):
                raise LedgerError(f"has published values; expected none of a claim of kind {kind}")
            if "beside" in given and "published" not in given:
                raise LedgerError("has printed values beside it and none of its own; expected both")
            beside = {}
            for other, value in _mapping(given, "beside").items():
                if other not in quantities or other == name or quantities[other].kind != "mean":
                    raise LedgerError(f"has {other!r} beside it; expected another mean")
                beside[other] = _range(value, limits)
            published = _range(given["published"], limits) if "published" in given else None
            when = fields.text(given, "when") if "when" in given else None
            if when in conditions:
                raise LedgerError(f"has when {when!r}, as another case; expected its own")
            conditions |= {when} if when else set()
            yield Case(name, when, published, beside)


def _range(raw: object, limits: Mapping[str, float]) -> tuple[float, float]:
    """Return the two bounds that a printed number stands for, each a number or an expression."""
    if not isinstance(raw, list) or len(raw) != 2:
        raise LedgerError(f"has the printed value {raw!r}; expected [lowest, highest]")
    low, high = (expression.constant(expression.parse(v, limits), limits) for v in raw)
    if not low < high:
        raise LedgerError(f"has the printed value {raw!r}; expected the lowest first")
    return low, high
