"""Every claim has a paragraph that a student can read, and it says what was decided."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from gpubn.errors import LedgerError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.decide import CaseOutcome, Decision
from gpubn.report.claims.infer import Estimate
from gpubn.report.site.plain import load_told
from gpubn.report.site.sentences import matters, plain

RESULTS = Path(__file__).parents[3] / "results"
PLACE = "20 layers of 100 ReLU units, weights N(0, 0.01²), at initialisation, standard normal input"
SCOPE = f"{PLACE}, 1,000 examples, 20 seeds"


def rows(name):
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def book():
    return ledger.load_ledger()


@pytest.fixture(scope="module")
def decisions(book):
    """The committed verdicts, with their evidence."""
    found = {}
    for row in rows("claims"):
        claim = book.claims[row["id"]]
        found[row["id"]] = Decision(
            row["id"], claim, scope=row["scope"], verdict=row["verdict"], outcomes=[]
        )
    for row in rows("claims_evidence"):
        decision = found[row["id"]]
        mean, low, high = (float(row[key]) for key in ("mean", "low", "high"))
        decision.estimates[row["quantity"]] = Estimate(int(row["n"]), mean, low, high)
        if row["role"] == "primary":
            case = next(c for c in decision.claim.cases if c.quantity == row["quantity"])
            draw = (float(row["run_low"]), float(row["run_high"])) if row["run_low"] else None
            decision.outcomes.append(CaseOutcome(case, row["decision"], draw=draw))
    return found


@pytest.fixture
def tell(book):
    """Tell a claim of which each case has (state, mean, low, high), or (state, mean)."""

    def of(id_, *cases, word=None, **more):
        claim = replace_cases(book.claims[id_], len(cases))
        estimates, outcomes = {}, []
        for case, (state, mean, *ends) in zip(claim.cases, cases, strict=True):
            low, high = ends or (mean, mean)
            estimates[case.quantity] = Estimate(20, mean, low, high)
            outcomes.append(CaseOutcome(case, state))
        states, when = [c[0] for c in cases], [c.when for c in claim.cases]
        verdict = rules.verdict_of(claim.kind, states, when)
        decision = Decision(id_, claim, scope=SCOPE, estimates=estimates, outcomes=outcomes)
        return plain(claim, replace(decision, verdict=verdict, **more))

    return of


def replace_cases(claim, count):
    return claim.model_copy(update={"cases": claim.cases[:count]})


def test_every_claim_has_a_paragraph_without_jargon(decisions):
    assert [*decisions] == [*load_told()]
    for id_, decision in decisions.items():
        text = plain(decision.claim, decision)
        assert text.startswith(f"Document {id_[0]} claims that "), id_
        assert text.endswith("."), id_
        for word in (
            "log ratio",
            "decades",
            "nan",
            "inf ",
            "None",
            "{",
            "}",
            "<",
            "e-",
            "_unknown",
        ):
            assert word not in text, (id_, word)
        assert not re.search(r"  |\.\.|,,|\(\)| [,.;:)]|when when", text), id_
        assert not re.search(r"(?<![\d.,])1(\.0)? times", text), id_
        assert not re.search(r"(?<![\w.,])1(\.0)? \w+s (higher|lower)", text), id_
        assert not re.search(r"\b[A-D]\d+\b", text.replace("10⁰", "")), id_
        names = {c.quantity for c in decision.claim.cases if "_" in c.quantity}
        assert not {name for name in names if name in text}, id_


def test_every_paragraph_says_the_verdict_and_the_seeds(decisions):
    starts = {
        "reproduced": r"\. Reproduced",
        "holds only when": r"\. It holds only ",
        "not reproduced": r"\. Not reproduced",
        "contradicted": r"\. Contradicted, for ",
        "undecided": r"\. Undecided(?:: | in every case\. )",
    }
    for id_, decision in decisions.items():
        text = plain(decision.claim, decision)
        assert len(re.findall(starts[decision.word], text)) == 1, id_
        if "seeds" in decision.scope:
            n = sorted({decision.estimates[o.case.quantity].n for o in decision.outcomes})
            assert f"({' or '.join(map(str, n))} seeds)" in text, id_


def test_every_network_is_told_as_a_sentence(decisions):
    for id_, decision in decisions.items():
        text = plain(decision.claim, decision)
        for raw in (", weights ", "at initialisation, standard", ", constant", "steps of batch"):
            assert raw not in text.split(" seeds)")[0], (id_, raw)


def test_every_case_is_told(decisions):
    for id_, decision in decisions.items():
        text = plain(decision.claim, decision)
        told = load_told()[id_]
        for case in decision.claim.cases:
            assert told.condition(case)[1:] in text, id_


def test_the_first_case_of_a_document_is_whole(decisions):
    decision = decisions["A6"]
    assert plain(decision.claim, decision) == (
        "Document A claims that without batchnorm the weight gradients of early layers vanish "
        "while "
        "those of the last layer do not. We compared the variance of the weight gradients at the "
        "last layer against that at an early one, layer 2, both without batchnorm, in an untrained "
        "network of 20 layers of 100 ReLU units with N(0, 0.01²) weights, fed with random numbers "
        "(20 seeds). Not reproduced: the variance at the last layer was 1.9% larger than at the "
        "early one (95% interval: between 24% smaller and 37% larger), short of the 10 times that "
        "would matter."
    )


@pytest.mark.parametrize(
    ("id_", "cases", "text"),
    [
        ("A6", [("shown", 2, 1.8, 2.2)], "Reproduced: the variance at the last layer was 100 times "
         "as large as at the early one (95% interval: between 63 and 160 times), more than the 10 "
         "times that would matter."),
        ("A6", [("opposite", -2, -2.2, -1.8)], "Contradicted, for the opposite is shown: the "
         "variance at the last layer was 100 times smaller than at the early one (95% interval: "
         "between 63 and 160 times), more than the 10 times that would matter, the other way."),
        ("A6", [("fails", -1.2, -1.4, -1.0)], "smaller than at the early one (95% interval: "
         "between 10 and 25 times), not the 10 times that would matter but the other way."),
        ("A6", [("fails", -0.5, -0.6, -0.4)], "smaller than at the early one (95% interval: "
         "between 2.5 and 4.0 times), short of the 10 times that would matter."),
        ("A6", [("open", 1, 0.8, 1.2)], "Undecided: the variance at the last layer was 10 times as "
         "large as at the early one (95% interval: between 6.3 and 16 times), where the interval "
         "allows less than the 10 times that would matter as well as more."),
        ("A6", [("open", 1.2, 1.1, 1.3)], "(95% interval: between 13 and "
         "20 times), more than the 10 times that would matter, but not surely so once all tests "
         "are corrected together."),
        ("A6", [("open", 0.8, 0.7, 0.9)], "less than the 10 times that would matter, but not "
         "surely "
         "so once all tests are corrected together."),
        ("B5", [("shown", 0.3, 0.2, 0.4), ("fails", 0.01, 0, 0.02)], "It holds only with "
         "batchnorm before tanh: the accuracy with updates was 30 percentage points higher than "
         "without (95% interval: between 20 and 40), more than the 10 percentage points that would "
         "matter. It fails with batchnorm after tanh: the accuracy with updates was 1.0 "
         "percentage points higher than without (between no difference and 2.0 percentage points "
         "higher), short of that."),
        ("B5", [("fails", 0.01), ("opposite", -0.3)], "Not reproduced: it fails with batchnorm "
         "before tanh: the accuracy with updates was 1.0 percentage points higher than "
         "without, short of the 10 percentage points that would matter. The opposite is shown "
         "with batchnorm after tanh: the accuracy with updates was 30 percentage points lower "
         "than without, more than that, the other way."),
        ("B5", [("fails", 0.01), ("fails", -0.3)], "30 percentage points lower, "
         "short of the 10 percentage points that would matter or the other way."),
        ("B5", [("fails", 0.01), ("fails", -0.01)], "short of the 10 percentage points that would "
         "matter."),
        ("B5", [("fails", 0.01), ("open", 0.1, 0.0, 0.2)], "Undecided: it fails with batchnorm "
         "before tanh: the accuracy with updates was 1.0 percentage points higher than "
         "without, short of the 10 percentage points that would matter. It is open with "
         "batchnorm after tanh: the accuracy with updates was 10 percentage points higher than "
         "without "
         "(95% interval: between no difference and 20 percentage points higher), where the "
         "interval allows less than that as well as more."),
        ("A8", [("shown", 0.02, 0.01, 0.03)], "Reproduced: the growth with batchnorm after the "
         "ReLU "
         "was 2.0% larger than with batchnorm before it (95% interval: between 1.0% and 3.0%), "
         "less "
         "than the 5.1% that would matter."),
        ("A8", [("fails", 0.7)], "Contradicted, for a difference is shown: the growth with "
         "batchnorm "
         "after the ReLU was 2.0 times as large as with batchnorm before it, more than the 5.1% "
         "that would matter."),
        ("A8", [("open", -0.06, -0.07, -0.055)], "more than the 5.1% that would matter, but not "
         "surely so once"),
        ("B20", [("shown", 0.06, 0.03, 0.09), ("open", -0.07, -0.09, -0.06)], "so that a "
         "disadvantage of the 5.1% that would matter is ruled out. It is open with dropout on "
         "top of batchnorm: the test loss with both was 6.8% lower than with batchnorm alone "
         "(between 5.8% and 8.6%), more than that, but not surely so once all tests are corrected "
         "together."),
        ("B17", [("open", -0.01, -0.02, 0), ("open", -0.02, -0.022, -0.018)], "where it stays open "
         "whether a disadvantage of the 1 percentage point that would matter is reached once all "
         "tests are corrected together."),
        ("D22", [("open", 0.2, 0.15, 0.25)], "more than the 10% that would matter, but not "
         "surely so for each part once all tests are corrected together."),
        ("B20", [("fails", -0.3), ("fails", -0.2)], "Contradicted, for a disadvantage is shown in "
         "every case. With batchnorm in place"),
        ("C3", [("shown", 6.1e-16)], "Reproduced: the largest error was 1.6 × 10¹⁵ times smaller "
         "than the values themselves, within what rounding may show for every seed."),
        ("A11", [("fails", 1927)], "Contradicted, for it is not so: the error of the worst layer "
         "was "
         "1,900 times as large as the gradient itself, beyond what rounding may show."),
        ("C8", [("fails", 0.0078, 0.0073, 0.0083)], "Not reproduced: the larger effect was 130 "
         "times "
         "smaller than the tolerance (95% interval: between 120 and 140 times), short of the "
         "tolerance that would matter."),
        ("C1", [("shown", 0.0058, 0.0034, 0.0082)], "170 times smaller than the tolerance, "
         "and within it for every seed."),
    ],
)  # fmt: skip
def test_a_verdict_is_told_in_words(tell, id_, cases, text):
    assert text in tell(id_, *cases)


def test_where_neither_network_got_there_it_is_said(book):
    claim = replace_cases(book.claims["B8"], 3)
    first, second, third = claim.cases
    estimates = {case.quantity: Estimate(20, 0.2, 0.1, 0.3) for case in claim.cases}
    outcomes = [
        CaseOutcome(first, "open", untold=20),
        CaseOutcome(second, "open", 0.05, 0.4),
        CaseOutcome(third, "open", untold=3),
    ]
    decision = Decision(
        "B8", claim, scope=SCOPE, estimates=estimates, outcomes=outcomes, verdict="undecided"
    )
    text = plain(claim, decision)
    assert "22% more steps than with it (95% interval: between 11% and 35%), more than the " in text
    assert (
        "together; at rate 0.1, with batchnorm before tanh: neither network got that far in" in text
    )
    assert text.endswith("before tanh: neither network got that far in 3 of 20 seeds.")
    alone = replace(decision, claim=replace_cases(claim, 1), outcomes=outcomes[:1])
    assert plain(alone.claim, alone).endswith("neither network got that far in any seed.")


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (["shown", "other value"], "Reproduced, other value: it holds with U[0,1)/sqrt(fan_in), "
         "the listing's line: the loss from the unscaled weights was 7.4 "
         "times "
         "as high as from the scaled ones, more than the 2 times that would matter. With another "
         "value than the printed one it holds with U[0,1), unscaled as "
         "the "
         "story says: the loss from the unscaled weights was 7.4 times as high as from the scaled "
         "ones, more than that."),
        (["other value", "other value"], "Reproduced in every case, though with another value "
         "than the printed one. With"),
    ],
)  # fmt: skip
def test_another_value_than_the_printed_one_is_told(tell, states, text):
    assert text in tell("D2", *((state, 2.0) for state in states))


def test_a_printed_value_is_held_against_single_runs(decisions):
    text = plain(decisions["A1"].claim, decisions["A1"])
    assert "and prints “1.0038, 3.46 × 10⁻⁴⁴, 1.90 × 10⁻⁴⁶ (layers 0, 19, 20)”." in text
    assert "single runs give the printed values (between 1.4 × 10⁻⁴⁷ and 4.9 × 10⁻⁴⁶)." in text
    assert text.endswith("far from the printed values.")


def test_what_is_timed_by_several_is_said_once(decisions):
    text = plain(decisions["B22"].claim, decisions["B22"])
    assert "timed in 15 rounds with numpy and with numba (" in text


@pytest.mark.parametrize(
    ("id_", "text"),
    [
        ("A12", "1,000 times"),
        ("A17", "5 percentage points"),
        ("A18", "1 × 10⁻⁹ of the true value"),
        ("B4", "the tolerance"),
        ("B8", "10%"),
        ("B25", "0.5 numbers"),
        ("D11", "0.07 nats"),
        ("D21", "0.5 plateaus"),
    ],
)
def test_what_matters_is_said_as_results_are(book, id_, text):
    assert matters(book.claims[id_]) == text


def test_a_claim_without_verdict_says_why(book):
    decision = Decision("A6", book.claims["A6"], "A6: there is no table x;\nexpected one")
    text = plain(book.claims["A6"], decision)
    assert text.endswith("do not. It has no verdict: A6: there is no table x;; expected one.")


def test_a_quantity_without_estimate_leaves_the_paragraph_whole(tell):
    assert "was 0.5" not in (said := tell("B16", ("shown", 1.0), ("shown", 1.0)))
    assert "which is 2.7 times as near to 1" in said


def test_values_come_from_the_decision(decisions):
    decision = decisions["B14"]
    estimates = {**decision.estimates, "five": Estimate(15, np.log(90), np.log(70), np.log(120))}
    text = plain(decision.claim, replace(decision, estimates=estimates))
    assert "90 times as long (between 70 and 120 times)" in text


def test_a_claim_that_is_not_told_is_refused(book):
    claim = book.claims["A6"].model_copy(update={"id": "E1"})
    with pytest.raises(LedgerError, match=r"plain\.yaml: E1 is not there; expected what it says"):
        plain(claim, Decision("E1", claim))
