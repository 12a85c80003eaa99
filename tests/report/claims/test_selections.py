"""Short forms: what a claim leaves out or says once for many is written out, or named."""

import pytest

from gpubn.errors import LedgerError
from gpubn.report.claims.selections import written_out

BEST = {"table": "t", "metric": "loss", "where": {"init": "he", "norm": "none"}, "step": "last"}
EACH = {"arm": {"a": {"said": "an arm"}, "b": {"said": "another"}}, "depth": [1, 20]}


def written(selections=(), **claim):
    return written_out({"id": "A1", **claim}, dict(selections))


def test_a_selection_is_taken_in_and_its_keys_can_be_replaced():
    measures = {"x": {"use": "best", "metric": "m", "where": {"norm": "after"}, "layer": 2}}
    quantities = {"loss": {"value": {"use": "best"}, "unit": "nats"}}
    claim = written({"best": BEST}, measures=measures, quantities=quantities)
    replaced = {"metric": "m", "where": {"init": "he", "norm": "after"}, "layer": 2}
    assert claim["measures"] == {"x": BEST | replaced, "raw_loss": BEST}
    assert claim["quantities"] == {"loss": {"value": "raw_loss", "unit": "nats"}}
    assert BEST["where"] == {"init": "he", "norm": "none"}


def test_an_entry_for_each_value_that_it_mentions():
    claim = written(
        each=EACH,
        measures={
            "<arm>_<depth>": {"where": {"arm": "<arm>", "depth": "<depth>"}},
            "one": {"layer": 1},
        },
        quantities={
            "<arm>": {"value": "<arm>_1"},
            "<arm>_deep": {"value": "log(<arm>_20)", "label": "<arm.said>, deep"},
            "rest": {"value": "one < 2"},
        },
        cases=[{"quantity": "<arm>", "when": "it is <arm.said>"}],
    )
    assert "each" not in claim
    assert list(claim["measures"]) == ["a_1", "a_20", "b_1", "b_20", "one"]
    assert claim["measures"]["b_20"] == {"where": {"arm": "b", "depth": 20}}
    assert list(claim["quantities"]) == ["a", "a_deep", "b", "b_deep", "rest"]
    assert claim["quantities"]["b_deep"] == {"value": "log(b_20)", "label": "another, deep"}
    assert claim["cases"] == [
        {"quantity": "a", "when": "it is an arm"},
        {"quantity": "b", "when": "it is another"},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measures": {"x": {"use": "worst"}}}, "measure x has use 'worst'; expected best"),
        ({"measures": {"x": {"use": ["best"]}}}, r"measure x has use \['best'\]; expected best"),
        ({"each": ["arm"]}, r"each is \['arm'\]; expected a mapping"),
        ({"each": {"arm": "a"}}, "each has arm 'a'; expected a list or a mapping of values"),
        ({"each": {"arm": []}}, r"each has arm \[\]; expected a list"),
        ({"each": {"arm": {"a": 1}}}, "each arm is 1; expected a mapping"),
        ({"measures": {"<depht>": {}}}, "measures has <depht>; expected a name of each: arm, dep"),
        ({"quantities": {"<arm>": {"label": "<arm.sad>"}}}, r"<arm.sad>; arm a has said"),
        ({"quantities": {"q": {"label": "<arm>"}}}, "quantities has a name twice"),
        (
            {"measures": {"raw_q": BEST}, "quantities": {"q": {"value": BEST}}},
            "measure raw_q is that of q; expected another name",
        ),
    ],
)
def test_what_is_no_short_form_is_named(changes, said):
    with pytest.raises(LedgerError, match=said):
        written({"best": BEST}, **{"each": EACH, **changes})


def test_what_is_wrong_otherwise_is_left_to_the_model():
    odd = {"measures": 3, "quantities": ["x"], "cases": None}
    assert written(**odd) == {"id": "A1", **odd}
