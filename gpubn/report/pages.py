"""Pages in Markdown, from templates."""

from functools import cache
from pathlib import Path
from textwrap import fill

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render_page(template: Path, **values: object) -> str:
    """Return a page: `render_page(FOLDER / "claims.md.jinja", decisions=...)`.

    Templates can import the macros of `macros.md.jinja`; their filters are `cell`, for a text in a
    table, and `filled`, for paragraphs that are broken into lines.
    """
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    environment.filters["filled"] = lambda text: "\n\n".join(
        fill(paragraph, 100) for paragraph in text.split("\n\n")
    )
    return environment
