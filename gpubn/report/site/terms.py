"""Terms of the glossary, and links to it from texts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from markupsafe import Markup, escape
from pydantic import Field

from gpubn.errors import LedgerError
from gpubn.report.claims.entries import Entry, Text, at, read_yaml

FILE = Path(__file__).with_name("glossary.yaml")
PATH = "glossary.html"
_TAG = re.compile(r"(<[^>]*>)")
_OPAQUE = re.compile(r"<(/?)(a|code|pre|button|summary|script|style)\b", re.IGNORECASE)
"""Elements in which no link is made."""


class Term(Entry):
    """A term: other forms of it that texts have, and what it means.

    Attributes:
        common: texts have no link from it.
    """

    term: Text
    also: list[Text] = Field([])
    says: Text
    common: bool = False

    @property
    def anchor(self) -> str:
        """Its place on the page: "log-ratio"."""
        return re.sub(r"[^a-z0-9]+", "-", self.term.lower()).strip("-")


class _Group(Entry):
    group: Text
    terms: list[Term]


@dataclass(frozen=True)
class Glossary:
    """Groups of terms, by their heading."""

    groups: Mapping[str, list[Term]]

    def mark(self, text: str, page: str = PATH, own: str = "") -> Markup:
        """Return a text in which the first occurrence of each term leads to the glossary.

        Whole words alone count, and none in a tag or a link. Text that is no markup is escaped;
        what is marked already stays as it is.

        Args:
            page: the way to the glossary.
            own: the place there of a term that gets no link.
        """
        markup, inside, parts = str(escape(text)), 0, []
        linked = {own, *(a for a in self._anchors.values() if f'{PATH}#{a}"' in markup)}

        def link(found: re.Match[str]) -> str:
            word = found[0]
            anchor = self._anchors.get(word) or self._anchors[word.lower()]
            if anchor in linked:
                return word
            linked.add(anchor)
            return f'<a class="term" href="{page}#{anchor}">{word}</a>'

        for part in _TAG.split(markup):
            if part.startswith("<"):
                if tag := _OPAQUE.match(part):
                    inside += -1 if tag[1] else 1
                parts.append(part)
            else:
                parts.append(part if inside else self._pattern.sub(link, part))
        return Markup("".join(parts))

    @cached_property
    def _anchors(self) -> dict[str, str]:
        """Form of a term, as it stands in markup -> the term's place on the page."""
        terms = [term for terms in self.groups.values() for term in terms if not term.common]
        return {str(escape(f)): t.anchor for t in terms for f in (t.term, *t.also)}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        forms = sorted(self._anchors, key=len, reverse=True)
        each = (f"(?i:{re.escape(f)})" if f == f.lower() else re.escape(f) for f in forms)
        return re.compile(rf"(?<![\w&#-])(?:{'|'.join(each)})(?![\w-])")


@cache
def load_glossary(path: Path = FILE) -> Glossary:
    """Read the glossary.

    Raises:
        LedgerError: it is malformed, or has a form of a term twice.
    """
    with at(f"{path.name}:"):
        raw = read_yaml(path)
        if not isinstance(raw, list):
            raise LedgerError(f"is {raw!r}; expected a list of groups")
        groups = {group.group: group.terms for group in map(_Group.read, raw)}
        forms = [f.lower() for terms in groups.values() for t in terms for f in (t.term, *t.also)]
        anchors = [term.anchor for terms in groups.values() for term in terms]
        for each in (forms, anchors):
            if twice := [form for form in each if each.count(form) > 1]:
                raise LedgerError(f"has {twice[0]!r} twice; expected it once")
    return Glossary(groups)
