"""The page of the glossary."""

from collections.abc import Iterable

from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource
from gpubn.report.site.terms import PATH, load_glossary


def pages(source: SiteSource) -> Iterable[Page]:
    """Return the page of the glossary."""
    yield Page(
        PATH,
        "glossary.html.jinja",
        "Glossary",
        "What the words of these pages mean, in a sentence or two each.",
        {"groups": load_glossary().groups},
    )
