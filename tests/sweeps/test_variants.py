"""Configurations that differ from one in a few values: the same as composed, checked, and small."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubn.config import Config, DataConfig, ModelConfig, NormConfig, OptimConfig, from_dict
from gpubn.errors import ConfigError
from gpubn.sweeps.variants import Variants

BASE = Config(
    name="rate_sweep",
    data=DataConfig("digits", root="/data"),
    model=ModelConfig(width=32, activation="relu"),
    norm=NormConfig("before", "before", eps=0.5),
    optim=OptimConfig(rate=0.3, steps=100),
    seeds=3,
)
# Two other values of every key.
OTHERS = {
    **{"name": ["recipe", ""], "arithmetic": ["published", "early"], "dtype": ["float64"]},
    **{"seeds": [1, 7], "first_seed": [4, 5], "every": [1, 2], "results": ["a", "b/c"]},
    **{"force": [True], "retry_failed": [True]},
    **{"data.name": ["mnist", "gaussian"], "data.root": [None, "x"], "data.examples": [2, 3]},
    **{"data.features": [1, 2], "data.train_examples": [8, 9]},
    **{"model.name": ["m", ""], "model.depth": [2, 3], "model.width": [1, 2]},
    **{"model.activation": ["tanh", "linear"], "model.dropout": [0.5, 0.25]},
    "model.dropout_at": ["last", "before_norm"],
    **{"norm.name": ["n", ""], "norm.placement": ["none", "after"], "norm.learnable": [False]},
    **{"norm.eps": [0.0, 1e-5], "norm.momentum": [1.0, 0.3], "norm.correction": [1]},
    **{"norm.average": ["std"], "norm.initial_spread": [0.0, 2.0]},
    **{"norm.initial_beta": [-1.0, 1e-300], "norm.ghost": [2]},
    **{"init.name": ["i", ""], "init.kind": ["normal", "uniform"], "init.std": [0.1, 0.0]},
    **{"init.low": [-1.0, -2.0], "init.high": [2.0, 3.0], "init.scale": [2.0, 1e-3]},
    **{"init.per_sqrt_fan_in": [True], "init.scaled": ["hidden"]},
    **{"optim.name": ["o", ""], "optim.rate": [0.1, 1 / 3], "optim.schedule": ["constant"]},
    **{"optim.min_rate": [0.0, 0.2], "optim.batch": [2, 64], "optim.steps": [1, 7]},
    **{"backend.name": ["numpy", "cupy"], "tracker.name": ["mlflow"], "tracker.uri": ["u", "v"]},
}


def leaves(config, prefix=""):
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), prefix + field.name
        yield from leaves(value, f"{key}.") if dataclasses.is_dataclass(value) else [(key, value)]


def test_the_values_above_are_of_every_key():
    known = dict(leaves(BASE))
    assert set(OTHERS) == set(known)
    assert all(known[key] not in values for key, values in OTHERS.items())


values = st.dictionaries(st.sampled_from(sorted(OTHERS)), st.integers(0, 1), max_size=6).map(
    lambda chosen: {key: OTHERS[key][i % len(OTHERS[key])] for key, i in chosen.items()}
)


@given(st.lists(values, max_size=8))
def test_what_is_made_differs_in_what_was_given_and_in_nothing_else(given_values):
    variants = Variants(BASE)
    for changes in given_values:
        made = variants.make(changes)
        assert dict(leaves(made)) == dict(leaves(BASE)) | changes
        assert variants.differences(made) == changes
        assert from_dict(dataclasses.asdict(made)) == made
    assert variants.base == BASE


@given(values, values)
def test_any_of_them_may_be_the_base(one, other):
    variants = Variants(Variants(BASE).make(one))
    config = Variants(BASE).make(other)
    again = variants.make(variants.differences(config))
    assert repr(again) == repr(config)


def test_the_base_itself_has_no_differences():
    variants = Variants(BASE)
    assert variants.differences(BASE) == variants.differences(variants.make({})) == {}
    assert variants.make({}) == BASE


def test_signs_and_types_of_numbers_are_kept():
    """An id is a hash of the text of the numbers."""
    variants = Variants(BASE)
    for key, one, other in (
        ("norm.initial_beta", 0.0, -0.0),
        ("init.low", -0.0, 0.0),
        ("optim.rate", 1, 1.0),
    ):
        made = [variants.make({key: value}) for value in (one, other, one)]
        group, _, name = key.partition(".")
        assert [repr(getattr(getattr(m, group), name)) for m in made] == [
            repr(value) for value in (one, other, one)
        ]
        base = Variants(made[0])
        assert repr(base.make(base.differences(made[1]))) == repr(made[1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"norm.momentum": 7.0}, r"norm\.momentum is 7\.0; expected a number in \(0, 1\]"),
        ({"optim.rate": float("nan")}, r"optim\.rate is nan"),
        ({"init.low": 2.0}, r"init\.low is 2\.0; expected less than init\.high"),
        ({"seeds": 0}, "seeds is 0"),
        ({"norm.placement": "after", "optim.batch": 1}, r"optim\.batch is 1; expected at least 2"),
        ({"optim.batch": 1}, r"optim\.batch is 1; expected at least 2"),
        ({"norm.ghost": 1}, r"norm\.ghost is 1; expected 0 \(the whole batch\), or at least 2"),
        ({"norm.ghost": 4, "optim.batch": 6}, r"norm\.ghost is 4; expected a divisor of optim\."),
        ({"init.scaled": "both"}, "init.scaled is 'both'; expected one of all, hidden"),
    ],
)
def test_a_value_out_of_range_is_refused_every_time(changes, sentence):
    variants = Variants(BASE)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"^{sentence}"):
            variants.make(changes)
    assert variants.make({"norm.placement": "none", "optim.batch": 1}).optim.batch == 1


@pytest.mark.parametrize("key", ["norm.nope", "nope", "nope.eps", "norm.eps.x"])
def test_a_key_that_does_not_exist_is_an_error(key):
    with pytest.raises((TypeError, AttributeError)):
        Variants(BASE).make({key: 1.0})


def test_equal_parts_are_one_object():
    """Of thousands of configurations the parts that do not differ are in memory once."""
    variants = Variants(BASE)
    made = [variants.make({"optim.rate": n / 100, "norm.eps": n % 2 / 10}) for n in range(1, 1001)]
    for group, count in (("data", 1), ("model", 1), ("init", 1), ("norm", 2), ("optim", 1000)):
        assert len({id(getattr(config, group)) for config in made}) == count
    assert made[3].data is BASE.data
