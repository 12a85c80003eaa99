"""Texts of reports, whose Markdown is of a few kinds alone, as HTML."""

import re

from markupsafe import Markup, escape


def html_of(markdown: str) -> Markup:
    """Return paragraphs in HTML, with **strong**, *stressed* and `code`; headings are left out."""
    paragraphs = re.split(r"\n\s*\n", markdown.strip())
    kept = (" ".join(text.split()) for text in paragraphs if not text.startswith("#"))
    return Markup("\n").join(Markup("<p>{}</p>").format(inline(text)) for text in kept)


def inline(text: str) -> Markup:
    """Return a line in HTML."""
    said = str(escape(text))
    said = re.sub(r"`([^`]+)`", r"<code>\1</code>", said)
    said = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", said)
    said = re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", said)
    return Markup(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", said))  # the files are not in the site
