"""Bias of a batch's variance and standard deviation."""

import numpy as np
import pytest

from gpubn.experiments import estimators
from gpubn.nn.rng import generator
from tests.experiments.cells import cell, run, values

METRICS = {
    f"{what}_{kind}_ratio{source}"
    for what in ("var", "std")
    for kind in ("biased", "unbiased")
    for source in ("", "_relu")
}


@pytest.mark.parametrize("batch", [2, 7])
def test_every_number_against_numpy(monkeypatch, batch):
    monkeypatch.setattr(estimators, "BATCHES", 50)
    rows = run(cell("estimators", examples=batch, dtype="float64", first_seed=4))
    assert {r.metric for r in rows} == METRICS
    assert {(r.step, r.layer) for r in rows} == {(None, None)}
    for seed in (4, 5, 6):
        normal = generator(seed, "batches").standard_normal((50, batch))
        for source, x, var in (("", normal, 1), ("_relu", normal.clip(0), 0.5 - 0.5 / np.pi)):
            for kind, correction in (("biased", 0), ("unbiased", 1)):
                of_batches = [np.var(one, ddof=correction) for one in x]
                expected = np.mean(of_batches) / var
                found = values(rows, f"var_{kind}_ratio{source}")[seed]
                assert found == pytest.approx(expected, rel=1e-12)
                expected = np.mean(np.sqrt(of_batches)) / np.sqrt(var)
                found = values(rows, f"std_{kind}_ratio{source}")[seed]
                assert found == pytest.approx(expected, rel=1e-12)
