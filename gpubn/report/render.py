"""Pages in Markdown, from templates."""

from pathlib import Path
from textwrap import fill

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_MACROS = Path(__file__).parent


def render(template: Path, **values: object) -> str:
    """Return a page: `render(FOLDER / "claims.md.jinja", decisions=...)`.

    Templates can import the macros of `macros.md.jinja`; their filters are `cell`, for a text in a
    table, and `filled`, for paragraphs that are broken into lines.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _MACROS]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "filled": _filled}
    return environment.get_template(template.name).render(values)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")


def _filled(text: str) -> str:
    return "\n\n".join(fill(paragraph, 100) for paragraph in text.split("\n\n"))
