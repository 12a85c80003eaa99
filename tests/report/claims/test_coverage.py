"""Coverage: a planted fault is named with its file and entry, and each passage leads somewhere."""

import csv
import re

import numpy as np
import pytest
import yaml

from gpubn.report.claims import coverage_faults, decide_all, ledger
from gpubn.report.claims.coverage import load_coverage

SENTENCE = {"kind": "sentence", "says": "It | gains.", "claim": "A1"}
EQUATION = {"kind": "equation", "says": "A gain.", "out_of_scope": "a definition | no more"}
LISTING = {
    **{"kind": "listing", "says": "It prints the gain.", "claim": "A2"},
    **{"runs": "under Python 2 | 3", "computes": "its square"},
}
PLOT = {
    **{"kind": "plot", "says": "Gains by seed.", "claim": "B1", "twin": "one"},
    **{"image": "not available", "printed": "1.5 | 2"},
}


def test_the_four_documents_are_covered():
    assert coverage_faults() == []
    assert [*load_coverage(ledger.FOLDER).documents] == [*ledger.load_ledger().titles]


@pytest.fixture
def book(world, claim, tmp_path):
    """book(**documents): the folder of a ledger of A1, A2 and B1, with these files of coverage.

    A document is given as its sections, lists of passages; as text it is the file itself. As none,
    it has no file.
    """
    (tmp_path / "scripts").mkdir()
    script = '@figure(__doc__, tables=("t",), claims=())\ndef draw(sheet): ...'
    (tmp_path / "scripts" / "one.py").write_text(script)
    world.gains(1.5 + np.arange(10) / 100)
    folder = world.ledger(claim("A1"), claim("A2"), claim("B1"))

    def write(**documents):
        (folder / "coverage").mkdir()
        for letter, given in (
            {"A": [[SENTENCE], [EQUATION, LISTING]], "B": [[PLOT]]} | documents
        ).items():
            if isinstance(given, list):
                sections = [{"heading": f"Part {n}", "passages": p} for n, p in enumerate(given)]
                given = yaml.safe_dump({"document": letter, "sections": sections})
            if given is not None:
                (folder / "coverage" / f"{letter}.yaml").write_text(given)
        return folder

    write.folder = folder
    return write


def test_a_ledger_without_a_folder_of_coverage_needs_none(book):
    assert coverage_faults(book.folder) == []


def test_passages_are_numbered_through_a_document(book):
    folder = book()
    assert coverage_faults(folder) == []
    found = load_coverage(folder)
    assert [(letter, n) for letter, n, _ in found.passages()] == [
        ("A", 1),
        ("A", 2),
        ("A", 3),
        ("B", 1),
    ]
    assert [[s.heading, *s.passages] for s in found.documents["A"]] == [
        ["Part 0", 1],
        ["Part 1", 2, 3],
    ]
    ((letter, number, passage),) = found.decided_by("A2")
    assert (letter, number, passage.runs) == ("A", 3, "under Python 2 | 3")


def without(entry, key):
    return {k: value for k, value in entry.items() if k != key}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            SENTENCE | {"claim": ["A1", "A2"]},
            "has claim ['A1', 'A2']; expected exactly one claim's id",
        ),
        (SENTENCE | {"claim": "A1, A2"}, "has claim 'A1, A2'; expected exactly one claim's id"),
        (SENTENCE | {"claim": "B2"}, "has claim 'B2'; expected one of the ledger"),
        (without(SENTENCE, "claim"), "has neither of claim and out_of_scope; expected exactly one"),
        (EQUATION | {"claim": "A1"}, "has both of claim and out_of_scope; expected exactly one"),
        (EQUATION | {"out_of_scope": " "}, "has out_of_scope ' '; expected text"),
        (SENTENCE | {"claims": "A1"}, "has the unknown key 'claims'; expected only kind, says,"),
        (SENTENCE | {"kind": "picture"}, "has kind 'picture'; expected one of sentence, equation,"),
        (
            SENTENCE | {"twin": "one"},
            "has kind sentence and twin; expected twin of a plot and of no",
        ),
        (SENTENCE | {"printed": "1"}, "has printed and kind sentence; expected kind plot"),
        (without(LISTING, "runs"), "has kind listing and no runs; expected runs of a listing"),
        (without(LISTING, "computes"), "has kind listing and no computes; expected computes of"),
        (PLOT | {"runs": "yes"}, "has kind plot and runs; expected runs of a listing and of no"),
        (without(PLOT, "twin"), "has kind plot and no twin; expected twin of a plot"),
        (without(PLOT, "image"), "has kind plot and no image; expected image of a plot"),
        (
            PLOT | {"twin": "two"},
            "has twin 'two'; expected the name of a script in scripts/figures",
        ),
    ],
)
def test_a_faulty_passage_is_named(book, entry, said):
    """It stands second in its section; the other passages decide what it would."""
    others = [SENTENCE | {"says": f"Gain {id_}.", "claim": id_} for id_ in ("A1", "A2", "B1")]
    (fault,) = coverage_faults(book(A=[others[:2], [others[2], entry]]))
    assert fault.startswith(f"A.yaml: entry 4 ({entry['says']}) {said}")


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (
            {"B": None},
            ["B.yaml: is not there; expected its", "B.yaml: no entry has claim B1; expected one"],
        ),
        (
            {"B": "a: ["},
            ["B.yaml: is no YAML (", "B.yaml: no entry has claim B1; expected one or more"],
        ),
        ({"C": "document: A\nsections: [1]"}, ["C.yaml: section 1 is 1; expected a mapping"]),
        (
            {"C": "document: A\nsections: []"},
            ["C.yaml: sections is []; expected a list of sections"],
        ),
        ({"A": [[SENTENCE]]}, ["A.yaml: no entry has claim A2; expected one or more"]),
        (
            {"A": [[SENTENCE, LISTING], [SENTENCE | {"says": "It gains!", "claim": "A2"}]]},
            ["A.yaml: entry 3 (It gains!) says the same as entry 1; expected it once"],
        ),
        (
            {"C": "document: A\nsections: [{heading: h, passages: [{}]}]"},
            ["C.yaml: has document 'A'; expected 'C', as the file is called"],
        ),
        (
            {"B": [[PLOT, {"says": "A gain that is told in so many words that it is cut off."}]]},
            ["B.yaml: entry 2 (A gain that is told in so many words ...) has no kind; expected"],
        ),
    ],
)
def test_a_faulty_document_is_named(book, documents, said):
    faults = coverage_faults(book(**documents))
    assert len(faults) == len(said)
    for fault, start in zip(faults, said, strict=True):
        assert fault.startswith(start)


def test_the_same_may_be_said_in_two_documents(book):
    assert coverage_faults(book(B=[[SENTENCE, PLOT]])) == []


def test_the_reports(book, world):
    decide_all(
        world.results, rules=book(A=[[SENTENCE], [EQUATION, LISTING, PLOT | {"claim": "A2"}]])
    )
    with (world.results / "coverage.csv").open(newline="") as file:
        first, second, *_, last = csv.DictReader(file)
    assert first == {
        **{"document": "A", "number": "1", "kind": "sentence", "says": "It | gains."},
        **{"claim": "A1", "verdict": "reproduced", "out_of_scope": "", "twin": ""},
    }
    assert (second["claim"], second["verdict"]) == ("", "")
    assert second["out_of_scope"] == "a definition | no more"
    assert (last["document"], last["number"], last["twin"]) == ("B", "1", "one")
    page = (world.results / "coverage.md").read_text()
    verdicts = (world.results / "claims.md").read_text()
    assert {
        "| document | sentences | equations | listings | plots | decided | out of scope |",
        "| A | 1 | 1 | 1 | 1 | 3 | 1 |",
        "| all | 1 | 1 | 1 | 2 | 4 | 1 |",
        '| <a id="a-1"></a>1 | sentence | It \\| gains. | [A1](claims.md#a1): reproduced |',
    } <= set(page.splitlines())
    assert "out of scope: a definition \\| no more |" in page
    assert "*Runs:* under Python 2 \\| 3<br>*Computes:* its square |" in page
    assert (
        "*Printed:* 1.5 \\| 2<br>*Image:* not available<br>*Redrawn:* [one](figures/one.png) |"
        in page
    )
    assert (
        "* Decides 2 passages: [A 3](coverage.md#a-3), [A 4](coverage.md#a-4)\n* Tables" in verdicts
    )
    assert "* Decides 1 passage: [B 1](coverage.md#b-1)\n" in verdicts
    headings = re.findall(r"^### (\w+)$", verdicts, re.M)
    assert {t.upper() for t in re.findall(r"claims\.md#(\w+)", page)} <= {*headings}
    assert {*re.findall(r"coverage\.md#([\w-]+)", verdicts)} <= {
        *re.findall(r'id="([\w-]+)"', page)
    }
