"""Strips: where intervals lie beside what matters, all cases of a claim on one scale."""

import numpy as np
import pytest

pytest.importorskip("altair")
pytest.importorskip("markdown2")
pytest.importorskip("pdoc")
pytest.importorskip("vl_convert")

from gpubn.report.site.strips import WIDTH, strips_of

X = np.arange(10) / 10


@pytest.fixture
def strips(world):
    """strips(*arms, **changes): those of a claim whose arms have these values."""

    def made(*arms, **changes):
        decision = world.decide(world.plant(*arms, **changes))["A1"]
        return strips_of(decision.claim, decision)

    return made


def test_cases_share_a_scale_on_which_all_that_counts_has_a_place(strips):
    found = strips(3 + X, X - 0.45)
    red, blue = found["red"], found["blue"]
    assert (red.state, blue.state) == ("shown", "fails")
    assert red.bounds == blue.bounds
    assert red.zero == blue.zero == pytest.approx(sum(red.bounds) / 2, abs=0.1)
    assert WIDTH * 0.05 == red.bounds[0] < red.bounds[1] < red.low < red.mean < red.high
    assert red.high == strips(X - 0.45, 3 + X)["blue"].high == WIDTH * 0.95
    assert red.bounds[0] < blue.low < blue.mean < blue.high < red.bounds[1]
    assert blue.mean == pytest.approx(blue.zero, abs=0.1)


def test_harm_has_one_bound_and_a_printed_value_is_held_against_its_own(strips):
    assert len(strips(3 + X, kind="noninferior")["red"].bounds) == 1
    found = strips(3 + X, kind="published", printed=[(4, 5)])["red"]
    assert found.zero is None
    assert found.bounds[0] < found.printed[0] < found.printed[1] < found.bounds[1]
    assert found.printed[0] - found.bounds[0] == pytest.approx(
        found.bounds[1] - found.printed[1], abs=0.2
    )


def test_an_identity_has_no_strip(strips):
    assert strips(X, kind="exact") == {}
