"""The typed configuration: every key, its type, its default, its range. No arrays here.

Hydra composes `conf/` into `Config`; a misspelt key or a wrong type fails there, a value out of
range where the configuration is made, before any work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from math import inf, isfinite
from typing import Any, ClassVar

from gpubn.errors import ConfigError

INIT_KINDS = ("normal", "uniform", "glorot_normal", "glorot_uniform", "he_normal")
ARITHMETICS = ("corrected", "published", "early", "sign", "mean")


def _key(default: Any, allowed: str, ok: Callable[[Any], bool]) -> Any:
    """Return a field for what `ok` accepts, `allowed` in words."""
    return field(default=default, metadata={"allowed": allowed, "ok": ok})


def _one_of(*names: str, default: str = "") -> Any:
    """Return a field for one of these words, the first where no `default` is named."""
    return _key(default or names[0], "one of " + ", ".join(names), names.__contains__)


def _at_least(least: int, default: int, remark: str = "") -> Any:
    return _key(default, f"at least {least}{remark}", lambda value: value >= least)


def _not_negative(default: float) -> Any:
    return _key(default, "at least 0, and finite", lambda value: 0 <= value < inf)


def _positive(default: float) -> Any:
    return _key(default, "more than 0, and finite", lambda value: 0 < value < inf)


def _require(ok: bool, key: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{key} is {value!r}; expected {allowed}")


class _Checked:
    """Holds every field to what it allows."""

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, limit in _limits(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            _require(limit["ok"](value), self.group + name, value, limit["allowed"])


@cache
def _limits(kind: type) -> dict[str, Mapping[str, Any]]:
    """Return what the fields of a class allow; once a class, for sweeps make many cells."""
    return {f.name: f.metadata for f in fields(kind) if f.metadata}


@dataclass
class DataConfig(_Checked):
    """The data. `examples` and `features` size the Gaussian input only.

    `train_examples` draws so many training images at random for each seed; 0 takes all. `inputs` is
    what a network gets to see of the images. Which names there are is not known here: an experiment
    names the data that it takes.
    """

    group = "data."
    name: str = "mnist"
    root: str | None = None
    examples: int = _at_least(2, 1000)
    features: int = _at_least(1, 100)
    train_examples: int = _at_least(0, 0, " (0 takes all)")
    inputs: str = _one_of("raw", "centred", "standardised", "whitened")


@dataclass
class ModelConfig(_Checked):
    """A multilayer perceptron: `depth` hidden layers of `width` units.

    `dropout` is the share of hidden units that is dropped in training, `dropout_at` where:
    directly before each layer's normalisation, at the end of each layer, or of the last one alone.
    `residual` makes a hidden layer x + alpha f(x), where f is the layer with all that belongs to it
    and alpha starts at 0; the first one, whose input has another width, stays f(x).
    """

    group = "model."
    name: str = "mlp"
    depth: int = _at_least(1, 1)
    width: int = _at_least(1, 128)
    activation: str = _one_of("relu", "tanh", "sigmoid", "linear", default="tanh")
    dropout: float = _key(0.0, "a number in [0, 1)", lambda share: 0 <= share < 1)
    dropout_at: str = _one_of("before_norm", "end", "last", default="end")
    residual: bool = False


@dataclass
class NormConfig(_Checked):
    """Normalisation of the hidden layers.

    `placement` is none, or before or after the activation. `kind` is what normalises; which kinds
    there are is not known here but in `gpubn.nn.norms`, and one passes over the keys that it has no
    use for. `learnable` adds gamma and beta; `momentum` is the weight of the new value;
    `correction` is 0 for the biased and 1 for the unbiased variance; `average` says which statistic
    the moving average follows, and `initial_spread` what it starts from; `initial_beta` is what
    beta starts from (gamma: 1).
    `ghost` is the number of examples in a group that is normalised by its own statistics. In
    training, `noise_shift` and `noise_scale` bound the noise behind a unit: a shift of at most so
    much, and a factor of at most so much more than 1.
    """

    group = "norm."
    name: str = "none"
    placement: str = _one_of("none", "before", "after")
    kind: str = "batch"
    learnable: bool = True
    eps: float = _not_negative(1e-5)
    momentum: float = _key(0.1, "a number in (0, 1]", lambda weight: 0 < weight <= 1)
    correction: int = _key(0, "0 or 1", (0, 1).__contains__)
    average: str = _one_of("var", "std")
    initial_spread: float = _not_negative(1.0)
    initial_beta: float = _key(0.0, "finite", isfinite)
    ghost: int = _key(
        0, "0 (no groups), or at least 2", lambda examples: examples == 0 or examples >= 2
    )
    noise_shift: float = _not_negative(0.5)
    noise_scale: float = _not_negative(0.25)


@dataclass
class InitConfig(_Checked):
    """Initial weights and biases. See `gpubn.nn.init`.

    `scaled` says which layers `scale` is a factor on, and `bias` the standard deviation of normal
    biases: all, or the hidden ones alone.
    """

    group = "init."
    name: str = "glorot"
    kind: str = _one_of(*INIT_KINDS, default="glorot_normal")
    std: float = _not_negative(1.0)
    low: float = 0.0
    high: float = 1.0
    scale: float = _positive(1.0)
    bias: float = _not_negative(0.0)
    scaled: str = _one_of("all", "hidden")
    per_sqrt_fan_in: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"less than init.high ({self.high}), both finite"
        _require(-inf < self.low < self.high < inf, "init.low", self.low, allowed)


@dataclass
class OptimConfig(_Checked):
    """Stochastic gradient descent: `rate` (1 - step/steps), not below `min_rate`, or constant.

    A step goes along the average of the gradients so far, in which those before the last have the
    weight `momentum`, so that a rate means the same with it as without.
    """

    group = "optim."
    name: str = "sgd"
    rate: float = _positive(0.1)
    momentum: float = _key(0.0, "a number in [0, 1)", lambda weight: 0 <= weight < 1)
    schedule: str = _one_of("linear", "constant")
    min_rate: float = _not_negative(0.01)
    batch: int = _at_least(1, 32)
    steps: int = _at_least(1, 1500)


@dataclass
class TuningConfig(_Checked):
    """Tuning of each arm's rate on seeds of its own; none with 0 `seeds`.

    The rate is the one of the grid with the smallest `metric` at the end, its mean over the seeds.
    Not part of a cell's identity.
    """

    group = "tuning."
    seeds: int = _at_least(0, 0, " (0 tunes nothing)")
    first_seed: int = _at_least(0, 1000)
    metric: str = _one_of("batch_loss", "test_loss", "best_test_loss")


@dataclass
class UniverseConfig(_Checked):
    """A universe's effect on a grid beyond the keys that it sets: `steps` is a factor on theirs.

    Not part of a cell's identity, which is that of what comes of it.
    """

    group = "universe."
    name: str = "default"
    steps: int = _at_least(1, 1)


@dataclass
class BackendConfig(_Checked):
    """The kernels: auto, numpy, numba or cupy. Not part of a cell's identity."""

    group = "backend."
    name: str = _one_of("auto", "numpy", "numba", "cupy")


@dataclass
class TrackerConfig(_Checked):
    """A place to report finished cells to besides the store. Not part of a cell's identity.

    `uri` is a folder for tensorboard and a tracking URI for mlflow; below `results` where null.
    """

    group = "tracker."
    name: str = _one_of("none", "tensorboard", "mlflow")
    uri: str | None = None


@dataclass
class Config(_Checked):
    """One cell and how to run it.

    `name` is the experiment's; `arithmetic` is published (a document's own listing, quirks
    included), corrected, or one of the listing's faults alone; `seeds` counts the replicas,
    starting at `first_seed`; `every` is the number of steps between records.

    Raises:
        ConfigError: a value is out of range, here and in every group.

    >>> Config(optim=OptimConfig(rate=0.3)).optim.steps
    1500
    >>> Config(optim=OptimConfig(rate=-1.0))
    Traceback (most recent call last):
    gpubn.errors.ConfigError: optim.rate is -1.0; expected more than 0, and finite
    """

    name: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    norm: NormConfig = field(default_factory=NormConfig)
    init: InitConfig = field(default_factory=InitConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    arithmetic: str = _one_of(*ARITHMETICS)
    dtype: str = _one_of("float32", "float64")
    seeds: int = _key(10, "1 to 100000", lambda count: 1 <= count <= 100_000)
    first_seed: int = _at_least(0, 0)
    every: int = _at_least(1, 25)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    universe: UniverseConfig = field(default_factory=UniverseConfig)
    backend: BackendConfig = field(default_factory=BackendConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    results: str = _key("results", "the name of a folder", bool)
    force: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        held = range(self.first_seed, self.first_seed + self.seeds)
        tuned = range(self.tuning.first_seed, self.tuning.first_seed + self.tuning.seeds)
        apart = not tuned or tuned[-1] < held[0] or held[-1] < tuned[0]
        allowed = f"seeds other than those that are held, {held[0]} to {held[-1]}"
        _require(apart, "tuning.first_seed", self.tuning.first_seed, allowed)


def from_dict(document: dict[str, Any]) -> Config:
    """Return the configuration that `dataclasses.asdict` made `document` from, validated.

    Raises:
        ConfigError: a value is out of range.

    >>> from dataclasses import asdict
    >>> config = Config(name="mine", norm=NormConfig(placement="before"))
    >>> from_dict(asdict(config)) == config
    True
    """
    groups = {
        f.name: f.type(**document[f.name])
        for f in fields(Config)
        if isinstance(f.type, type) and is_dataclass(f.type)
    }
    return Config(**{**document, **groups})
