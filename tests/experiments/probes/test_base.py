"""Rows that wait on the device, and how all are fetched at once."""

import numpy as np

from gpubn.backend import Backend
from gpubn.experiments.probes.base import OnDevice, fetch_readings
from gpubn.rows import Observation


def test_rows_keep_their_part_and_order_and_each_dtype_is_fetched_in_one_block(
    backend, monkeypatch
):
    """No value passes through another dtype: float32 would lose 1/3 and 2^24 + 1."""
    moved, to_host = [], Backend.to_host

    def spy(self, array):
        moved.append((str(array.dtype), len(array)))
        return to_host(self, array)

    monkeypatch.setattr(Backend, "to_host", spy)

    def on_device(values, dtype):
        array = backend.asarray(np.array(values, dtype))
        return OnDevice(range(len(values)), dtype, array, 0, None)

    here = Observation(None, 5, 1, "here", 0.5)
    double, single = on_device([1 / 3, 2.0**-1060], "float64"), on_device([1 / 3], "float32")
    whole, flag = on_device([2**24 + 1, -1], "int64"), on_device([True, False], "bool")
    infinite = on_device([np.inf, 2.0**-140], "float32")
    parts = [[here, single, double], [], [whole, here, flag], [infinite]]
    found = fetch_readings(parts, backend)
    of_double = [("float64", 0, 1 / 3), ("float64", 1, 2.0**-1060)]
    of_whole = [("int64", 0, 2.0**24 + 1), ("int64", 1, -1.0)]
    assert [[(row.metric, row.seed, row.value) for row in part] for part in found] == [
        [("here", None, 0.5), ("float32", 0, float(np.float32(1 / 3))), *of_double],
        [],
        [*of_whole, ("here", None, 0.5), ("bool", 0, 1.0), ("bool", 1, 0.0)],
        [("float32", 0, np.inf), ("float32", 1, 2.0**-140)],
    ]
    assert sorted(moved) == [("bool", 2), ("float32", 3), ("float64", 2), ("int64", 2)]
    assert fetch_readings([[], [here]], backend) == [[], [here]]
    assert len(moved) == 4  # nothing on the device, nothing fetched
