"""The pages of the notebooks: text, pictures and verdicts of what has been executed."""

import json

import pytest

from gpubn.errors import SiteError

DRAWING = (
    '<?xml version="1.0"?>\n<svg viewBox="0 0 9 9"><g id="axes_1"><path id="p7"/>'
    '<use href="#p7"/><text>layer</text><text>10</text></g></svg>'
)


def cell(kind, source, *data):
    return {"cell_type": kind, "source": [source], "outputs": [{"data": d} for d in data]}


def write(place, *cells):
    path = place.world.results / "notebooks" / "batchnorm_on_mnist.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": cells}))


def test_without_executed_notebooks_there_is_the_list_alone(place):
    place.make()
    assert "make notebooks" in place.read("notebooks/index.html")
    assert not (place.out / "notebooks" / "batchnorm_on_mnist.html").exists()


def test_an_executed_notebook_is_a_page_and_a_new_one_is_seen(place):
    place.make()
    write(
        place,
        cell("markdown", "# Title\n\n**Question.** Why?"),
        cell(
            "code", "a < b",
            {"image/svg+xml": [DRAWING]},
            {"text/markdown": "[What decides it](../claims.md#b1)"},
            {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "interactive(...)"},
        ),
    )  # fmt: skip
    place.make()
    assert 'href="batchnorm_on_mnist.html"' in place.read("notebooks/index.html")
    page = place.read("notebooks/batchnorm_on_mnist.html")
    for part in (
        *("<h1>Title</h1>", "<strong>Question.</strong>", "a &lt; b", 'aria-label="layer"'),
        *('<a href="../claims/b1.html">What decides it</a>', '<path id="p7"/>', "<g><path"),
    ):
        assert part in page
    assert "interactive(...)" not in page
    assert (place.out / "notebooks" / "batchnorm_on_mnist.py").exists()


def test_what_is_no_notebook_is_named_and_the_site_stays(place):
    place.make()
    write(place, {"cell_type": "code"})
    with pytest.raises(SiteError, match=r"batchnorm_on_mnist.ipynb is no notebook \('source'\)"):
        place.make()
    assert place.read("notebooks/index.html")
