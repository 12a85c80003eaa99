"""Random numbers: the key alone decides them, and the order of the data is a fair shuffle."""

import numpy as np
import pytest

from gpubn.errors import ArgumentError
from gpubn.nn.rng import batch_order, example_order, generator


def draw(seed, *purpose):
    return generator(seed, *purpose).standard_normal(8)


def test_the_same_key_gives_the_same_numbers():
    assert draw(3, "weights", 1).tobytes() == draw(3, "weights", 1).tobytes()


def test_what_was_drawn_before_does_not_matter():
    first = draw(3, "weights", 1)
    for seed in range(5):
        generator(seed, "input").standard_normal(1000)
    assert draw(3, "weights", 1).tobytes() == first.tobytes()


@pytest.mark.parametrize(
    "other",
    [
        (1, "weights", 0),
        (2, "weights", 0),
        (0, "weights", 1),
        (0, "input"),
        (0, "upstream"),
        (0, "weights"),
        (0, "weights", 0, 0),
        (0, 0, "weights"),
        (),
    ],
    ids=str,
)
def test_another_key_gives_other_numbers(other):
    here, there = draw(0, "weights", 0), draw(*(other or (0,)))
    assert not np.isin(there, here).any()


@pytest.mark.parametrize(("one", "other"), [((1, 23), (12, 3)), ((1, 1), (11,)), ((1, 0), (10,))])
def test_digits_do_not_run_together(one, other):
    assert not np.isin(draw(*other), draw(*one)).any()


def test_neighbouring_seeds_are_independent():
    values = np.stack([generator(s, "input").standard_normal(2000) for s in range(20)])
    correlation = np.corrcoef(values) - np.eye(20)
    assert np.abs(correlation).max() < 5 / 2000**0.5
    assert np.abs(values.mean(axis=0).std() - 20**-0.5) < 0.02


def test_a_change_of_the_generator_would_be_noticed():
    # All results in results/ were made from this stream.
    np.testing.assert_allclose(
        generator(0, "weights", 0).standard_normal(3),
        [-1.170564137991413, 0.7901175526932164, -2.9446311755759353],
        rtol=1e-15,
    )
    assert generator(0, "weights", 0).random(3).tolist() == [
        0.592426478404081,
        0.0866231708287627,
        0.36085896566465225,
    ]
    np.testing.assert_allclose(
        generator(7, "input").standard_normal(3),
        [-1.836982355571132, -0.8850254308914133, 1.583519168644145],
        rtol=1e-15,
    )
    assert batch_order(0, 10, 4, 3).tolist() == [[8, 9, 5, 1], [6, 7, 4, 0], [3, 1, 5, 2]]
    assert example_order(0, "train", 10).tolist() == [1, 2, 9, 4, 8, 7, 0, 3, 6, 5]


def test_a_negative_seed_is_refused():
    with pytest.raises(ArgumentError, match="seed is -1; expected an integer of at least 0"):
        generator(-1, "weights")
    with pytest.raises(ArgumentError, match="seed is -2"):
        batch_order(-2, 10, 4, 3)


@pytest.mark.parametrize(
    ("examples", "batch"), [(12, 4), (10, 4), (10, 10), (7, 1), (9, 5), (1, 1)]
)
def test_every_epoch_visits_an_example_at_most_once(examples, batch):
    per_epoch = examples // batch
    order = batch_order(1, examples, batch, 4 * per_epoch)
    assert order.shape == (4 * per_epoch, batch)
    assert order.dtype == np.int64
    for epoch in order.reshape(4, -1):
        assert np.unique(epoch).size == per_epoch * batch
        assert epoch.min() >= 0
        assert epoch.max() < examples
    if examples % batch == 0:
        assert (np.sort(order.reshape(4, -1)) == np.arange(examples)).all()


def test_an_incomplete_batch_is_dropped_and_the_next_epoch_starts():
    # 10 examples in batches of 4: two steps an epoch, two examples left out.
    order = batch_order(5, 10, 4, 6)
    for epoch in range(3):
        assert np.unique(order[2 * epoch : 2 * epoch + 2]).size == 8
    left_out = [set(range(10)) - set(order[2 * e : 2 * e + 2].ravel()) for e in range(3)]
    assert len({frozenset(s) for s in left_out}) > 1  # not always the same two


def test_every_example_is_as_likely_to_be_left_out_as_any():
    order = np.concatenate([batch_order(s, 10, 4, 2).ravel() for s in range(500)])
    visits = np.bincount(order, minlength=10)
    assert np.abs(visits - 400).max() < 5 * (500 * 0.8 * 0.2) ** 0.5


def test_epochs_differ_and_seeds_differ():
    order = batch_order(2, 100, 50, 6).reshape(3, 100)
    assert not (order[0] == order[1]).all()
    assert not (order[1] == order[2]).all()
    assert not (batch_order(3, 100, 50, 6).reshape(3, 100) == order).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8])
def test_a_longer_run_starts_with_the_same_order(steps):
    longer = batch_order(4, 11, 3, 50)
    order = batch_order(4, 11, 3, steps)
    assert order.shape == (steps, 3)
    assert (order == longer[:steps]).all()


@pytest.mark.parametrize("batch", [0, -1, 11])
def test_a_batch_that_does_not_fit_is_refused(batch):
    text = f"batch is {batch}; expected 1 to 10, the number of examples"
    with pytest.raises(ArgumentError, match=text):
        batch_order(0, 10, batch, 3)


# The examples of a seed ---------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [1, 2, 10, 1000])
@pytest.mark.parametrize("part", ["train", "test"])
def test_every_example_stands_in_the_order_of_a_seed_once(part, examples):
    order = example_order(3, part, examples)
    assert order.dtype == np.int64
    assert np.sort(order).tolist() == list(range(examples))


def test_the_order_of_examples_depends_on_its_arguments_alone():
    example_order.cache_clear()
    first = example_order(3, "train", 100).tolist()
    example_order.cache_clear()
    for seed in range(5):
        batch_order(seed, 100, 10, 30)
        example_order(seed, "test", 100)
    assert example_order(3, "train", 100).tolist() == first
    for other in ((4, "train"), (3, "test")):
        agree = np.mean(example_order(*other, 100) == first)
        assert agree < 0.1  # one in a hundred by chance
    assert (batch_order(3, 100, 100, 1) != first).mean() > 0.9  # nor is it that of the first epoch


def test_what_many_seeds_share_cannot_be_written_to():
    order = example_order(3, "train", 10)
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1
    assert example_order(3, "train", 10) is order


def test_every_example_is_as_likely_in_a_sample_as_any():
    samples = [example_order(s, "train", 20)[:5] for s in range(800)]
    drawn = np.bincount(np.concatenate(samples), minlength=20)
    assert np.abs(drawn - 200).max() < 5 * (800 * 0.25 * 0.75) ** 0.5
    # Two seeds share examples as independent draws do: 5 * 5 / 20 of them.
    shared = [np.isin(a, b).sum() for a, b in zip(samples[::2], samples[1::2], strict=True)]
    assert abs(np.mean(shared) - 1.25) < 5 * (1 / 400) ** 0.5


def test_a_negative_seed_has_no_examples():
    with pytest.raises(ArgumentError, match="seed is -1"):
        example_order(-1, "train", 10)
