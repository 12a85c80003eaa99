"""The pages of the API: what users call, from its docstrings, by pdoc.

It is no command, but imports what it describes, which the room of the site does not.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from gpubn.errors import ExtraError, require
from gpubn.report.site.page import Page

EXTRA = require(__name__, "site", ("pdoc",))
"""The extra that has what these pages need."""
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
    "Below": ("gpubn.backend", "gpubn.errors"),
}
"""Title -> the modules of which all that has a public name is public."""
MODULES = tuple(module for group in GROUPS.values() for module in group)


def pages() -> Iterator[Page]:
    """Yield a page a module, and one that lists them.

    A module whose peer is not installed (PyTorch) is listed with what it needs.
    """
    from pdoc import doc, render  # here: it takes half a second

    found: dict[str, doc.Module] = {}
    lacking: dict[str, str] = {}
    for name in MODULES:
        try:
            found[name] = doc.Module(import_module(name))
        except ExtraError as error:
            lacking[name] = str(error)
    render.configure(
        docformat="google", show_source=False, search=False, template_directory=Path(__file__).parent
    )
    for name, module in found.items():
        yield Page(
            _path(name),
            "api.html.jinja",
            name,
            _first_line(module),
            {"body": render.html_module(module, found)},
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


def _path(module: str) -> str:
    return f"api/{module.replace('.', '/')}.html"


def _first_line(module: object) -> str:
    return str(getattr(module, "docstring", "")).partition("\n\n")[0].replace("\n", " ")


def _members(module: object) -> list[str]:
    """Return the names of a module's functions and classes."""
    members = getattr(module, "flattened_own_members", ())
    kinds = ("function", "class")
    return [m.name for m in members if m.kind in kinds and m.docstring and m.name[0] != "_"]
