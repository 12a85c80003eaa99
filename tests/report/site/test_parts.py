"""The small parts of pages: numbers, prose, downloads, entries of the ledger, findings."""

import io
import re
import string
import zipfile
from types import SimpleNamespace

import pytest
import yaml

pytest.importorskip("altair")
pytest.importorskip("markdown2")
pytest.importorskip("pdoc")
pytest.importorskip("vl_convert")

from gpubn.report.claims import ledger, rules
from gpubn.report.claims.infer import Estimate
from gpubn.report.site import front
from gpubn.report.site.claims import refuted_by
from gpubn.report.site.downloads import Download, find_downloads
from gpubn.report.site.laboratory import exhibits_of
from gpubn.report.site.page import Page, number, turned_back, word_class
from gpubn.report.site.prose import html_of
from gpubn.report.site.written import entries_of, selections_of

NUMBERS = [
    (1.5, 4, "1.5"),
    (-0.000123456, 3, "−0.000123"),
    (3.5e-35, 4, "3.5 × 10<sup>−35</sup>"),
    (-1.6e49, 2, "−1.6 × 10<sup>49</sup>"),
    (150_000, 2, "1.5 × 10<sup>5</sup>"),
    ("2e-05", 4, "2 × 10<sup>−5</sup>"),
    ("1.02e+12", 4, "1.02 × 10<sup>12</sup>"),
    (0, 4, "0"),
    (float("inf"), 4, "inf"),
    ("none", 4, "none"),
]


@pytest.mark.parametrize(("value", "digits", "said"), NUMBERS)
def test_a_number_as_people_write_it(value, digits, said):
    assert number(value, digits) == said


def test_a_logarithm_turned_back():
    estimate = Estimate(20, 2.0, 1.0, 3.0)
    assert turned_back(estimate, "decades") == "100 [10, 1 × 10<sup>3</sup>]"
    assert turned_back(estimate, "log ratio a layer") == "7.39 [2.72, 20.1]"
    assert turned_back(estimate, "share") == ""
    assert turned_back(Estimate(1, 0.0, 0.0, 0.0), "log nats") == "1"


def test_classes_and_the_way_to_the_root():
    assert word_class("reproduced, other value") == "reproduced-other-value"
    roots = {"index.html": "", "a/b.html": "../", "a/b/c.html": "../../"}
    assert {path: Page(path, "", "", "").root for path in roots} == roots


def test_prose_of_a_report():
    said = html_of(
        "# Title\n\nOne **strong\nword** & a *stress*; `x < 1`.\n\n2 * 3 * 4 [a](b.md)\n"
    )
    assert said == (
        "<p>One <strong>strong word</strong> &amp; a <em>stress</em>; <code>x &lt; 1</code>.</p>\n"
        "<p>2 * 3 * 4 a</p>"
    )


def test_large_tables_are_packed_always_alike(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "large.csv").write_bytes(b"1,2\n" * 20_000)
    (tmp_path / "small.csv").write_bytes(b"1\n")
    found = {d.path: d for d in find_downloads(tmp_path).values()}
    assert {*found} == {"data/small.csv", "data/tables/large.csv.zip"}
    assert found["data/small.csv"].data() == b"1\n"
    large = found["data/tables/large.csv.zip"]
    assert large.data() == large.data()
    assert large.size == 80_000
    with zipfile.ZipFile(io.BytesIO(large.data())) as archive:
        assert archive.read("large.csv") == b"1,2\n" * 20_000


@pytest.mark.parametrize("letter", "ABCD")
def test_every_entry_of_the_ledger_is_found_as_it_is_written(letter):
    path = ledger.FOLDER / f"{letter}.yaml"
    text, found = path.read_text(), dict(entries_of(path))
    claims = [claim["id"] for claim in yaml.safe_load(text)["claims"]]
    assert list(found) == claims
    for id_, entry in found.items():
        assert entry.startswith(f"- id: {id_}\n")
        assert entry.count("- id: ") == 1
        assert all(line.strip() in text for line in entry.splitlines())
    lines = selections_of(path)
    assert lines.keys() == yaml.safe_load(text)["selections"].keys()
    for name in re.findall(r"\buse: (\w+)", text):
        assert lines[name].startswith(f"{name}: ")


def test_what_would_speak_against_a_claim_is_said_for_every_kind():
    said = {claim.kind: refuted_by(claim) for claim in ledger.load_ledger().claims.values()}
    assert {*said} == {*rules.KINDS}
    assert all(sentence.endswith(".") for of_kind in said.values() for sentence in of_kind)


def test_a_universe_without_data_is_none_that_claims_have_passed():
    rows = {
        "A1": [{"universe": "u", "applies": "yes", "agrees": "yes"}],
        "A2": [
            {"universe": "u", "applies": "yes", "agrees": "other conditions"},
            {"universe": "v", "applies": "no", "agrees": "yes"},
            {"universe": "w", "applies": "", "agrees": ""},
        ],
    }
    counts = front._counts(SimpleNamespace(decisions={}), rows)
    assert (counts.universes, counts.reached, counts.kept, counts.kept_word) == (2, 2, 1, 2)


def test_findings_name_quantities_that_are_there_and_say_each_number():
    book = ledger.load_ledger().claims
    found = yaml.safe_load(front.FINDINGS.read_text())
    assert len(found) == 5
    for finding in found:
        assert {*finding["claims"]} <= {*book}
        numbers = finding.get("numbers", {})
        for of in numbers.values():
            assert of["claim"] in finding["claims"]
            assert of["quantity"] in book[of["claim"]].quantities
            assert of["as"] in front._AS
        fields = {f for _, f, _, _ in string.Formatter().parse(finding["text"]) if f}
        assert {field.split(".")[0] for field in fields} - {"words"} == {*numbers}
        digits = re.sub(r"\{[^}]*\}", "", finding["text"])
        assert not re.search(r"\d\.\d|\d{3}", digits)  # no measured number is typed


def test_a_table_knows_the_exhibits_that_show_it_or_the_same_networks(tmp_path):
    def page(path, *stems):
        shown = [Download(tmp_path / f"{stem}.csv", f"data/{stem}.csv", 1) for stem in stems]
        return Page(path, "exhibit.html.jinja", "", "", {"downloads": shown})

    grid, curves = page("laboratory/a.html", "signal_grid"), page("laboratory/b.html", "x", "y")
    found = exhibits_of([grid, curves, page("benchmarks.html", "x"), Page("c.html", "", "", "")])
    assert found.pop("signal_propagation") == [grid]
    assert {stem: pages for stem, pages in found.items() if stem in ("x", "signal_grid")} == {
        "x": [curves],
        "signal_grid": [grid],
    }
