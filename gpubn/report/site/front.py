"""The front page."""

from collections.abc import Iterable

from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource


def pages(source: SiteSource) -> Iterable[Page]:
    """Return the front page."""
    yield Page(
        "index.html",
        "front.html.jinja",
        "What batch normalization really does",
        "Every claim of four documents on batch normalization, run again and decided by a rule.",
        {"decisions": source.decisions},
    )
