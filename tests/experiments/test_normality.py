"""The shape of values, against SciPy's one array at a time."""

import numpy as np
import pytest
from scipy import stats

from gpubn.experiments.normality import normality_of

DRAWS = {
    "normal": lambda rng: rng.standard_normal((30, 7)),
    "uniform": lambda rng: 5 + rng.random((4, 9)),
    "relu": lambda rng: np.maximum(rng.standard_normal((40, 5)), 0),  # ties
    "small": lambda rng: 1e-200 * rng.exponential(size=(20, 10)),  # its square is 0
    "two": lambda rng: np.array([[1.0, 3.0]]),
}


@pytest.mark.parametrize("name", DRAWS)
def test_by_scipy(rng, name):
    values = np.stack([DRAWS[name](rng), -2 * DRAWS[name](rng)])
    found = normality_of(values)
    for r, of_one in enumerate(values):
        z = stats.zscore((of_one / np.abs(of_one).max()).ravel())
        expected = (stats.kstest(z, "norm").statistic, stats.skew(z), stats.kurtosis(z))
        assert [of[r] for of in found] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_without_spread_there_is_no_shape():
    values = np.stack([np.full((3, 4), 0.1), np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)])
    values = np.concatenate([values, np.full((1, 3, 4), np.nan)])
    with np.errstate(all="ignore"):
        for of in normality_of(values):
            assert np.isnan(of).tolist() == [True, True, False, True]
