"""The typed configuration: every key, its type, its default, its range. No arrays here.

Hydra composes `conf/` into `Config`; a misspelt key or a wrong type fails there, a value out of
range fails in `__post_init__`, before any work.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from gpubn.errors import ConfigError

ACTIVATIONS = ("relu", "tanh", "sigmoid", "linear")
ARITHMETICS = ("corrected", "published", "early", "sign", "mean")


def _require(ok: bool, key: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{key} is {value!r}; expected {allowed}")


def _one_of(key: str, value: str, names: tuple[str, ...]) -> None:
    _require(value in names, key, value, "one of " + ", ".join(names))


@dataclass
class DataConfig:
    """Where examples come from. `examples` and `features` size the Gaussian input only.

    `train_examples` draws so many training images at random for each seed; 0 takes all.
    """

    name: str = "mnist"
    root: str | None = None
    examples: int = 1000
    features: int = 100
    train_examples: int = 0

    def __post_init__(self) -> None:
        _one_of("data.name", self.name, ("mnist", "digits", "gaussian"))
        _require(self.examples >= 2, "data.examples", self.examples, "at least 2")
        _require(self.features >= 1, "data.features", self.features, "at least 1")
        _require(
            self.train_examples >= 0,
            "data.train_examples",
            self.train_examples,
            "at least 0 (0 takes all)",
        )


@dataclass
class ModelConfig:
    """A multilayer perceptron: `depth` hidden layers of `width` units.

    `dropout` is the share of hidden units that is dropped in training, `dropout_at` where:
    directly before each layer's batchnorm, at the end of each layer, or of the last one alone.
    """

    name: str = "mlp"
    depth: int = 1
    width: int = 128
    activation: str = "tanh"
    dropout: float = 0.0
    dropout_at: str = "end"

    def __post_init__(self) -> None:
        _require(self.depth >= 1, "model.depth", self.depth, "at least 1")
        _require(self.width >= 1, "model.width", self.width, "at least 1")
        _one_of("model.activation", self.activation, ACTIVATIONS)
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "a number in [0, 1)")
        _one_of("model.dropout_at", self.dropout_at, ("before_norm", "end", "last"))


@dataclass
class NormConfig:
    """Batch normalization of the hidden layers.

    `placement` is none, or before or after the activation; `learnable` adds gamma and beta;
    `momentum` is the weight of the new value; `correction` is 0 for the biased and 1 for the
    unbiased variance; `average` says which statistic the moving average follows, and
    `initial_spread` what it starts from; `initial_beta` is what beta starts from (gamma: 1).
    `ghost` normalises groups of so many examples of a batch, each by its own statistics; 0 the
    whole batch.
    """

    name: str = "none"
    placement: str = "none"
    learnable: bool = True
    eps: float = 1e-5
    momentum: float = 0.1
    correction: int = 0
    average: str = "var"
    initial_spread: float = 1.0
    initial_beta: float = 0.0
    ghost: int = 0

    def __post_init__(self) -> None:
        _one_of("norm.placement", self.placement, ("none", "before", "after"))
        _require(0 <= self.eps < float("inf"), "norm.eps", self.eps, "at least 0, and finite")
        _require(0 < self.momentum <= 1, "norm.momentum", self.momentum, "a number in (0, 1]")
        _require(self.correction in (0, 1), "norm.correction", self.correction, "0 or 1")
        _one_of("norm.average", self.average, ("var", "std"))
        _require(
            0 <= self.initial_spread < float("inf"),
            "norm.initial_spread",
            self.initial_spread,
            "at least 0, and finite",
        )
        _require(
            abs(self.initial_beta) < float("inf"), "norm.initial_beta", self.initial_beta, "finite"
        )
        _require(
            self.ghost == 0 or self.ghost >= 2,
            "norm.ghost",
            self.ghost,
            "0 (the whole batch), or at least 2",
        )


@dataclass
class InitConfig:
    """How weights are drawn; biases start at 0. See `gpubn.nn.init.draw_weight`.

    `scaled` says which layers `scale` is a factor on: all, or the hidden ones alone.
    """

    name: str = "glorot"
    kind: str = "glorot_normal"
    std: float = 1.0
    low: float = 0.0
    high: float = 1.0
    scale: float = 1.0
    scaled: str = "all"
    per_sqrt_fan_in: bool = False

    def __post_init__(self) -> None:
        kinds = ("normal", "uniform", "glorot_normal", "glorot_uniform", "he_normal")
        _one_of("init.kind", self.kind, kinds)
        _require(0 <= self.std < float("inf"), "init.std", self.std, "at least 0, and finite")
        _require(
            -float("inf") < self.low < self.high < float("inf"),
            "init.low",
            self.low,
            f"less than init.high ({self.high}), both finite",
        )
        _require(0 < self.scale < float("inf"), "init.scale", self.scale, "more than 0, and finite")
        _one_of("init.scaled", self.scaled, ("all", "hidden"))


@dataclass
class OptimConfig:
    """Stochastic gradient descent: `rate` (1 - step/steps), not below `min_rate`, or constant."""

    name: str = "sgd"
    rate: float = 0.1
    schedule: str = "linear"
    min_rate: float = 0.01
    batch: int = 32
    steps: int = 1500

    def __post_init__(self) -> None:
        _require(0 < self.rate < float("inf"), "optim.rate", self.rate, "more than 0, and finite")
        _one_of("optim.schedule", self.schedule, ("linear", "constant"))
        _require(
            0 <= self.min_rate < float("inf"),
            "optim.min_rate",
            self.min_rate,
            "at least 0, and finite",
        )
        _require(self.batch >= 1, "optim.batch", self.batch, "at least 1")
        _require(self.steps >= 1, "optim.steps", self.steps, "at least 1")


@dataclass
class BackendConfig:
    """Where arrays live: auto, numpy or cupy. Not part of a cell's identity."""

    name: str = "auto"

    def __post_init__(self) -> None:
        _one_of("backend.name", self.name, ("auto", "numpy", "cupy"))


@dataclass
class TrackerConfig:
    """Where finished cells are reported besides the store. Not part of a cell's identity.

    `uri` is a folder for tensorboard and a tracking URI for mlflow; below `results` where null.
    """

    name: str = "none"
    uri: str | None = None

    def __post_init__(self) -> None:
        _one_of("tracker.name", self.name, ("none", "tensorboard", "mlflow"))


@dataclass
class Config:
    """One cell and how to run it.

    `name` is the experiment's; `arithmetic` is published (a document's own listing, quirks
    included), corrected, or one of the listing's faults alone; `seeds` counts the replicas,
    starting at `first_seed`; `every` is the number of steps between records.
    """

    name: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    norm: NormConfig = field(default_factory=NormConfig)
    init: InitConfig = field(default_factory=InitConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    arithmetic: str = "corrected"
    dtype: str = "float32"
    seeds: int = 10
    first_seed: int = 0
    every: int = 25
    backend: BackendConfig = field(default_factory=BackendConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    results: str = "results"
    force: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        _one_of("arithmetic", self.arithmetic, ARITHMETICS)
        _one_of("dtype", self.dtype, ("float32", "float64"))
        _require(1 <= self.seeds <= 100_000, "seeds", self.seeds, "1 to 100000")
        _require(self.results != "", "results", self.results, "the name of a folder")
        _require(self.first_seed >= 0, "first_seed", self.first_seed, "at least 0")
        _require(self.every >= 1, "every", self.every, "at least 1")
        _require(
            self.norm.placement == "none" or self.optim.batch >= 2,
            "optim.batch",
            self.optim.batch,
            f"at least 2, which norm={self.norm.name} needs in training",
        )
        _require(
            self.norm.ghost == 0 or self.optim.batch % self.norm.ghost == 0,
            "norm.ghost",
            self.norm.ghost,
            f"a divisor of optim.batch ({self.optim.batch})",
        )


def from_dict(document: dict[str, Any]) -> Config:
    """Return the configuration that `dataclasses.asdict` made `document` from, validated."""
    parts = {
        f.name: f.type(**document[f.name])
        for f in fields(Config)
        if isinstance(f.type, type) and is_dataclass(f.type)
    }
    return Config(**{**document, **parts})
