"""The ledger: what each document claims and what decides it, as data.

One YAML file a document in `gpubn/report/claims/ledger/`, or in that of an extension. Every key is
checked when the file is read: a misspelt one is an error, never a rule that silently does not
apply. A malformed entry keeps its claim from a verdict, and no other.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo

from gpubn.errors import LedgerError
from gpubn.report.claims import expression, rules
from gpubn.report.claims.entries import Entry, Text, at, read_yaml
from gpubn.report.claims.expression import Expression
from gpubn.report.claims.measure import Measure
from gpubn.report.claims.selections import written_out

FOLDER = Path(__file__).parent / "ledger"
ID = r"[A-Z][1-9]\d{,3}"
"""The form of a claim's id: its document and its number."""


def _printed(raw: object, info: ValidationInfo) -> tuple[float, float]:
    """Return the two bounds that a printed number stands for, each a number or an expression."""
    if not isinstance(raw, list) or len(raw) != 2:
        raise LedgerError(f"has the printed value {raw!r}; expected [lowest, highest]")
    low, high = (Expression.parse(value).number(info.context or {}) for value in raw)
    if not low < high:
        raise LedgerError(f"has the printed value {raw!r}; expected the lowest first")
    return low, high


def _prediction(raw: object) -> Expression:
    with at("has a prediction that"):
        return Expression.parse(raw)


_Range = tuple[float, float]


class Threshold(Entry):
    """A number that decides, and where it comes from."""

    value: Annotated[float, BeforeValidator(lambda raw: Expression.parse(raw).number({}))]
    basis: Literal["words", "theory", "margin"]
    why: Text


def _above_zero(threshold: Threshold) -> Threshold:
    if threshold.value <= 0:
        raise LedgerError(f"matters has value {threshold.value:g}; expected more than 0")
    return threshold


def _remembered(thresholds: dict[str, Threshold], info: ValidationInfo) -> dict[str, Threshold]:
    """Let measures and printed values name thresholds."""
    if info.context is not None:
        info.context.update({name: threshold.value for name, threshold in thresholds.items()})
    return thresholds


class Quantity(Entry):
    """One value a seed, from measures; its source says why it is `predicted`.

    Attributes:
        weakest: in place of a value the quantities all of which a claim needs: it is the one of the
            smallest mean, shown where each is shown, and has no opposite.
    """

    value: Annotated[Expression | None, BeforeValidator(Expression.parse)] = None
    weakest: list[Text] = Field([], description="a list of quantities")
    unit: Text
    label: Text = ""
    kind: Literal["mean", "proportion", "single"] = "mean"
    scale: Literal["log"] | None = None
    predicted: Annotated[Expression | None, BeforeValidator(_prediction)] = None
    source: Text | None = None

    def check(self) -> None:
        if (self.value is None) != bool(self.weakest):
            raise LedgerError("has a value and weakest, or neither; expected one of the two")
        if self.weakest and (len({*self.weakest}) < 2 or self.kind != "mean" or self.log):
            raise LedgerError("is the weakest of one, or no mean; expected that of several means")
        if (self.predicted is None) != (self.source is None):
            raise LedgerError("has one of predicted and source; expected both or neither")
        if self.log and self.kind != "mean":
            raise LedgerError(f"has scale log and kind {self.kind}; expected kind mean")

    @property
    def names(self) -> frozenset[str]:
        """The names of what it is made of."""
        return self.value.names if self.value else frozenset(self.weakest)

    @property
    def log(self) -> bool:
        """True where its mean is that of logarithms."""
        return self.scale == "log"


class ClaimCase(Entry):
    """The primary quantity where one condition is met.

    Attributes:
        quantity: its name.
        when: the condition, as it stands in the verdict; None where there is one case alone.
        published: what the document prints for the quantity, as the range that rounds to it.
        beside: other quantities -> what the document prints for them in the same run.
    """

    quantity: Text
    when: Text | None = None
    published: Annotated[_Range | None, BeforeValidator(_printed)] = None
    beside: dict[str, Annotated[_Range, BeforeValidator(_printed)]] = Field({})


class Claim(Entry):
    """One claim of one document, and what decides it.

    Attributes:
        kind: which of the rules in `gpubn.report.claims.rules` decides it.
        matters: the smallest effect that matters; of an `exact` claim the tolerance.
        predicted: the verdict that the literature leads one to expect, written before the numbers
            were seen; `reason` and `source` say why.
        threat, excluded: what would make the verdict an artefact, and how it was excluded.
    """

    id: Text
    text: Text = Field(alias="claim")
    kind: rules.Kind
    matters: Annotated[Threshold, AfterValidator(_above_zero)]
    predicted: rules.Word
    reason: Text
    source: Text
    threat: Text
    excluded: Text
    thresholds: Annotated[dict[str, Threshold], AfterValidator(_remembered)] = Field({})
    measures: dict[str, Measure]
    quantities: dict[str, Quantity]
    cases: list[ClaimCase] = Field(min_length=1, description="a list with the primary quantity")
    published: Text | None = None
    note: Text | None = None

    def check(self) -> None:
        known: list[str] = []
        for name in self.thresholds:
            _add_name("threshold", name, known)
        for name in self.measures:
            _add_name("measure", name, known)
        for name, quantity in self.quantities.items():
            with at(f"quantity {name}"):
                if quantity.value:
                    quantity.value.require(known)
                self._refuse_weakest(quantity, known)
                if quantity.predicted:
                    with at("has a prediction that"):
                        quantity.predicted.require(known)
            _add_name("quantity", name, known)
            quantity.label = quantity.label or name
        for number, case in enumerate(self.cases):
            with at(f"case {number + 1}"):
                self._refuse_case(case, self.cases[:number])

    def _refuse_weakest(self, quantity: Quantity, known: Collection[str]) -> None:
        """Refuse the weakest of what are no means before it in its unit, or of another rule."""
        for name in quantity.weakest:
            part = self.quantities.get(name) if name in known else None
            if part is None or part.weakest or part.kind != "mean" or part.log:
                raise LedgerError(
                    f"is the weakest of {name!r}; expected means that stand before it"
                )
            if part.unit != quantity.unit:
                raise LedgerError(f"is in {quantity.unit}, and {name} in {part.unit}; expected one")
        if quantity.weakest and self.kind != rules.EFFECT:
            raise LedgerError(f"is the weakest of several in a claim of kind {self.kind}")

    def _refuse_case(self, case: ClaimCase, before: list[ClaimCase]) -> None:
        """Refuse a case that does not suit the claim, or the cases before it."""
        name, given = case.quantity, case.model_fields_set
        if name not in self.quantities:
            known = ", ".join(self.quantities)
            raise LedgerError(f"has quantity {name!r}; expected one of {known}")
        if name in [other.quantity for other in before]:
            raise LedgerError(f"has quantity {name!r}, as another case; expected its own")
        quantity = self.quantities[name]
        allowed = ("mean", "single") if self.kind == rules.EXACT else ("mean",)
        if quantity.log or quantity.kind not in allowed:
            kind = f"kind {quantity.kind}, scale {quantity.scale or 'linear'}"
            raise LedgerError(f"has quantity {name!r} of {kind}; expected a mean on a linear scale")
        if case.when and len(self.cases) == 1:
            said = "expected another case in which it is not met"
            raise LedgerError(f"has the condition {case.when!r} and no counter-test; {said}")
        if not case.when and len(self.cases) > 1:
            raise LedgerError("has no when; expected what tells it from the other cases")
        if case.when and case.when in [other.when for other in before]:
            raise LedgerError(f"has when {case.when!r}, as another case; expected its own")
        if case.published is None and self.kind == rules.PUBLISHED:
            raise LedgerError("has nothing published; expected what the document prints")
        if given & {"published", "beside"} and self.kind not in (rules.EFFECT, rules.PUBLISHED):
            raise LedgerError(f"has published values; expected none of a claim of kind {self.kind}")
        if quantity.weakest and case.published is not None:
            raise LedgerError("has a printed value for the weakest of several; expected none")
        if "beside" in given and case.published is None:
            raise LedgerError("has printed values beside it and none of its own; expected both")
        for other in case.beside:
            if other == name or getattr(self.quantities.get(other), "kind", None) != "mean":
                raise LedgerError(f"has {other!r} beside it; expected another mean")

    @property
    def tables(self) -> tuple[str, ...]:
        """The stems of the tables that it reads."""
        return tuple(dict.fromkeys(m.table for m in self.measures.values()))

    @property
    def decisive(self) -> dict[str, Measure]:
        """The measures that its cases rest on, by name."""
        names = {name for case in self.cases for name in (case.quantity, *case.beside)}
        for name in reversed(self.quantities):  # each is made of what stands before it
            if name in names:
                names |= self.quantities[name].names
        return {name: m for name, m in self.measures.items() if name in names}


def _add_name(kind: str, name: str, taken: list[str]) -> None:
    """Add a name to those that are taken, unless it is none or means something already."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or iskeyword(name):
        raise LedgerError(f"{kind} {name} is named {name!r}; expected letters, digits and _")
    if name in taken or name in expression.RESERVED:
        raise LedgerError(f"{kind} {name} is named {name!r}, which is taken; expected another name")
    taken.append(name)


@dataclass(frozen=True)
class Ledger:
    """The titles of the documents, all sound claims by id, and what is wrong with the others."""

    titles: dict[str, str]
    claims: dict[str, Claim]
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> tuple[str, ...]:
        """The ids of all claims: of each document from 1 to its highest number."""
        numbers: dict[str, int] = {}
        for id_ in (*self.claims, *self.faults):
            numbers[id_[0]] = max(numbers.get(id_[0], 0), int(id_[1:]))
        return tuple(f"{d}{n}" for d in sorted(numbers) for n in range(1, numbers[d] + 1))


class _ShortClaim(Entry):
    """A claim before its short forms are written out: anything that has an id."""

    model_config = ConfigDict(extra="allow")
    id: Text


class _File(Entry):
    """A file of the ledger: a document, selections that its claims may use, and its claims."""

    document: Text = Field(pattern="^[A-Z]$", description="a capital letter")
    title: Text
    claims: list[_ShortClaim]
    selections: dict[str, dict[str, Any]] = Field({})

    def check(self) -> None:
        for claim in self.claims:
            if not re.fullmatch(ID, claim.id) or claim.id[0] != self.document:
                raise LedgerError(f"id is {claim.id!r}; expected {self.document} and a number")


def load_ledger(folder: Path = FOLDER) -> Ledger:
    """Read every YAML file of a folder.

    Raises:
        LedgerError: a file is malformed, or an id stands there twice or is none.
    """
    titles: dict[str, str] = {}
    claims: dict[str, Claim] = {}
    faults: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        with at(f"{path.name}:"):
            file = _File.read(read_yaml(path))
        titles[file.document] = file.title
        for entry in file.claims:
            if entry.id in claims or entry.id in faults:
                raise LedgerError(f"{entry.id}: stands in the ledger twice; expected one entry")
            try:
                with at(f"{entry.id}:"):
                    claims[entry.id] = Claim.read(written_out(dict(entry), file.selections))
            except LedgerError as error:
                faults[entry.id] = str(error)
    in_order = sorted(claims, key=lambda id_: (id_[0], int(id_[1:])))
    return Ledger(titles, {id_: claims[id_] for id_ in in_order}, faults)
