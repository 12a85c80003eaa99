"""Pictures and words of notebooks in class: large, no label over another, verdicts as decided."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gpubn.errors import ArgumentError
from gpubn.report import classroom

COLUMNS = ["id", "claim", "verdict", "scope"]
ROWS = [
    ("A1", "It is 1.", "reproduced, other value", "one network"),
    ("B2", "It grows_by_a*b.", "holds only when it is red; open when it is blue", "20 layers"),
]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder with verdicts of the quick grids."""
    monkeypatch.setattr(classroom, "shipped", lambda place: tmp_path / place)
    (tmp_path / "results" / "full").mkdir(parents=True)
    pd.DataFrame(ROWS, columns=COLUMNS).to_csv(tmp_path / "results" / "claims.csv", index=False)
    return tmp_path / "results"


def test_claims_with_verdict_conditions_network_and_a_link(results):
    one, two = classroom.decided("B2", "A1").text.split("\n\n")
    assert one == (
        "**B2.** It grows\\_by\\_a\\*b.\n<br>**Holds only when** it is red; open when it is blue. "
        "[What decides it](../claims.md#b2)\n<br><small>20 layers</small>"
    )
    assert "<br>**Reproduced, other value**. [" in two
    assert classroom.decided("A1")._repr_markdown_() == two


def test_verdicts_of_full_grids_count_where_there_are_some(results):
    row = (*ROWS[0][:2], "contradicted", "one network")
    pd.DataFrame([row], columns=COLUMNS).to_csv(results / "full" / "claims.csv", index=False)
    assert "**Contradicted**" in classroom.decided("A1").text


def test_an_unknown_claim_is_refused(results):
    with pytest.raises(ArgumentError, match="the claim is 'Z9'; expected one such as A1"):
        classroom.decided("A1", "Z9")


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_labels_stand_at_the_ends_in_the_order_of_the_lines_and_apart(scale):
    ax = Figure().subplots()
    for label, end in (("high", 9.0), ("low", 1.0), ("middle", 1.01), ("_thin", 5.0)):
        ax.plot([0, 1], [1, end], label=label, color="C0")
    ax.set_yscale(scale)
    classroom.label_ends(ax)
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert list(heights) == ["low", "middle", "high"]
    assert np.diff(list(heights.values())).min() >= 0.07
    assert heights["high"] == pytest.approx(21 / 22, abs=0.01)  # where its line ends


def test_the_look_is_large():
    with mpl.rc_context():
        classroom.look()
        assert mpl.rcParams["font.size"] >= 20
        assert mpl.rcParams["lines.linewidth"] >= 4
