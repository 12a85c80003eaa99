"""Random numbers: the key alone decides them, and the order of the data is a fair shuffle."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.rng import batch_order, example_order, generator


def draw(seed, *purpose):
    return generator(seed, *purpose).standard_normal(8)


def test_the_same_key_gives_the_same_numbers_whatever_was_drawn_before():
    first = draw(3, "weights", 1)
    for seed in range(5):
        draw(seed, "input")
    assert draw(3, "weights", 1).tobytes() == first.tobytes()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "weights", 0), (1, "weights", 0)),
        ((0, "weights", 0), (0, "weights", 1)),
        ((0, "weights", 0), (0, "input", 0)),
        ((0, "weights", 0), (0, 0, "weights")),
        ((0, "weights", 0), (0, "weights")),
        ((0,), (0, 0)),
        ((1, 23), (12, 3)),  # digits do not run together
        ((1, 1), (11,)),
    ],
    ids=str,
)
def test_another_key_gives_other_numbers(one, other):
    assert not np.isin(draw(*other), draw(*one)).any()


def test_neighbouring_seeds_are_independent():
    values = np.stack([generator(s, "input").standard_normal(2000) for s in range(20)])
    correlation = np.corrcoef(values) - np.eye(20)
    assert np.abs(correlation).max() < 5 / 2000**0.5
    assert np.abs(values.mean(axis=0).std() - 20**-0.5) < 0.02


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
        (lambda: batch_order(-2, 10, 4, 3), "seed is -2"),
        (lambda: example_order(-1, "train", 10), "seed is -1"),
        (lambda: batch_order(0, 10, 0, 3), "batch is 0; expected 1 to 10, the number of examples"),
        (lambda: batch_order(0, 10, -1, 3), "batch is -1"),
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


def test_epochs_differ_and_seeds_differ():
    order = batch_order(2, 100, 50, 6).reshape(3, 100)
    others = [order[1], batch_order(3, 100, 50, 2).ravel(), example_order(2, "train", 100)]
    for other in others:
        assert (order[0] == other).mean() < 0.1  # one in a hundred by chance


def test_every_example_is_as_likely_to_be_left_out_as_any():
    order = np.concatenate([batch_order(s, 10, 4, 2).ravel() for s in range(500)])
    visits = np.bincount(order, minlength=10)
    assert np.abs(visits - 400).max() < 5 * (500 * 0.8 * 0.2) ** 0.5


def test_the_examples_of_a_seed_depend_on_the_arguments_alone_and_cannot_be_written_to():
    example_order.cache_clear()
    order = example_order(3, "train", 100)
    assert np.sort(order).tolist() == list(range(100))
    assert example_order(3, "train", 100) is order
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1
    for other in ((4, "train"), (3, "test")):
        assert (example_order(*other, 100) == order).mean() < 0.1
    example_order.cache_clear()
    assert (example_order(3, "train", 100) == order).all()


def test_every_example_is_as_likely_in_a_sample_as_any():
    samples = [example_order(s, "train", 20)[:5] for s in range(800)]
    drawn = np.bincount(np.concatenate(samples), minlength=20)
    assert np.abs(drawn - 200).max() < 5 * (800 * 0.25 * 0.75) ** 0.5
    # Two seeds share examples as independent draws do: 5 * 5 / 20 of them.
    shared = [np.isin(a, b).sum() for a, b in zip(samples[::2], samples[1::2], strict=True)]
    assert abs(np.mean(shared) - 1.25) < 5 * (1 / 400) ** 0.5
