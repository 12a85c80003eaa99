"""Rows whose values wait on the device, and how all of them are fetched at once."""

import numpy as np
import pytest

from gpubn.backend import Backend
from gpubn.experiments.network import Network, OnDevice, fetch
from gpubn.records import Observation


@pytest.fixture
def moved(monkeypatch):
    """Dtype and length of each array that went to the host."""
    found = []
    to_host = Backend.to_host

    def spy(self, array):
        found.append((str(array.dtype), len(array)))
        return to_host(self, array)

    monkeypatch.setattr(Backend, "to_host", spy)
    return found


def on_device(backend, metric, values, dtype, *, seeds=None, step=0, layer=None):
    array = backend.asarray(np.array(values, dtype))
    return OnDevice(seeds or range(len(values)), metric, array, step, layer)


def test_values_come_with_their_seed_step_layer_and_metric(backend):
    row = on_device(backend, "loss", [0.5, 2.0], "float32", seeds=[7, 3], step=40, layer=2)
    ((first, second),) = fetch([[row]], backend)
    assert first == Observation(7, 40, 2, "loss", 0.5)
    assert second == Observation(3, 40, 2, "loss", 2.0)
    assert type(first.value) is float


def test_rows_keep_their_part_and_their_order(backend):
    here = [Observation(None, 5, 1, f"hist[{i}]", float(i)) for i in range(3)]
    a = on_device(backend, "a", [1, 2], "float32")
    b = on_device(backend, "b", [3, 4, 5], "float64")
    c = on_device(backend, "c", [6], "float32")
    d = on_device(backend, "d", [7, 8], "float64")
    found = fetch([[here[0], a, b], [], [c, here[1], d, a], [here[2]]], backend)
    told = [[(row.metric, row.seed, row.value) for row in part] for part in found]
    of_a = [("a", 0, 1.0), ("a", 1, 2.0)]
    assert told == [
        [("hist[0]", None, 0.0), *of_a, ("b", 0, 3.0), ("b", 1, 4.0), ("b", 2, 5.0)],
        [],
        [("c", 0, 6.0), ("hist[1]", None, 1.0), ("d", 0, 7.0), ("d", 1, 8.0), *of_a],
        [("hist[2]", None, 2.0)],
    ]
    assert found[0][0] is here[0]


def test_each_dtype_is_fetched_in_one_block(backend, moved):
    rows = [
        [
            on_device(backend, f"{dtype} {i}", [i % 2] * 3, dtype)
            for dtype in ("float32", "float64", "bool", "int64")
        ]
        for i in range(5)
    ]
    found = fetch(rows, backend)
    assert sorted(moved) == [("bool", 15), ("float32", 15), ("float64", 15), ("int64", 15)]
    assert {(row.metric, row.value) for part in found for row in part} == {
        (row.metric, float(i % 2)) for i, part in enumerate(rows) for row in part
    }


def test_no_value_passes_through_another_dtype(backend):
    """A block of mixed dtypes would round: float32 loses 1/3 and 2^24 + 1, float64 2^53 + 1."""
    rows = [
        on_device(backend, "double", [1 / 3, 2.0**-1060], "float64"),
        on_device(backend, "single", [1 / 3, 2.0**-140], "float32"),
        on_device(backend, "whole", [2**24 + 1, -1], "int64"),
        on_device(backend, "flag", [True, False], "bool"),
    ]
    (found,) = fetch([rows], backend)
    assert [row.value for row in found] == [
        *(1 / 3, 2.0**-1060),
        *(float(np.float32(1 / 3)), 2.0**-140),
        *(2.0**24 + 1, -1.0),
        *(1.0, 0.0),
    ]


def test_infinite_values_are_values(backend):
    (found,) = fetch([[on_device(backend, "a", [np.inf, -np.inf, np.nan], "float32")]], backend)
    assert [row.value for row in found[:2]] == [np.inf, -np.inf]
    assert np.isnan(found[2].value)


@pytest.mark.parametrize("rows", [[], [[]], [[], [Observation(1, 2, 3, "a", 4.0)]]], ids=str)
def test_nothing_on_the_device_nothing_fetched(backend, moved, rows):
    assert fetch(rows, backend) == rows
    assert moved == []


def test_a_value_a_seed(backend):
    row = on_device(backend, "a", [1, 2, 3], "float32", seeds=[0, 1])
    with pytest.raises(ValueError):
        fetch([[row]], backend)


def test_a_network_writes_rows_without_waiting(backend, moved):
    network = Network(None, backend, None, None, None, None, seeds=[4, 9])
    values = backend.asarray(np.array([1.5, 2.5]))
    (row,) = network.rows("gradient_norm", values, step=3, layer=1)
    assert moved == []
    assert row.values is values
    assert fetch([[row]], backend) == [
        [
            Observation(4, 3, 1, "gradient_norm", 1.5),
            Observation(9, 3, 1, "gradient_norm", 2.5),
        ]
    ]
