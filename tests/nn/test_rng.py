"""Random numbers: the key alone decides them, and every epoch is a shuffle of the data."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.rng import batch_order, draw_each, example_order, generator, standard_normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "weights", 0), (1, "weights", 0)),
        ((0, "weights", 0), (0, "weights", 1)),
        ((0, "weights", 0), (0, 0, "weights")),
        ((0,), (0, 0)),
        ((1, 23), (12, 3)),  # digits do not run together
        ((1, 1), (11,)),
    ],
    ids=str,
)
def test_another_key_gives_other_numbers(one, other):
    first, second = (generator(*key).standard_normal(8) for key in (one, other))
    assert not np.isin(second, first).any()


def test_a_change_of_the_generator_would_be_noticed():
    # All results in results/ were made from this stream.
    weights = [-1.170564137991413, 0.7901175526932164, -2.9446311755759353]
    found = generator(0, "weights", 0)
    np.testing.assert_allclose(found.standard_normal(3), weights, rtol=1e-15)
    uniform = [0.592426478404081, 0.0866231708287627, 0.36085896566465225]
    assert generator(0, "weights", 0).random(3).tolist() == uniform
    assert batch_order(0, 10, 4, 3).tolist() == [[8, 9, 5, 1], [6, 7, 4, 0], [3, 1, 5, 2]]
    assert example_order(0, "train", 10).tolist() == [1, 2, 9, 4, 8, 7, 0, 3, 6, 5]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: generator(-1, "weights"), "seed is -1; expected an integer of at least 0"),
        (lambda: batch_order(0, 10, 0, 3), "batch is 0; expected 1 to 10, the number of examples"),
        (lambda: batch_order(0, 10, 11, 3), "batch is 11; expected 1 to 10"),
    ],
)
def test_a_negative_seed_and_a_batch_that_does_not_fit_are_refused(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()


@pytest.mark.parametrize(
    ("examples", "batch"), [(12, 4), (10, 4), (10, 10), (7, 1), (9, 5), (1, 1)]
)
def test_every_epoch_visits_an_example_at_most_once_and_drops_the_incomplete_batch(examples, batch):
    per_epoch = examples // batch
    order = batch_order(1, examples, batch, 4 * per_epoch)
    assert (order.shape, order.dtype) == ((4 * per_epoch, batch), np.int64)
    for epoch in order.reshape(4, -1):
        assert np.unique(epoch).size == per_epoch * batch
        assert set(epoch) <= {*range(examples)}
    for steps in (1, 2, 3):  # a longer run starts with the same order
        assert (batch_order(1, examples, batch, steps) == np.resize(order, (steps, batch))).all()


def test_the_examples_of_a_seed_are_a_shuffle_of_its_own_that_cannot_be_written_to():
    order = example_order(3, "train", 100)
    assert np.sort(order).tolist() == list(range(100))
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1
    for other in ((4, "train"), (3, "test")):
        assert (example_order(*other, 100) == order).mean() < 0.1  # one in a hundred by chance


def test_seeds_are_drawn_in_their_places_on_however_many_threads():
    seeds, shape = [5, 0, 5, 9, *range(20, 60)], (3, 1000)
    right = [generator(seed, "input").standard_normal(shape) for seed in seeds]
    for threads in (1, 8):
        found = standard_normal(seeds, "input", shape, threads)
        assert found.tobytes() == np.stack(right).tobytes()
    with pytest.raises(ZeroDivisionError):
        draw_each(lambda seed: np.full(2, 1 // (seed - 9)), seeds, 8)
