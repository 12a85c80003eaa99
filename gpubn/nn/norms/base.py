"""The interface of every kind of normalisation."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from gpubn.backend import Array, Backend, mean_rows, namespace, sum_rows
from gpubn.config import NormConfig
from gpubn.errors import ConfigError
from gpubn.kernels.agnostic.batch_norm import follow, inverse_std
from gpubn.nn.layers import Gradients, Numbers, StepByGradients


class Site(NamedTuple):
    """The place of a normalisation in a network.

    Attributes:
        seeds: one a replica.
        units: D.
        number: that of the hidden layer, from 1.
    """

    seeds: Sequence[int]
    units: int
    number: int
    backend: Backend
    dtype: str


class BatchStatistics(NamedTuple):
    """Mean and variance of a batch, (R, D) each; the variance divides by `dof`."""

    mean: Array
    var: Array
    dof: int


class Norm(StepByGradients):
    """A normalisation of x (R, N, D), which mixes no replicas.

    A new kind is a subclass in a module of its own and a line in the registry. It defines `forward`
    and `backward`, as every layer; the rest it may inherit. So that a GPU can record its training
    pass, nothing is asked there of the host or of cuBLAS (`dot`, not einsum), and what differs from
    step to step is looked up by a counter on the device in what `prepare` has drawn; or else
    `replayable` is False. Arrays among its attributes have the replicas first, or it has a `select`
    of its own.

    Args:
        norms: its configuration, one for all replicas or one a replica, which then differ in the
            numbers that are not whole.

    Attributes:
        parameters: which of gamma and beta it has where they are learnable.
        averages: which running averages it keeps, mean and spread (of `norm.average`).
        least_batch: examples that a training pass needs.
        in_groups: whether it normalises groups of `norm.ghost` examples.
        fuses: whether `forward` takes `activation`, the name of the one that follows, and
            `backward` is that of both.
        takes_bias: whether a training pass takes `bias`, (R, D), that the map before has left to be
            added, and `descend` takes `scale`: both as those of `gpubn.kernels`. It says that the
            mean of x changes nothing but itself, so a class that is derived has to say it again.
        of_whole_batches: whether it normalises by the mean and the variance of whole batches, which
            `batch_statistics` gives, and at inference as batch norm does.
        params: the parameters by name, (R, D) each.
        running: the averages by name, (R, D) each: what inference takes for the batch's own.
    """

    parameters: ClassVar[tuple[str, ...]] = ("gamma", "beta")
    averages: ClassVar[tuple[str, ...]] = ()
    least_batch: ClassVar[int] = 1
    in_groups: ClassVar[bool] = False
    fuses: ClassVar[bool] = False
    takes_bias: ClassVar[bool] = False
    of_whole_batches: ClassVar[bool] = False
    in_expressions = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.takes_bias = vars(cls).get("takes_bias", False)

    def __init__(self, norms: Sequence[NormConfig], site: Site) -> None:
        self._correction, self._average = norms[0].correction, norms[0].average
        self._eps = of_replicas([n.eps for n in norms], site)
        self._momentum = of_replicas([n.momentum for n in norms], site)
        start = {
            "gamma": [1.0],
            "beta": [n.initial_beta for n in norms],
            "mean": [0.0],
            "spread": [n.initial_spread for n in norms],
        }
        self.params = {name: _filled(start[name], site) for name in self.parameters}
        if not norms[0].learnable:
            self.params = {}
        self.running = {name: _filled(start[name], site) for name in self.averages}

    @classmethod
    def check(cls, norm: NormConfig, examples: int, key: str) -> None:
        """Refuse a configuration that the kind cannot take, before work begins.

        Args:
            examples: those of a training pass; `key` says how many there are.
        """
        if norm.ghost and not cls.in_groups:
            raise ConfigError(
                f"norm.ghost is {norm.ghost}; expected 0, as norm.kind={norm.kind} has no groups"
            )
        if examples < cls.least_batch:
            raise ConfigError(
                f"{key} is {examples}; expected at least {cls.least_batch}, which "
                f"norm={norm.name} needs in training"
            )

    @classmethod
    def numbers_a_step(cls, units: int) -> int:
        """Return how many numbers `prepare` draws for a replica and step."""
        return 0

    def prepare(self, passes: int) -> None:
        """Draw what so many more tracked training passes differ in."""

    def advance(self, passes: int) -> None:
        """Go on as if there had been so many more tracked training passes; back where below 0."""

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        raise NotImplementedError

    def select(self, replicas: slice) -> Self:
        view = copy.copy(self)
        for name, value in vars(self).items():
            setattr(view, name, _part(value, replicas))
        return view

    def set_statistics(self, mean: Array, var: Array) -> None:
        """Let inference use these, (R, D) each, in the place of the running averages it has."""
        given = {"mean": mean, "spread": var**0.5 if self._average == "std" else var}
        self.running = {name: given[name] for name in self.running}

    def batch_statistics(self, cache: Any) -> BatchStatistics:
        """Return the statistics that a training pass with this cache has normalised by."""
        raise NotImplementedError

    @property
    def running_var(self) -> Array:
        """The variance that inference uses, (R, D)."""
        spread = self.running["spread"]
        return spread**2 if self._average == "std" else spread

    def _follow(self, **new: Array) -> None:
        """Move the running averages towards new values, (R, D) each."""
        for name, value in new.items():
            follow(self.running[name], value, self._momentum)

    def _spread(self, var: Array, dof: int, n: int) -> Array:
        """Return what the average of spreads follows, of a variance of n examples."""
        return var**0.5 if self._average == "std" else var * (dof / (n - 1))

    def _inverse_std(self, var: Array) -> Array:
        """1/sqrt(var + eps) for (R, ...) with one axis more; 0 where that would be 1/0."""
        return inverse_std(var, self._eps, namespace(var))

    def _scale_shift(self, x_hat: Array) -> Array:
        """Return gamma x_hat + beta, as far as there are any."""
        gamma, beta = self.params.get("gamma"), self.params.get("beta")
        y = x_hat if gamma is None else x_hat * gamma[:, None]
        return y if beta is None else y + beta[:, None]

    def _through_scale(self, dy: Array, x_hat: Array) -> tuple[Array, Gradients]:
        """Return the gradient of x_hat in `_scale_shift`, and those of the parameters."""
        gradients = {"gamma": dot(dy, x_hat), "beta": sum_rows(dy)}
        gamma = self.params.get("gamma")
        return dy if gamma is None else dy * gamma[:, None], {p: gradients[p] for p in self.params}


def of_replicas(value: Numbers, site: Site) -> Any:
    """One float where all replicas agree, which is the fast way; else an array (R,).

    >>> from gpubn.backend import resolve
    >>> site = Site([0, 1], 3, 1, resolve("numpy"), "float64")
    >>> of_replicas([0.1, 0.1], site), of_replicas([0.1, 0.2], site)
    (0.1, array([0.1, 0.2]))
    """
    values = np.broadcast_to(np.asarray(value, np.float64), len(site.seeds))
    if (values == values[0]).all():
        return float(values[0])
    return site.backend.asarray(values, site.dtype)


def dot(a: Array, b: Array) -> Array:
    """sum(a * b) over the examples, (R, D); einsum may ask cuBLAS, which CuPy does not record.

    >>> dot(np.array([[[1.0], [2.0]]]), np.array([[[10.0], [100.0]]])).tolist()
    [[210.0]]
    """
    return sum_rows(a * b)


def centred(x: Array, axis: int) -> tuple[Array, Array]:
    """Return x less its mean over the examples (axis -2) or the units (-1), and that mean.

    What does not vary becomes exactly 0, and a mean far above the spread costs no digits: the first
    value is subtracted first, and the mean once more where that one is an outlier.

    >>> [part.tolist() for part in centred(np.array([[1.0], [3.0]]), axis=-2)]
    [[[-1.0], [1.0]], [[2.0]]]
    """
    pivot = x[..., :1, :] if axis == -2 else x[..., :1]
    c = x - pivot
    shift = _mean(c, axis)
    c -= shift
    rest = _mean(c, axis)
    c -= rest
    return c, pivot + (shift + rest)


def _mean(x: Array, axis: int) -> Array:
    mean: Array = mean_rows(x, keepdims=True) if axis == -2 else x.mean(axis=-1, keepdims=True)
    return mean


def _filled(values: Numbers, site: Site) -> Array:
    """(R, D) of one number, or of one a replica."""
    column = np.reshape(values, (-1, 1))
    shape = (len(site.seeds), site.units)
    return site.backend.asarray(np.broadcast_to(column, shape).astype(site.dtype))


def _part(value: Any, replicas: slice) -> Any:
    if isinstance(value, dict):
        return {name: _part(of_name, replicas) for name, of_name in value.items()}
    return value[replicas] if getattr(value, "ndim", 0) else value
