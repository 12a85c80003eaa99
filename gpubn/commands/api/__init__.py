"""The pages of the API: what users call, from its docstrings, by pdoc.

It is no command, but imports what it describes, which the room of the site does not.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gpubn.errors import ExtraError, require

if TYPE_CHECKING:
    from gpubn.report.site.page import Page

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Kernels": ("gpubn", "gpubn.kernels", "gpubn.interop.torch"),
    "Experiments": (
        *("gpubn.experiments", "gpubn.config", "gpubn.data", "gpubn.theory"),
        *("gpubn.computation_graph", "gpubn.vectorized"),
    ),
    "Networks": (
        *("gpubn.nn.model", "gpubn.nn.layers", "gpubn.nn.norms", "gpubn.nn.norms.base"),
        *("gpubn.nn.residual", "gpubn.nn.init", "gpubn.nn.optim", "gpubn.nn.train", "gpubn.nn.rng"),
    ),
    "One's own experiments": (
        *("gpubn.experiments.training.trainer", "gpubn.experiments.probes.base"),
    ),
    "Beside": ("gpubn.backend", "gpubn.errors", "gpubn.report.classroom"),
}
"""Title -> the modules of which all that has a public name is public."""
MODULES = tuple(module for group in GROUPS.values() for module in group)

_FITS = (
    (r'<span class="n">typing</span><span class="o">\.</span>', ""),
    (r'<h6 id="\w+">(\w+):</h6>', r'<p class="part">\1</p>'),  # ids that occur twice
    (  # a default that is a function
        r'<span class="o">&lt;</span><span class="n">function</span> (<span class="n">\w+</span>)'
        r'<span class="o">&gt;</span>',
        r"\1",
    ),
    ("<pre>", '<pre tabindex="0">'),  # what scrolls has to be reached by keyboard
)


def api_pages() -> "Iterator[Page]":
    """Yield a page a module, and one that lists them.

    A module whose peer is not installed (PyTorch) is listed with what it needs.

    Raises:
        ExtraError: the extra site is not installed.
    """
    require(__name__, "site", ("pdoc",))
    from pdoc import doc, render  # here: it takes half a second, and an extra

    from gpubn.report.site.page import Page

    found: dict[str, doc.Module] = {}
    lacking: dict[str, str] = {}
    for name in MODULES:
        try:
            found[name] = doc.Module(import_module(name))
        except ExtraError as error:
            lacking[name] = f"{_unread(name)} Not described here: {error}."
    render.configure(
        docformat="google",
        show_source=False,
        search=False,
        template_directory=Path(__file__).parent,
    )
    for name, module in found.items():
        yield Page(
            _path(name),
            "api.html.jinja",
            name,
            _first_line(module),
            {"body": _fitted(render.html_module(module, found))},
        )
    groups = {
        title: [
            (name, _path(name), _first_line(found[name]), _members(found[name]))
            if name in found
            else (name, "", lacking[name], [])
            for name in names
        ]
        for title, names in GROUPS.items()
    }
    yield Page(
        "api/index.html",
        "api_index.html.jinja",
        "API",
        "Every public function with shapes, dtypes, errors and an example that the tests run.",
        {"groups": groups},
    )


def _fitted(body: str) -> str:
    for pattern, instead in _FITS:
        body = re.sub(pattern, instead, body)
    return body


def _path(module: str) -> str:
    return f"api/{module.replace('.', '/')}.html"


def _unread(name: str) -> str:
    """Return the first line of a module that cannot be imported here."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
    return docstring.partition("\n")[0]


def _first_line(module: object) -> str:
    return str(getattr(module, "docstring", "")).partition("\n\n")[0].replace("\n", " ")


def _members(module: object) -> list[str]:
    """Return the names of a module's functions and classes."""
    members = getattr(module, "flattened_own_members", ())
    kinds = ("function", "class")
    return [m.name for m in members if m.kind in kinds and m.docstring and m.name[0] != "_"]
