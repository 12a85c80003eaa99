"""The pages of the API: every public module, links that hold, nothing from elsewhere."""

import os
import re
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from posixpath import dirname, join, normpath

import pytest

LACKING = [name for name in ("altair", "pdoc", "vl_convert") if find_spec(name) is None]
if LACKING and os.environ.get("CI") != "true":
    pytest.skip(f"the site lacks {', '.join(LACKING)}", allow_module_level=True)

from gpubn.commands import api  # noqa: E402
from gpubn.commands.api import MODULES, api_pages  # noqa: E402
from gpubn.errors import ExtraError  # noqa: E402


class Links(HTMLParser):
    """Identifiers, links and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given["id"]} if "id" in given else set()
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loaded += [given[k] for k in ("src", "href") if k in given and tag != "a"]


@pytest.fixture(scope="module")
def made():
    """Path -> HTML."""
    return {page.path: page.render().decode() for page in api_pages()}


def test_every_public_module_has_a_page(made):
    missing = {m for m in MODULES if f"api/{m.replace('.', '/')}.html" not in made}
    assert missing == ({"gpubn.interop.torch"} if find_spec("torch") is None else set())
    assert all(m in made["api/index.html"] for m in MODULES)


def test_a_function_stands_there_with_signature_shapes_errors_and_example(made):
    text = " ".join(re.sub(r"<[^>]+>", "", made["api/gpubn/kernels.html"]).split())
    start = text.index("def fold_batch_norm(")
    described = text[start : text.index("def linear(")]
    for words in ("mean: Any", "Arguments", "Raises", "ArgumentError", "fold_batch_norm(np.array("):
        assert words in described


def test_links_and_anchors_of_the_pages_hold_and_nothing_comes_from_elsewhere(made):
    found = {path: Links(text) for path, text in made.items()}
    for path, page in found.items():
        for link in page.links:
            place, _, anchor = link.partition("#")
            target = normpath(join(dirname(path), place)) if place else path
            if target.startswith("api/"):
                assert target in found, (path, link)
                assert not anchor or anchor in found[target].ids, (path, link)
        assert all(not re.match(r"\w+:|//", place) for place in page.loaded)
        assert "url(" not in made[path]


def test_a_module_whose_peer_is_not_installed_is_listed_with_what_it_needs(monkeypatch):
    def without_peer(name):
        if name == "gpubn.errors":
            raise ExtraError("gpubn.errors needs a peer")
        return import_module(name)

    modules = ("gpubn.errors", "gpubn.theory")
    monkeypatch.setattr(api, "MODULES", modules)
    monkeypatch.setattr(api, "GROUPS", {"Some": modules})
    monkeypatch.setattr(api, "import_module", without_peer)
    found = {page.path: page.render().decode() for page in api.api_pages()}
    assert {*found} == {"api/index.html", "api/gpubn/theory.html"}
    assert "gpubn.errors needs a peer" in found["api/index.html"]
