"""Turns and ratios: what decides how a time is taken."""

import numpy as np
import pytest
from harness import compare, take_turns


def test_each_round_hears_all_and_another_one_begins():
    heard = []
    three = [lambda name=name: heard.append(name) or ord(name) for name in "abc"]
    times = take_turns(4, three)
    assert "".join(heard) == "abcbcacababc"
    np.testing.assert_array_equal(times, [[ord(name)] * 4 for name in "abc"])


@pytest.mark.parametrize(("answers", "rounds"), [([True, False], 2), ([False], 1)])
def test_no_further_round_begins_once_it_is_time_to_stop(answers, rounds):
    assert take_turns(9, [lambda: 0.0], iter(answers).__next__).shape == (1, rounds)


def test_ratios_are_of_the_same_round():
    assert compare([3.0, 4.0, 9.0], [1.0, 2.0, 2.0]) == (3.0, 2.0, 4.5)
