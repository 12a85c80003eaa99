"""Rows that wait on the device and how all are fetched at once; the examples of each seed."""

import numpy as np
import pytest

from gpubn.backend import Backend
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset
from gpubn.experiments.probes.base import Network, OnDevice, fetch_readings
from gpubn.nn.model import build_mlp
from gpubn.nn.rng import example_order
from gpubn.nn.train import to_device
from gpubn.rows import Observation


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


def test_rows_keep_their_part_and_their_order(backend):
    here = Observation(None, 5, 1, "hist", 0.5)
    a = on_device(backend, "a", [1, 2], "float32")
    b = on_device(backend, "b", [3, 4, 5], "float64")
    found = fetch_readings([[here, a, b], [], [b, here, a], [here]], backend)
    told = [[(row.metric, row.seed, row.value) for row in part] for part in found]
    of_a, of_b = [("a", 0, 1.0), ("a", 1, 2.0)], [("b", 0, 3.0), ("b", 1, 4.0), ("b", 2, 5.0)]
    as_here = ("hist", None, 0.5)
    assert told == [[as_here, *of_a, *of_b], [], [*of_b, as_here, *of_a], [as_here]]
    assert found[0][0] is here


def test_each_dtype_is_fetched_in_one_block_and_no_value_passes_through_another(backend, moved):
    """float32 would lose 1/3 and 2^24 + 1."""
    rows = [
        on_device(backend, "double", [1 / 3, 2.0**-1060], "float64"),
        on_device(backend, "single", [1 / 3, 2.0**-140], "float32"),
        on_device(backend, "whole", [2**24 + 1, -1], "int64"),
        on_device(backend, "flag", [True, False], "bool"),
        on_device(backend, "infinite", [np.inf, -np.inf], "float32"),
    ]
    (found,) = fetch_readings([rows], backend)
    assert [row.value for row in found] == [
        *(1 / 3, 2.0**-1060),
        *(float(np.float32(1 / 3)), 2.0**-140),
        *(2.0**24 + 1, -1.0),
        *(1.0, 0.0),
        *(np.inf, -np.inf),
    ]
    assert sorted(moved) == [("bool", 2), ("float32", 4), ("float64", 2), ("int64", 2)]
    here = Observation(1, 2, 3, "a", 4.0)
    assert fetch_readings([[], [here]], backend) == [[], [here]]
    assert len(moved) == 4  # nothing on the device, nothing fetched


SEEDS, TRAIN, TEST = (4, 0, 9), 60, 25


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, y = rng.random((TRAIN + TEST, 3)).astype(np.float32), rng.integers(0, 4, TRAIN + TEST)
    return Dataset("random", x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], 4)


@pytest.fixture
def network(backend, data):
    """network(train_examples): replicas that have only begun."""

    def make(train_examples=0):
        config = Config(data=DataConfig("digits", train_examples=train_examples))
        model = build_mlp(
            *(ModelConfig(width=5), NormConfig("before", "before"), InitConfig(scale=3.0)),
            **{"features": 3, "classes": 4, "seeds": SEEDS, "backend": backend},
            dtype="float64",
        )
        on_device = to_device(data, backend, "float64")
        return Network(config, backend, data, on_device, model, None, SEEDS)

    return make


@pytest.mark.parametrize("count", [1, 7, 25, 60, 10**6])
@pytest.mark.parametrize("sample", [0, 20, 60, 100])
def test_a_seed_looks_at_its_own_examples_and_of_training_at_those_it_trains_on(
    network, sample, count
):
    made = network(sample)
    for part, total, pool in (("train", TRAIN, min(sample or TRAIN, TRAIN)), ("test", TEST, TEST)):
        chosen = made.chosen(part, count)
        assert chosen.shape == (3, min(count, pool))
        for seed, own in zip(SEEDS, chosen, strict=True):
            assert own.tolist() == example_order(seed, part, total)[: min(count, pool)].tolist()
        assert (chosen[0] != chosen[1]).any()


@pytest.mark.parametrize("sample", [0, 20])
def test_examples_come_with_their_labels(network, data, sample):
    made = network(sample)
    examples = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}
    for part, (x, y) in examples.items():
        chosen = made.chosen(part, 15)
        for found in (made.examples(part, 15), made.look_up(part, chosen)):
            rows, labels = (made.backend.to_host(a) for a in found)
            assert rows.dtype == np.float64
            assert (rows == x[chosen]).all()
            assert (labels == y[chosen]).all()
        few = made.look_up(part, chosen[:, 3:5])
        assert (made.backend.to_host(few[0]) == x[chosen[:, 3:5]]).all()
