"""Rows of a table, and the reason why a cell has none."""

import numpy as np
import pytest

from gpubn.errors import CellError
from gpubn.rows import COLUMNS, Failure, Observation, per_seed


def test_every_seed_has_one_value():
    values = np.array([0.5, np.inf], np.float32)
    rows = per_seed([7, 3], "loss", values, step=40, layer=2)
    assert rows == [Observation(7, 40, 2, "loss", 0.5), Observation(3, 40, 2, "loss", np.inf)]
    assert [type(row.value) for row in rows] == [float] * 2
    assert COLUMNS == ("seed", "step", "layer", "metric", "value")
    with pytest.raises(ValueError):
        per_seed([7], "loss", values)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CellError("one\n  sentence"), "one sentence"),
        (KeyError("loss"), "KeyError: 'loss'"),
    ],
)
def test_a_failure_is_one_sentence_and_a_traceback(error, sentence):
    try:
        raise error
    except Exception as raised:
        failure = Failure.of(raised)
    assert failure.sentence == sentence
    assert "test_rows.py" in failure.traceback
    assert type(error).__name__ in failure.traceback
