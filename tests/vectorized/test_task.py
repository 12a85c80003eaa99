"""What an application says, and how it finds configurations that are alike."""

from enum import Enum

import hydra
import pytest
from omegaconf import OmegaConf

from gpubn.vectorized import alike, vectorized


class Kind(Enum):
    one = 1
    two = 2


@pytest.mark.parametrize(
    ("contents", "but_for", "groups"),
    [
        ([], (), []),
        ([{"a": 1}, {"a": 2}, {"a": 1}], (), [[0, 2], [1]]),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], (), [[0, 1]]),
        ([{"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}], ("a.b",), [[0, 1]]),
        ([{"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}}], ("a.b",), [[0], [1]]),
        ([{"a": 1}, {"a": 2}], ("a.b", "c.d", "e"), [[0], [1]]),
        ([{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}], (), [[0], [1], [2], [3]]),
        ([{"a": 1, "b": "${a}"}, {"a": 2, "b": 1}, {"a": 1, "b": 1}], ("a",), [[0, 1, 2]]),
        ([{"a": 1, "b": "${a}"}, {"a": 2, "b": "${a}"}], ("a",), [[0], [1]]),
        ([{"a": Kind.one}, {"a": Kind.two}, {"a": Kind.one}], (), [[0, 2], [1]]),
        ([{"a": {1: 2, "b": 3}}, {"a": {"b": 3, 1: 2}}], (), [[0, 1]]),
        ([{"a": float("nan")}, {"a": float("nan")}], (), [[0, 1]]),
    ],
)  # fmt: skip
def test_configurations_that_are_alike(contents, but_for, groups):
    configs = [OmegaConf.create(content) for content in contents]
    before = repr(configs)
    assert alike(configs, but_for) == groups
    assert repr(configs) == before


def test_decorators_in_the_wrong_order_are_refused_in_a_sentence():
    """The attribute would stand on what Hydra made, and the launcher would not see it."""

    def train(config, share=None):
        pass

    main = hydra.main(version_base="1.3", config_path=None)
    main(vectorized(enumerate)(train))
    with pytest.raises(
        TypeError, match=r"@vectorized stands above @hydra\.main on train; expected"
    ):
        vectorized(enumerate)(main(train))
