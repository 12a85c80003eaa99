"""A page of the site: where it stands, the template that it is made by, and what that is given."""

import math
import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from gpubn.errors import SiteError
from gpubn.report.claims import rules
from gpubn.report.claims.infer import Estimate
from gpubn.report.site.terms import PATH as GLOSSARY
from gpubn.report.site.terms import load_glossary

TEMPLATES = Path(__file__).parent / "templates"
SIGNS = {
    "reproduced": "●",
    "reproduced, other value": "≈",
    "holds only when": "◆",
    "not reproduced": "–",
    "contradicted": "×",
    "undecided": "?",
    "no verdict": "!",
}
"""Verdict -> the sign that stands for it in the raster, beside its colour."""
NAVIGATION = {
    "index.html": "Overview",
    "claims/index.html": "Claims",
    "documents/index.html": "Documents",
    "laboratory/index.html": "Laboratory",
    "experiments/index.html": "Experiments",
    "theory.html": "Theory",
    "benchmarks.html": "Benchmarks",
    "verdicts.html": "Method",
    "history.html": "History",
    "glossary.html": "Glossary",
    "notebooks/index.html": "Notebooks",
    "api/index.html": "API",
}
"""Path -> name of the pages that every page leads to, where the site has them."""

_LOGARITHMS: dict[str, Callable[[float], float]] = {
    "log ratio": math.exp,
    "log nats": math.exp,
    "decades": lambda x: 10.0**x,
}
"""The beginning of a logarithm's unit -> what turns it back."""


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        path: relative to the site's root, such as "claims/a1.html".
        template: the name of its template, which extends "base.html.jinja".
        title: what stands in the window and in lists.
        description: a sentence on what the page shows.
        context: what the template is given, beside `page` and `root`.
    """

    path: str
    template: str
    title: str
    description: str
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The way from the page to the site's root: "" or "../"."""
        return "../" * self.path.count("/")

    def render(
        self, paths: Collection[str] = (), exhibits: "Mapping[str, Sequence[Page]] | None" = None
    ) -> bytes:
        """Return the page in HTML.

        Args:
            paths: those of all pages and files of the site.
            exhibits: stem of a table -> the pages of the laboratory that show it.

        Raises:
            SiteError: its template is missing or broken.
        """
        try:
            text = (
                _environment(TEMPLATES)
                .get_template(self.template)
                .render(
                    **self.context,
                    page=self,
                    root=self.root,
                    paths=paths,
                    to_play=exhibits or {},
                    navigation=[(p, name) for p, name in NAVIGATION.items() if p in paths],
                )
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            number_of_line = getattr(error, "lineno", None)
            line = f", line {number_of_line}" if number_of_line else ""
            raise SiteError(
                f"the template {self.template} cannot make {self.path} ({said}{line}); expected "
                "one that is whole and names nothing that is not there"
            ) from error
        return text.encode()


def word_class(word: str) -> str:
    """Return the class of style sheets for a verdict or another word: "holds-only-when"."""
    return "-".join(word.replace(",", "").split())


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["word_class"] = word_class
    environment.filters["number"] = number
    environment.filters["turned_back"] = turned_back
    environment.filters["to"] = _to
    environment.filters["terms"] = _terms
    environment.globals |= {"signs": SIGNS, "verdicts": rules.VERDICTS}
    return environment


@pass_context
def _to(context: Context, path: str) -> str:
    """Return the way from the page that is made to another place of the site."""
    here = posixpath.dirname(context["page"].path)
    place, sign, anchor = path.partition("#")
    return posixpath.relpath(place, here or ".") + sign + anchor


@pass_context
def _terms(context: Context, text: str, own: str = "") -> Markup:
    """Return a text whose terms lead to the glossary, but for its own."""
    return load_glossary().mark(text, _to(context, GLOSSARY), own)


def number(value: float | str, digits: int = 4) -> Markup | str:
    """Return a number as people write it: 3.5 × 10⁻³⁵, with a minus sign; text that is none as is.

    Args:
        digits: how many that count are kept.
    """
    try:
        text = f"{float(value):.{digits}g}"
    except ValueError:
        return str(value)
    mantissa, _, exponent = text.replace("-", "−").partition("e")
    if not exponent:
        return mantissa
    power = (
        exponent.lstrip("+").lstrip("0") if exponent[0] != "−" else "−" + exponent[1:].lstrip("0")
    )
    return Markup(f"{mantissa} × 10<sup>{power}</sup>")


def turned_back(estimate: Estimate, unit: str) -> Markup | str:
    """Return a logarithm and its interval as the factor that it stands for; "" of what is none."""
    turn = next((turn for start, turn in _LOGARITHMS.items() if unit.startswith(start)), None)
    if turn is None:
        return ""
    mean, *ends = (number(turn(x), 3) for x in (estimate.mean, estimate.low, estimate.high))
    return Markup("{} [{}, {}]").format(mean, *ends) if estimate.low < estimate.high else mean
