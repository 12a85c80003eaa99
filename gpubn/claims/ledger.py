"""The ledger: what each document claims, and the rules that decide it, as data.

One YAML file a document in `gpubn/claims/ledger/`. Every key is checked when the file is read: a
misspelt one is an error, never a rule that silently does not apply.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Any

import yaml

from gpubn.claims import expression, fields, measure, rules
from gpubn.claims.fields import at
from gpubn.errors import LedgerError

FOLDER = Path(__file__).parent / "ledger"
DOCUMENTS = {"A": 12, "B": 15, "C": 5, "D": 14}
"""Document -> number of claims."""
EXPECTED = tuple(f"{d}{n}" for d, count in DOCUMENTS.items() for n in range(1, count + 1))

REPRODUCED = "reproduced"
OTHER_VALUE = "reproduced, other value"
CONDITIONAL = "holds only when"
NOT_REPRODUCED = "not reproduced"
CONTRADICTED = "contradicted"
VERDICTS = (REPRODUCED, OTHER_VALUE, CONDITIONAL, NOT_REPRODUCED, CONTRADICTED)
BASES = ("words", "theory", "margin")
KINDS = ("mean", "proportion", "single")

_CLAIM = ("id", "claim", "contradicted_by", "measures", "quantities", "headline", "verdicts")
_QUANTITY_OPTIONAL = ("label", "kind", "scale", "predicted", "source")


@dataclass(frozen=True)
class Threshold:
    """A bound that rules use, and where it comes from."""

    value: float
    basis: str
    why: str


@dataclass(frozen=True)
class Quantity:
    """What a rule tests: one value a seed, from measures."""

    value: ast.expr
    unit: str
    label: str
    kind: str
    log: bool
    predicted: ast.expr | None
    source: str | None


@dataclass(frozen=True)
class Verdict:
    """A verdict, and the condition under which it is given; None holds always."""

    condition: rules.Condition | None
    rule: str
    text: str
    word: str


@dataclass(frozen=True)
class Claim:
    """One claim of one document, and the rule that decides it."""

    id: str
    text: str
    published: str | None
    contradicted_by: str
    thresholds: dict[str, Threshold]
    measures: dict[str, measure.Measure]
    quantities: dict[str, Quantity]
    headline: str
    verdicts: tuple[Verdict, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The stems of the tables that decide it."""
        return tuple(dict.fromkeys(m.table for m in self.measures.values()))

    @property
    def rule(self) -> str:
        """The whole rule on one line."""
        return "; ".join(verdict.rule for verdict in self.verdicts)

    def tests(self) -> list[rules.Test]:
        """Every test in its rule, each once."""
        conditions = [v.condition for v in self.verdicts if v.condition is not None]
        return list(dict.fromkeys(t for c in conditions for t in rules.tests_in(c)))


@dataclass(frozen=True)
class Ledger:
    """The titles of the documents and all claims, by id."""

    titles: dict[str, str]
    claims: dict[str, Claim]


def load(folder: Path = FOLDER) -> Ledger:
    """Read every YAML file of a folder.

    Raises:
        LedgerError: an entry is malformed, or an id stands there twice or is none.
    """
    titles: dict[str, str] = {}
    claims: dict[str, Claim] = {}
    for path in sorted(folder.glob("*.yaml")):
        with at(f"{path.name}:"):
            raw = fields.record(_read(path), ("document", "title", "claims"))
            document = fields.choice(raw, "document", DOCUMENTS)
            titles[document] = fields.text(raw, "title")
            if not isinstance(raw["claims"], list):
                raise LedgerError(f"claims is {raw['claims']!r}; expected a list")
        for entry in raw["claims"]:
            claim = _claim(entry, path.name, document)
            if claim.id in claims:
                raise LedgerError(f"{claim.id}: stands in the ledger twice; expected one entry")
            claims[claim.id] = claim
    return Ledger(titles, {id_: claims[id_] for id_ in EXPECTED if id_ in claims})


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice, {node.start_mark}")
        return super().construct_mapping(node, deep)


def _read(path: Path) -> object:
    try:
        return yaml.load(path.read_text(), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LedgerError(f"is no YAML ({' '.join(str(error).split())})") from error


def _claim(raw: object, file: str, document: str) -> Claim:
    with at(f"{file}: a claim"):
        given = fields.mapping(raw)
        id_ = fields.text(given, "id") if "id" in given else ""
    with at(f"{id_ or file}:"):
        given = fields.record(raw, _CLAIM, ("published", "thresholds"))
        if not re.fullmatch(f"{document}[0-9]+", id_) or id_ not in EXPECTED:
            last = f"{document}{DOCUMENTS[document]}"
            raise LedgerError(f"id is {id_!r}; expected {document}1 to {last}")
        names = _Names()
        thresholds = {
            name: _threshold(name, raw, names)
            for name, raw in fields.mapping(given.get("thresholds") or {}).items()
        }
        limits = {name: threshold.value for name, threshold in thresholds.items()}
        measures = {}
        for name, value in fields.mapping(given["measures"]).items():
            with at(f"measure {name}"):
                names.add(name)
                measures[name] = measure.parse(value, limits)
        quantities: dict[str, Quantity] = {}
        for name, value in fields.mapping(given["quantities"]).items():
            with at(f"quantity {name}"):
                quantities[name] = _quantity(name, value, (*limits, *measures, *quantities))
                names.add(name)
        return Claim(
            id_,
            fields.text(given, "claim"),
            fields.optional_text(given, "published"),
            fields.text(given, "contradicted_by"),
            thresholds,
            measures,
            quantities,
            fields.choice(given, "headline", quantities),
            tuple(_verdicts(given["verdicts"], quantities, limits)),
        )


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


def _threshold(name: str, raw: object, names: _Names) -> Threshold:
    with at(f"threshold {name}"):
        names.add(name)
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


def _verdicts(
    raw: object, quantities: dict[str, Quantity], limits: dict[str, float]
) -> Iterable[Verdict]:
    if not isinstance(raw, list) or not raw:
        raise LedgerError(f"verdicts is {raw!r}; expected a list that ends in else")
    for number, entry in enumerate(raw, 1):
        with at(f"verdict {number}"):
            last = number == len(raw)
            given = fields.record(entry, ("else",) if last else ("if", "verdict"), ("when",))
            word = fields.choice(given, "else" if last else "verdict", VERDICTS)
            if (word == CONDITIONAL) != ("when" in given):
                raise LedgerError(f"is {word!r}; expected a when for {CONDITIONAL!r} alone")
            text = f"{word} {fields.text(given, 'when')}" if "when" in given else word
            if last:
                yield Verdict(None, f"else {text}", text, word)
                continue
            condition, rule = rules.parse(given["if"], quantities, limits)
            for test in rules.tests_in(condition):
                _check_bounds(test, quantities[test.quantity])
            yield Verdict(condition, f"{text} if {rule}", text, word)


def _check_bounds(test: rules.Test, quantity: Quantity) -> None:
    if quantity.log and min(test.bounds) <= 0:
        raise LedgerError(f"tests {test.quantity} {test}; expected bounds above 0 on a log scale")
    if quantity.kind == "proportion" and not all(0 <= b <= 1 for b in test.bounds):
        raise LedgerError(f"tests {test.quantity} {test}; expected bounds in [0, 1] of a share")
