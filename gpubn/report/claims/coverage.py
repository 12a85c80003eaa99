"""Coverage: what each document says that can be tested, and which claim decides it, as data.

One YAML file a document in `coverage/` of a ledger's folder. It lists in the document's order, in
our own words, its passages: every testable sentence, every equation, listing and plot. Each names
the one claim that decides it, or says why it is out of scope. A ledger without that folder, as an
extension's, has no coverage and needs none.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from gpubn.errors import LedgerError
from gpubn.report.claims.entries import Entry, Text, at, read_yaml
from gpubn.report.claims.ledger import ID, Ledger

PassageKind = Literal["sentence", "equation", "listing", "plot"]
PASSAGE_KINDS: tuple[PassageKind, ...] = get_args(PassageKind)
_NEEDED = {"listing": ("runs", "computes"), "plot": ("twin", "image")}
"""Kind of passage -> the keys that it needs, and no other kind has."""


def _one_id(raw: object) -> str:
    if not isinstance(raw, str) or not re.fullmatch(ID, raw):
        raise LedgerError(f"has claim {raw!r}; expected exactly one claim's id, such as A7")
    return raw


class Passage(Entry):
    """A sentence, equation, listing or plot of a document.

    Attributes:
        says: what it says, in our own words.
        claim: the id of the claim that decides it; None where it is out of scope.
        out_of_scope: why no claim decides it.
        runs: whether a listing runs, under which versions, and what stops it.
        computes: what a listing really computes.
        twin: the figure that redraws a plot.
        printed: the values that stand in a plot.
        image: of a plot, what is known of the picture itself.
    """

    kind: PassageKind
    says: Text
    claim: Annotated[str | None, BeforeValidator(_one_id)] = None
    out_of_scope: Text | None = None
    runs: Text | None = None
    computes: Text | None = None
    twin: Text | None = None
    printed: Text | None = None
    image: Text | None = None

    def check(self) -> None:
        if (self.claim is None) == (self.out_of_scope is None):
            said = "neither" if self.claim is None else "both"
            raise LedgerError(f"has {said} of claim and out_of_scope; expected exactly one of them")
        if self.printed is not None and self.kind != "plot":
            raise LedgerError(f"has printed and kind {self.kind}; expected kind plot")
        for kind, keys in _NEEDED.items():
            for key in keys:
                if (getattr(self, key) is None) == (kind == self.kind):
                    has = f"no {key}" if kind == self.kind else key
                    expected = f"expected {key} of a {kind} and of no other kind"
                    raise LedgerError(f"has kind {self.kind} and {has}; {expected}")


@dataclass(frozen=True)
class Section:
    """Passages of a document under one heading, by their number in the document."""

    heading: str
    passages: dict[int, Passage]


@dataclass(frozen=True)
class Coverage:
    """The sections of each document, by letter, and what is wrong with passages that lack."""

    documents: dict[str, list[Section]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def passages(self) -> Iterator[tuple[str, int, Passage]]:
        """Return letter, number and passage of all, in order."""
        for letter, sections in self.documents.items():
            for section in sections:
                for number, passage in section.passages.items():
                    yield letter, number, passage

    def decided_by(self, claim: str) -> list[tuple[str, int, Passage]]:
        """Return the passages that a claim decides."""
        return [found for found in self.passages() if found[2].claim == claim]

    def faults_against(self, ledger: Ledger, figures: Collection[str]) -> list[str]:
        """Return all that is wrong, a sentence each; nothing where there is no coverage.

        Args:
            figures: the names of the figure scripts.
        """
        if not self.documents:
            return []
        claims = ledger.expected
        absent = (letter for letter in ledger.titles if letter not in self.documents)
        said = [*self.faults, *(f"{d}.yaml: is not there; expected its passages" for d in absent)]
        first: dict[tuple[str, str], int] = {}
        for letter, number, passage in self.passages():
            place = _place(letter, number, passage.says)
            if passage.claim not in (None, *claims):
                said.append(f"{place} has claim {passage.claim!r}; expected one of the ledger")
            if passage.twin not in (None, *figures):
                expected = "expected the name of a script in scripts/figures"
                said.append(f"{place} has twin {passage.twin!r}; {expected}")
            words = " ".join(re.findall(r"\w+", passage.says.casefold()))
            if (before := first.setdefault((letter, words), number)) != number:
                said.append(f"{place} says the same as entry {before}; expected it once")
        decisive = {passage.claim for _, _, passage in self.passages()}
        orphans = (id_ for id_ in claims if id_ not in decisive)
        return said + [
            f"{i[0]}.yaml: no entry has claim {i}; expected one or more" for i in orphans
        ]


class _Group(Entry):
    heading: Text
    passages: list[dict[str, Any]] = Field(min_length=1, description="a list of passages")


class _File(Entry):
    document: Text = Field(pattern="^[A-Z]$", description="a capital letter")
    sections: list[_Group] = Field(min_length=1, description="a list of sections")


def load_coverage(folder: Path) -> Coverage:
    """Read the coverage of a ledger from its folder; a passage that is malformed is left out."""
    found = Coverage()
    for path in sorted((folder / "coverage").glob("*.yaml")):
        sections = found.documents[path.stem] = []
        try:
            with at(f"{path.name}:"):
                file = _File.read(read_yaml(path))
                if file.document != path.stem:
                    expected = f"expected {path.stem!r}, as the file is called"
                    raise LedgerError(f"has document {file.document!r}; {expected}")
        except LedgerError as error:
            found.faults.extend(str(error).splitlines())
            continue
        numbers = count(1)
        for group in file.sections:
            section = Section(group.heading, {})
            sections.append(section)
            for raw, number in zip(group.passages, numbers, strict=False):
                try:
                    with at(_place(file.document, number, raw.get("says"))):
                        section.passages[number] = Passage.read(raw)
                except LedgerError as error:
                    found.faults.extend(str(error).splitlines())
    return found


def _place(letter: str, number: int, says: object) -> str:
    """Return how an entry is called: file, number, and how it begins."""
    begins = str(says or "")
    begins = begins if len(begins) < 40 else begins[:40].rsplit(" ", 1)[0] + " ..."
    return f"{letter}.yaml: entry {number}{f' ({begins})' if begins else ''}"
