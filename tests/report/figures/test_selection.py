"""Rows out of tables, and the sentences about those that are missing or cannot be told apart."""

import numpy as np
import pandas as pd
import pytest

from gpubn.errors import StoreError
from gpubn.report.figures import selection
from gpubn.report.figures.selection import at_lowest_rate, has_one_rate_an_arm
from gpubn.report.figures.sweeps import lowest_rate

ROWS = [
    ("none", "1.0", 1, "loss", 4.0),
    ("none", "1.0", 0, "loss", 3.0),
    ("none", "10.0", 0, "loss", 5.0),
    ("none", "10.0", 1, "loss", 6.0),
    ("none", "5.0", 0, "loss", 7.0),
    ("none", "5.0", 1, "loss", 8.0),
    ("before", "1.0", 0, "loss", 1.0),
    ("before", "1.0", 1, "loss", 2.0),
]
TABLE = pd.DataFrame(ROWS, columns=["norm", "rate", "seed", "metric", "value"])


def test_seeds_are_in_order_and_levels_in_that_of_their_numbers():
    assert selection.seeds(TABLE, norm="none", rate="1.0").tolist() == [3.0, 4.0]
    levels, values = selection.by(TABLE, "rate", norm="none")
    assert levels.tolist() == [1.0, 5.0, 10.0]
    assert values.tolist() == [[3.0, 4.0], [7.0, 8.0], [5.0, 6.0]]
    names, _ = selection.by(TABLE, "norm", rate="1.0")
    assert names.tolist() == ["before", "none"]


def test_what_is_missing_is_said_in_one_sentence():
    said = "norm is before, none where metric is loss; the figure needs after, naive"
    with pytest.raises(StoreError, match=f"^{said}$"):
        selection.select(TABLE, metric="loss", norm=["after", "naive"])
    with pytest.raises(StoreError, match=r"^norm is empty; the figure needs none$"):
        selection.present(TABLE[:0], "norm", ["none"])
    assert selection.present(TABLE, "norm", ("none", "after", "before")) == ["none", "before"]
    table = pd.DataFrame({"metric": [f"unit[{i:02}]" for i in range(20)]})
    with pytest.raises(StoreError, match=r"unit\[11\] and 8 more; the figure needs loss"):
        selection.select(table, metric="loss")


def test_rows_that_are_drawn_as_one_are_refused():
    for pools in (lambda: selection.seeds(TABLE, norm="none"), lambda: selection.by(TABLE, "norm")):
        with pytest.raises(StoreError, match=r"differ in rate \(1\.0, 10\.0, 5\.0\); expected"):
            pools()
    with pytest.raises(StoreError, match="differ in nothing"):
        selection.seeds(pd.concat([TABLE, TABLE]), norm="before")


def test_the_last_step_is_that_of_the_selected_rows():
    table = TABLE.assign(step=np.arange(len(TABLE)))
    assert selection.at_end(table, norm="none")["value"].tolist() == [8.0]


def swept(**of_arms):
    """A table of arms at some rates, two seeds each."""
    places = [
        (norm, rate, seed) for norm, rates in of_arms.items() for rate in rates for seed in (0, 1)
    ]
    frame = pd.DataFrame(places, columns=["norm", "rate", "seed"])
    return frame.assign(step=5, layer=1, metric="m", value=np.arange(len(frame), dtype=float))


@pytest.mark.parametrize(
    ("arms", "lowest", "one", "said"),
    [
        ({"a": ("0.3", "10.0", "1.0"), "b": ("0.3",)}, {"a": "0.3", "b": "0.3"}, False, "rate 0.3"),
        ({"a": ("10.0", "3.0"), "b": ("0.1",)}, {"a": "3.0", "b": "0.1"}, False, "rate 0.1"),
        ({"a": ("10.0",), "b": ("3.0",)}, {"a": "10.0", "b": "3.0"}, True, "the rate of its arm"),
        ({"a": ("0.3",), "b": ("0.3",)}, {"a": "0.3", "b": "0.3"}, False, "rate 0.3"),
    ],
)
def test_each_arm_at_the_lowest_of_its_rates(arms, lowest, one, said):
    table = swept(**arms)
    rows = at_lowest_rate(table)
    assert {*zip(rows["norm"], rows["rate"], strict=True)} == {*lowest.items()}
    assert len(rows) == 2 * len(arms)
    assert has_one_rate_an_arm(table) == one
    assert lowest_rate(table) == said
    assert not has_one_rate_an_arm(table.drop(columns="rate"))
    alone = at_lowest_rate(table.drop(columns="norm"))
    assert set(alone["rate"]) == {min(table["rate"], key=float)}
