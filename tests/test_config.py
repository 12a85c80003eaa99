"""The configuration's ranges: what is refused, and in which words."""

import dataclasses

import pytest

from gpubn import config as schema
from gpubn.config import (
    Config,
    DataConfig,
    InitConfig,
    ModelConfig,
    NormConfig,
    OptimConfig,
    TuningConfig,
)
from gpubn.errors import ConfigError

NAN, INF = float("nan"), float("inf")
ARITHMETICS = "corrected, published, early, sign, mean"
GROUPS = {
    field.name: field.default_factory
    for field in dataclasses.fields(Config)
    if dataclasses.is_dataclass(field.default_factory)
}


def make(key, value):
    group, _, field = key.rpartition(".")
    return (GROUPS[group] if group else Config)(**{field: value})


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        *(
            (key, value, "at least 0, and finite")
            for key in ("norm.eps", "norm.initial_spread", "norm.noise_shift", "norm.noise_scale")
            for value in (-1e-9, INF)
        ),
        *(
            (key, value, "at least 0, and finite")
            for key in ("init.std", "init.bias", "optim.min_rate")
            for value in (-1e-9, INF)
        ),
        *(
            (key, value, "more than 0, and finite")
            for key in ("init.scale", "optim.rate")
            for value in (0.0, -0.1, INF)
        ),
        *((key, 0, "at least 1") for key in ("data.features", "model.depth", "model.width")),
        *((key, 0, "at least 1") for key in ("optim.batch", "optim.steps", "every")),
        ("data.examples", 1, "at least 2"),
        ("data.train_examples", -1, r"at least 0 \(0 takes all\)"),
        ("model.activation", "gelu", "one of relu, tanh, sigmoid, linear$"),
        ("model.dropout", 1.0, r"a number in \[0, 1\)"),
        ("model.dropout", -0.1, r"a number in \[0, 1\)"),
        ("model.dropout_at", "start", "one of before_norm, end, last$"),
        ("norm.placement", "inside", "one of none, before, after"),
        ("norm.momentum", 0.0, r"a number in \(0, 1\]"),
        ("norm.momentum", 1.5, r"a number in \(0, 1\]"),
        ("norm.correction", 2, "0 or 1"),
        ("norm.average", "median", "one of var, std"),
        ("norm.initial_beta", INF, "finite"),
        *(("norm.ghost", n, r"0 \(no groups\), or at least 2$") for n in (1, -1, -4)),
        ("init.kind", "xavier", "one of normal, uniform, glorot_normal, glorot_uniform, he_normal"),
        ("init.low", 1.0, r"less than init.high \(1.0\)"),
        *(("init.scaled", word, "one of all, hidden$") for word in ("output", "", "Hidden")),
        *(("optim.momentum", weight, r"a number in \[0, 1\)") for weight in (-0.1, 1.0)),
        ("optim.schedule", "cosine", "one of linear, constant"),
        ("backend.name", "torch", "one of auto, numpy, numba, cupy"),
        ("tracker.name", "wandb", "one of none, tensorboard, mlflow$"),
        ("results", "", "the name of a folder"),
        *(("arithmetic", word, f"one of {ARITHMETICS}$") for word in ("improved", "", "no_eps")),
        ("dtype", "float16", "one of float32, float64"),
        ("seeds", 0, "1 to 100000"),
        ("seeds", 100_001, "1 to 100000"),
        ("first_seed", -1, "at least 0"),
        ("tuning.seeds", -1, r"at least 0 \(0 tunes nothing\)"),
        ("tuning.first_seed", -1, "at least 0"),
        ("tuning.metric", "loss", "one of batch_loss, test_loss, best_test_loss$"),
    ],
)
def test_refuses(key, value, allowed):
    text = repr(value).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ConfigError, match=f"^{key} is {text}; expected {allowed}"):
        make(key, value)


@pytest.mark.parametrize(
    ("tuned", "held", "apart"),
    [
        ((3, 1000), (0, 20), True),
        ((3, 20), (0, 20), True),
        ((3, 19), (0, 20), False),
        ((3, 0), (0, 20), False),
        ((30, 0), (10, 5), False),
        ((3, 7), (10, 5), True),
        ((3, 8), (10, 5), False),
        ((0, 10), (10, 5), True),  # nothing is tuned
    ],
)
def test_what_is_tuned_on_the_seeds_that_are_held_is_refused(tuned, held, apart):
    seeds, first = tuned
    start, count = held
    tuning = TuningConfig(seeds=seeds, first_seed=first)
    if apart:
        Config(first_seed=start, seeds=count, tuning=tuning)
        return
    with pytest.raises(ConfigError) as caught:
        Config(first_seed=start, seeds=count, tuning=tuning)
    assert str(caught.value) == (
        f"tuning.first_seed is {first}; expected seeds other than those that are held, {start} to "
        f"{start + count - 1}"
    )


@pytest.mark.parametrize(
    "key",
    [
        f"{group}.{field.name}"
        for group, kind in GROUPS.items()
        for field in dataclasses.fields(kind)
        if field.type is float
    ],
)
def test_nan_is_refused_everywhere(key):
    with pytest.raises(ConfigError, match=r"is nan; expected|init\.high \(nan\)"):
        make(key, NAN)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 0) for key in ("data.train_examples", "norm.ghost", "first_seed")),
        *((key, 1) for key in ("data.features", "optim.batch", "optim.steps", "seeds", "every")),
        *((key, 0.0) for key in ("norm.eps", "norm.initial_spread", "init.std", "optim.min_rate")),
        ("data.examples", 2),
        ("norm.ghost", 2),
        ("model.dropout", 0.0),
        ("model.dropout", 0.999),
        ("norm.momentum", 1.0),
        ("seeds", 100_000),
    ],
)
def test_the_edges_of_the_ranges_are_allowed(key, value):
    assert getattr(make(key, value), key.rpartition(".")[2]) == value


def test_a_document_gives_back_its_configuration():
    config = Config(
        name="dropout",
        data=DataConfig("digits", train_examples=7),
        model=ModelConfig(dropout=0.25, dropout_at="last"),
        norm=NormConfig(initial_beta=1.0, ghost=4),
        init=InitConfig(scale=2.0, scaled="hidden"),
        optim=OptimConfig(batch=16),
        arithmetic="sign",
    )
    assert schema.from_dict(dataclasses.asdict(config)) == config
    document = dataclasses.asdict(config)
    document["model"]["dropout"] = 2.0
    with pytest.raises(ConfigError, match=r"model\.dropout is 2\.0"):
        schema.from_dict(document)
