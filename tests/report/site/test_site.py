"""The site as a whole: what stands there, what is written again, and what is refused."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from importlib import import_module
from posixpath import dirname, join, normpath

import numpy as np
import pytest

from gpubn.errors import ExtraError, LedgerError, SiteError, StoreError

X = np.arange(10) / 100
PAGES = {
    *("index.html", "claims/index.html", "claims/a1.html", "claims/a2.html", "claims/b1.html"),
    *("documents/index.html", "documents/a.html", "documents/b.html", "experiments/index.html"),
    *("experiments/bessel.html", "theory.html", "benchmarks.html", "verdicts.html"),
    "history.html",
}


class Looked(HTMLParser):
    """The contents of a page: tags, identifiers, links, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.loaded, self.alts = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loaded += [given[k] for k in ("src", "href") if k in given and tag != "a"]
        self.alts += [given.get("alt", "")] if tag == "img" else []


@pytest.fixture
def looked(place):
    """Path -> what the page holds."""
    place.make()
    paths = sorted(place.out.rglob("*.html"))
    return {p.relative_to(place.out).as_posix(): Looked(p.read_text()) for p in paths}


def test_there_is_a_page_for_everything(looked, place):
    assert {*looked} >= PAGES
    assert (place.out / "figures" / "one.svg").read_text().startswith("<svg")
    assert (place.out / "data" / "tables" / "t.csv").read_text().startswith("norm,")
    assert not [*place.out.parent.glob(".site.new*"), *place.out.parent.glob(".site.old*")]


def test_every_link_and_anchor_holds_and_nothing_comes_from_elsewhere(looked, place):
    files = {p.relative_to(place.out).as_posix() for p in place.out.rglob("*") if p.is_file()}
    for path, page in looked.items():
        for link in page.links:
            if not re.match(r"https://", link):
                to, _, anchor = link.partition("#")
                target = normpath(join(dirname(path), to)) if to else path
                assert target in files, (path, link)
                assert not anchor or anchor in looked[target].ids, (path, link)
        for link in page.loaded:
            assert normpath(join(dirname(path), link)) in files, (path, link)


def test_pages_are_whole_and_say_what_pictures_show(looked):
    for path, page in looked.items():
        assert page.tags.count("h1") == 1, path
        assert page.tags.count("main") == 1, path
        assert len(page.ids) == len({*page.ids}), path
        assert all(page.alts), path
    assert looked["claims/a1.html"].alts == ["Title one. n = 10.", "Title two. n = 10."]


def test_the_page_of_a_claim(place):
    place.make()
    page = place.read("claims/b1.html")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for said in (
        "holds only when it is red; not when it is blue",
        "Plainly: The gain is above one.",
        "holds only when , as it came out: it gains (a book)",
        "The document prints no value",
        "shown above 1, fails below 1, opposite below -1",
        "Contradicted: an effect of more than 1 times the other way is shown in every case.",
        "make figures FIGURE=one",
        "One machine. Excluded so: two machines.",
    ):
        assert said in text, said
    assert "2.045</span> <span" in page
    assert "- id: B1" in page
    assert place.read("claims/a1.html").count(
        "More than &lt;b&gt;one&lt;/b&gt; &amp; &#34;so&#34;."
    )
    assert 'rel="next" href="b1.html"' in place.read("claims/a2.html")


def test_an_entry_shows_the_selections_that_it_takes_in_and_no_others(place):
    place.make()
    page = place.read("claims/a2.html")
    assert "gains: {table: t, metric: gain}" in page
    assert "other: {table: t}" not in page


def test_the_page_of_a_document_goes_through_its_passages(place):
    place.make()
    page = place.read("documents/a.html")
    assert page.index("It gains.") < page.index("An aside.") < page.index("A plot.")
    assert "out of scope: a matter of taste" in page
    assert '<li id="p3" value="3">' in page
    assert 'href="../figures/two.svg"' in page
    assert "A 1</a>" in place.read("claims/a1.html")


def test_the_verdict_in_full_comes_first_and_the_quick_one_beside_it(place):
    place.world.gains(0.5 + X, folder="results/full/tables")
    (place.world.results / "full" / "claims.csv").write_text("id,verdict\n")
    place.make()
    page = " ".join(re.sub(r"<[^>]+>", " ", place.read("claims/a1.html")).split())
    assert "– not reproduced This is the verdict of the full grids. The quick ones give" in page
    assert "give: reproduced" in page
    assert re.search(
        "Drawn from the quick grids.*, of which the verdict is another one: +repr", page
    )
    assert "quick grids" not in place.read("claims/b1.html").partition('id="picture"')[2]
    listed = " ".join(re.sub(r"<[^>]+>", " ", place.read("claims/index.html")).split())
    assert "not reproduced quick grids: reproduced" in listed
    assert "full grids" in place.read("index.html")


def test_a_picture_of_full_grids_stands_before_that_of_the_quick_ones(place):
    place.script("one", "A1", "B1", small=True)
    full = place.world.results / "full" / "figures"
    for path in [*full.iterdir()]:  # another, which cannot be drawn from what is kept
        shutil.copy(path, path.with_stem("two"))
    place.world.gains(0.5 + X, folder="results/full/tables")
    place.make()
    assert "figures/full/" not in place.read("claims/a1.html")
    (place.world.results / "full" / "claims.csv").write_text("id,verdict\n")
    place.make()
    page = place.read("claims/a1.html")
    pictures = re.findall(r'<img src="../figures/(\S+).svg" alt="Title \w+. n = (\d+).', page)
    assert pictures == [("full/one", "20"), ("one", "10"), ("two", "10")]
    first, summary, quick = (page.index(p) for p in ("full/one", "The same of the", "s/one.svg"))
    assert first < summary < quick
    assert "make redraw FULL=1 FIGURE=one" in page
    assert "stands in the numbers below" not in page
    assert (place.out / "figures" / "full" / "one.svg").exists()
    assert not (place.out / "figures" / "full" / "two.svg").exists()


UNIVERSES = """\
universe,id,word,verdict,states,measured,low,high,unit,applies,agrees,why
default,A1,reproduced,reproduced,shown,1,1,1,times,,,
narrow,A1,undecided,undecided,open,1,1,1,times,yes,no,
narrow,B1,holds only when,holds only when x,open,1,1,1,times,yes,other conditions,
seeds,A1,reproduced,reproduced,shown,1,1,1,times,yes,yes,
seeds,B1,holds only when,holds only when y,shown,1,1,1,times,no,yes,
later,A1,not run,,,,,,,,,to come
later,B1,not run,,,,,,,,,to come
"""


@pytest.mark.parametrize(
    ("edges", "said"),
    [("10", "1 of 2 arms chose the smallest or the largest"), ("00", "None of 2 arms chose")],
)
def test_how_many_arms_chose_a_rate_at_the_edge(place, edges, said):
    place.world.gains(0.5 + X, folder="results/full/tables")
    lines = [f"{arm},{rate},{int(rate == 1)},{edge}" for arm, edge in zip("ab", edges, strict=True)
             for rate in (0.1, 1, 10)]  # fmt: skip
    lines = [line if ",1,1," in line else line[:-1] + "0" for line in lines]
    tuning = place.world.results / "full/tables/t_tuning.csv"
    tuning.write_text("\n".join(["arm,rate,chosen,at_edge", *lines]))
    place.make()
    page = place.read("claims/a1.html")
    assert "Each arm of <code>t</code> has one rate of 0.1 to 10, chosen on other seeds" in page
    assert said in page


def test_verdicts_on_new_seeds_stand_with_the_grids_and_seeds_that_they_are_of(place):
    head = "id,outcome,frozen,confirmed,measured,low,high,new_measured,new_low,new_high,unit"
    for folder, outcome, freeze, seeds in (
        ("", "same", "abc", "100 to 119"),
        ("full", "fallen", "def", "300 to 319"),
    ):
        path = place.world.results / folder / "confirmation.csv"
        path.parent.mkdir(exist_ok=True)
        row = f"A1,{outcome},reproduced,not reproduced,1,0.5,2,3,2,4,nats,{freeze},{seeds}"
        path.write_text(f"{head},freeze,seeds\n{row}\n")
    place.make()
    page, history = place.read("claims/a1.html"), place.read("history.html")
    full = "(300 to 319, full grids), by rules that were frozen before: another verdict, or none."
    assert page.index(full) < page.index("(100 to 119, quick grids), by rules")
    assert page.count("<em>not reproduced</em>") == 1
    first, second = (
        history.index(f'<h3 id="confirmed-{of}">{of.capitalize()} grids, seeds {seeds}</h3>')
        for of, seeds in (("full", "300 to 319"), ("quick", "100 to 119"))
    )
    assert "<code>def</code>" in history[first:second]
    assert "<li>1: another verdict, or none</li>" in history[first:second]
    assert "<code>abc</code>" in history[second:]
    assert "<li>1: the same verdict, conditions included</li>" in history[second:]


def test_the_raster_has_the_universes_that_were_run_in_order(place):
    titles = {"seeds": "other seeds", "narrow": "8 units", "later": "later on"}
    (place.world.results / "universes.csv").write_text(UNIVERSES)
    said = json.dumps({"config": {"universes": titles}})
    (place.world.results / "tables" / "universes.json").write_text(said)
    place.make()
    front, page = place.read("index.html"), place.read("claims/b1.html")
    heads = re.findall(r'<span class="turn">(.*?)</span>', front)
    assert heads == ["predicted", "quick grids", "other seeds", "8 units"]
    row = front[front.index("<b>B1</b>") :].partition("</tr>")[0]
    cells = re.findall(r'<td class="(.*?)"(?: title="(.*?)")?', row)
    only = "holds-only-when"
    assert [c for c, _ in cells] == [only, only, "gap", "same", f"{only} cond"]
    assert cells[-1][1] == "8 units: holds only when, under other conditions"
    absent = front[front.index("<b>A2</b>") :].partition("</tr>")[0]
    assert absent.count('class="no-data"') == 2
    assert "Not run yet: later on." in front
    assert "Not run yet: later on." in page
    strip = re.findall(r"<li class=\"[\w-]+\"><b>(.*?)</b>", page)
    assert strip == ["other seeds", "8 units"]


def test_in_full_a_quick_table_may_not_count(place):
    (place.world.results / "full").mkdir()
    (place.world.results / "full" / "claims.csv").write_text("id,verdict\n")
    with pytest.raises(SiteError, match=r"no .*full/tables/t\.csv, which A1, A2 read"):
        place.make(in_full=lambda quick: lambda folder, stem: folder in quick and stem == "t")


def test_what_has_not_changed_is_not_written_again(place):
    first = place.make()
    assert {"index.html", "claims/a1.html"} <= {*first.written}
    page = place.out / "claims" / "a1.html"
    before = page.stat()
    again = place.make()
    assert again.written == ()
    assert (again.pages, again.size) == (first.pages, first.size)
    base = place.world.results / "figures" / "one.json"
    base.write_text(base.read_text().replace("n = 10", "n = 11"))
    third = place.make()
    assert {"claims/a1.html", "claims/b1.html"} <= {*third.written}
    assert "claims/a2.html" not in third.written
    assert "figures/one.svg" not in third.written
    assert page.stat().st_ino != before.st_ino


def test_a_page_that_was_damaged_is_mended(place):
    place.make()
    page = place.out / "claims" / "a1.html"
    whole = page.read_text()
    page.write_text("half")
    assert place.make().written == ("claims/a1.html",)
    assert page.read_text() == whole


def test_a_claim_is_measured_again_where_its_table_has_changed(place, monkeypatch):
    from gpubn.report.site import source

    asked, measured = [], source.measured

    def counting(claim, tables):
        asked.append(claim.id)
        return measured(claim, tables)

    monkeypatch.setattr(source, "measured", counting)
    place.make()
    assert asked == ["A1", "A2", "B1"]
    assert "1.545</span>" in place.read("claims/a1.html")
    place.world.gains(2.5 + X)
    place.make()
    assert asked == ["A1", "A2", "B1", "A1", "A2"]
    assert "2.545</span>" in place.read("claims/a1.html")
    (place.out.with_name(".site.kept") / "measured.pickle").write_bytes(b"half")
    place.world.gains(3.5 + X)
    place.make()
    assert asked[5:] == ["A1", "A2", "B1"]
    assert "3.545</span>" in place.read("claims/a1.html")


def test_what_was_kept_is_corrected_together_with_what_was_not(place):
    place.make()
    assert "1.2 × 10<sup>−14" in place.read("claims/b1.html")
    place.world.gains(np.array([0.9, 1.2] * 5))  # A1 and A2 are far from their bound no longer
    place.make()
    assert "1.6 × 10<sup>−14" in place.read("claims/b1.html")


def test_further_pages_of_the_caller(place):
    from gpubn.report.site.page import Page

    context = {"text": "More & more.", "counts": {}, "kinds": {}, "number": {}, "words_say": {}}
    page = Page("more/index.html", "verdicts.html.jinja", "More", "", context)
    place.make(more=lambda source: [page, ("more/data.json", b"{}")])
    assert (place.out / "more" / "data.json").read_bytes() == b"{}"
    assert "More &amp; more." in place.read("more/index.html")
    (place.out / "made.json").write_text("{}")
    with pytest.raises(SiteError, match=r"index\.html stands in the site twice"):
        place.make(more=lambda source: [("index.html", b"")])


# What is refused ----------------------------------------------------------------------------------


def test_a_missing_table_is_named_and_the_old_site_stays(place):
    place.make()
    before = place.read("index.html")
    (place.world.results / "tables" / "t.csv").unlink()
    with pytest.raises(
        SiteError, match=r"^there is no .*results/tables/t\.csv, which A1, A2 read; e"
    ):
        place.make()
    assert place.read("index.html") == before


def test_a_table_that_decides_nothing_is_named(place):
    place.world.gains([1.5, np.nan])
    with pytest.raises(SiteError, match=r"^A1 has no verdict \(A1: quantity gain .*; A2 has no"):
        place.make()
    assert not place.out.exists()


def test_a_claim_without_figure_is_named(place):
    place.script("two")
    with pytest.raises(SiteError, match=r"^no figure shows A2; expected"):
        place.make()
    assert not place.out.exists()


def test_a_figure_that_is_not_drawn_is_named(place):
    place.script("three", "A1", drawn=False)
    with pytest.raises(SiteError, match=r"^there is no .*figures/three\.svg; expected"):
        place.make()


def test_a_figure_without_words_is_named(place):
    (place.world.results / "figures" / "one.json").write_text('{"title": "One"}')
    with pytest.raises(SiteError, match="does not say what the figure one shows"):
        place.make()


BROKEN = {
    "{% if %}": "Expected an expression, got 'end of statement block', line 1",
    "{{ nothing }}": "'nothing' is undefined",
    "{% extends 'absent.html' %}": "'absent.html' not found in search path",
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_a_broken_template_is_named(place, tmp_path, monkeypatch, text, said):
    from gpubn.report.site import page

    shutil.copytree(page.TEMPLATES, tmp_path / "templates")
    (tmp_path / "templates" / "claim.html.jinja").write_text(text)
    monkeypatch.setattr(page, "TEMPLATES", tmp_path / "templates")
    with pytest.raises(SiteError) as error:
        place.make()
    assert f"claim.html.jinja cannot make claims/a1.html ({said}" in str(error.value)
    assert not place.out.exists()


def test_a_broken_ledger_and_a_table_that_is_none(place):
    (place.world.results / "confirmation.csv").write_bytes(b"id,\xff\n")
    with pytest.raises(StoreError, match=r"confirmation\.csv is no table"):
        place.make()
    (place.book / "A.yaml").write_text("document: A")
    with pytest.raises(LedgerError, match=r"A\.yaml"):
        place.make()


def test_something_else_under_the_name_stays(place):
    place.out.mkdir()
    (place.out / "letter.txt").write_text("mine")
    with pytest.raises(SiteError, match="is there and no site"):
        place.make()
    assert [path.name for path in place.out.iterdir()] == ["letter.txt"]


def test_without_its_extra_the_site_says_what_to_install(monkeypatch):
    from gpubn import errors

    for name in [name for name in sys.modules if name.startswith("gpubn.report.site")]:
        monkeypatch.delitem(sys.modules, name)
    there = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda n: None if n == "vl_convert" else there(n))
    with pytest.raises(ExtraError, match=r"needs vl_convert; expected the extra site: pip install"):
        import_module("gpubn.report.site")
