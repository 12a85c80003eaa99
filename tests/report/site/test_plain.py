"""The words of claims fit the ledger, or say what does not."""

import pytest

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger
from gpubn.report.site import plain
from gpubn.report.site.plain import FILE, Slot, filled, form_of, load_told, slots


@pytest.fixture(scope="module")
def book():
    return ledger.load_ledger()


@pytest.fixture
def told(book, tmp_path, monkeypatch):
    """Load the words with one text replaced by another."""
    monkeypatch.setattr(plain.ledger, "load_ledger", lambda rules: book)

    def load(before, after):
        text = FILE.read_text("utf-8")
        assert text.count(before) == 1
        path = tmp_path / "plain.yaml"
        path.write_text(text.replace(before, after), "utf-8")
        return load_told(path, tmp_path)

    return load


def test_every_claim_is_told(book):
    assert [*load_told()] == [*book.claims]


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("A2:", "A20:", "plain.yaml: differs in A2, A20 from the claims of the ledger"),
        ("we: measured the variance of the activations at layer 20 without", "ve:", "A1 has the"),
        ("the variance at layer 1 was {value}", "it was 1.3 × 10 large", "no result with a number"),
        ("the variance at layer 1 was {value}", "it was 17, not {value}", "types the number 17"),
        ("    layer1: for layers", "    layer3: for layers", "'layer3', which is no case"),
        ("{value:alone_small}", "{value:alone}", "names the quantity 'alone'"),
        ("{value:alone_small}", "{Value}", "has the result 'the factor was {Value}"),
        ("with dropout was {larger} without", "was {smaller} without", "says 'smaller'"),
        ("the smaller effect is {change}", "it was {value} and {change:gone}", "'gone'"),
    ],
)
def test_a_fault_is_named(told, before, after, error):
    with pytest.raises(LedgerError) as caught:
        told(before, after)
    assert error.removeprefix("A1 ") in str(caught.value)


def test_a_claim_that_is_missing_is_named(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(FILE.read_text("utf-8").partition("\nD22:")[0], "utf-8")
    with pytest.raises(LedgerError, match=r"differs in D22 from the claims of the ledger"):
        load_told(path)


def test_words_that_are_no_mapping_are_refused(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("[A1]")
    with pytest.raises(LedgerError, match=r"differs in the order from .* expected each of them"):
        load_told(path)


def test_places_for_numbers_are_found_and_filled():
    frame = "took {more steps} with it, {higher:before_x} it"
    assert slots(frame) == [Slot("more", "steps", ""), Slot("higher", "", "before_x")]
    assert filled(frame, iter("ab")) == "took a with it, b it"


@pytest.mark.parametrize(
    ("word", "unit", "value", "text"),
    [
        ("higher", "log ratio", 0.1, "11% higher"),
        ("higher", "decades", 1, "10 times as high"),
        ("higher", "accuracy", 0.1, "10 percentage points higher"),
        ("larger", "share of units", -0.1, "10 percentage points smaller"),
        ("larger", "nats", 0.1, "0.10 nats larger"),
        ("larger", "probability", 0.25, "0.25 larger"),
        ("larger", "standard deviations", 0.02, "0.020 standard deviations larger"),
        ("larger", "times the tolerance", 0.01, "100 times smaller"),
        ("value", "decades", -46.08, "8.3 × 10⁻⁴⁷"),
        ("value", "log ratio a layer", 4.921, "140"),
        ("value", "share", 0.5, "50%"),
        ("value", "relative", -0.035, "−3.5%"),
        ("value", "nats", 2.31, "2.3 nats"),
        ("value", "numbers", 254, "254"),
        ("value", "variance", 0.997, "1.0"),
        ("change", "log ratio", -0.1729, "−16%"),
        ("change", "log ratio", 0.27, "+31%"),
    ],
)
def test_a_unit_says_how_its_values_are_said(word, unit, value, text):
    assert str(form_of(Slot(word, "", ""), unit).amount(value)) == text


def test_what_cannot_be_said_is_refused():
    with pytest.raises(LedgerError, match="says 'change' of nats; expected value or a comparative"):
        form_of(Slot("change", "", ""), "nats")
