"""Printed values: the numbers that their digits stand for."""

import pytest

from gpubn.report.published import digits_range


@pytest.mark.parametrize(
    ("printed", "low", "high"),
    [("16.4", 16.35, 16.45), ("3.46e-44", 3.455e-44, 3.465e-44), ("1.0", 0.95, 1.05)],
)
def test_a_printed_number_stands_for_what_rounds_to_it(printed, low, high):
    assert digits_range(printed) == pytest.approx((low, high), rel=1e-12, abs=0)
