"""A small results folder with ledger, tables and figures, and the site that is made from it."""

import json
import os
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from tests.report.claims.conftest import claim, world  # noqa: F401

NEEDED = ("altair", "markdown2", "pdoc", "vl_convert")
LACKING = [name for name in NEEDED if find_spec(name) is None]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 300.4"></svg>'
X = np.arange(10) / 100


def pytest_collection_modifyitems(items):
    """Without the extra there is no site; in CI there is one."""
    if LACKING and os.environ.get("CI") != "true":
        for item in items:
            if "tests/report/site/" in str(item.path):
                item.add_marker(pytest.mark.skip(f"the site lacks {', '.join(LACKING)}"))


@pytest.fixture
def place(world, claim, tmp_path, monkeypatch):  # noqa: F811
    """Three claims of two documents, B1 with two cases, and two figures.

    `place.make(**more)` makes the site; `place.out` is where, `place.read(path)` a page of it.
    """
    from gpubn.report import site
    from gpubn.report.site import claims, laboratory, make_site, source

    parts = tuple(part for part in site.PARTS if part != laboratory)  # it has tables of its own
    monkeypatch.setattr(site, "PARTS", parts)
    monkeypatch.setattr(source, "plain", lambda claim, decision: f"Plainly: {claim.text}")
    monkeypatch.setattr(claims, "matters", lambda claim: f"{claim.matters.value:g} times")
    (tmp_path / "scripts").mkdir()
    world.gains(1.5 + X)
    table = [({"norm": "before"}, [])]
    world.table("bessel", table, **{"seeds": 10, "optim.steps": 7})
    book = world.ledger(
        claim("A1", claim='More than <b>one</b> & "so".'),
        claim("A2", measures={"x": {"use": "gains"}}),
        world.plant(2 + X, X, id_="B1", published=None, predicted="holds only when"),
    )
    text = (book / "A.yaml").read_text()
    chosen = "selections:\n  gains: {table: t, metric: gain}\n  other: {table: t}\nclaims:\n"
    (book / "A.yaml").write_text(text.replace("claims:\n", chosen, 1))
    (book / "coverage").mkdir()
    passages = [
        {"kind": "sentence", "says": "It gains.", "claim": "A1"},
        {"kind": "equation", "says": "An aside.", "out_of_scope": "a matter of taste"},
        {"kind": "plot", "says": "A plot.", "claim": "A2", "twin": "two", "image": "a curve"},
    ]
    covered = {"document": "A", "sections": [{"heading": "Start", "passages": passages}]}
    (book / "coverage" / "A.yaml").write_text(json.dumps(covered))

    def script(name, *claims, drawn=True, small=False):
        ids = "".join(f'"{id_}",' for id_ in claims)
        given = f'tables=("t",), claims=({ids}), from_small={small}'
        code = f"@figure(__doc__, {given})\ndef draw(sheet): ..."
        (tmp_path / "scripts" / f"{name}.py").write_text(code)
        folders = [("figures", 10)] * drawn + [("full/figures", 20)] * small
        for folder, n in folders:
            base = world.results / folder / name
            base.parent.mkdir(exist_ok=True, parents=True)
            base.with_suffix(".svg").write_text(SVG)
            said = {"title": f"Title {name}", "caption": f"n = {n}.", "alt": f"All of {name}."}
            base.with_suffix(".json").write_text(json.dumps(said))

    script("one", "A1", "B1")
    script("two", "A2", "A1")
    out = tmp_path / "site"
    return SimpleNamespace(
        world=world,
        book=book,
        out=out,
        script=script,
        make=lambda **more: make_site(world.results, out, rules=book, **more),
        read=lambda path: (out / path).read_text(),
    )
