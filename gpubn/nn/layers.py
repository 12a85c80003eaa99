"""Layers: parameters and running state around kernels.

`forward` returns output and cache, `backward` takes the cache and returns the gradient of the input
and of each parameter. A layer holds R replicas; nothing mixes them.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubn.backend import Array, Backend, device_of, namespace
from gpubn.kernels import (
    MaskDraws,
    activation,
    affine,
    affine_backward,
    affine_descend,
    classifier_descend,
    descend,
    dropout_backward,
    dropout_drawn,
)
from gpubn.nn.rng import generator_key

Gradients = dict[str, Array]
Numbers = float | Sequence[float]
"""One number for all replicas, or one for each."""


class Slope(NamedTuple):
    """The gradient that a layer hands to the one before it in a step.

    Attributes:
        dy: the gradient, (R, N, D); None where nobody needs it.
        scaled: rate * dy where a kernel made both. The bias before takes no step then: dy of each
            unit sums to 0.
    """

    dy: Array | None
    scaled: Array | None = None


class Layer(Protocol):
    """A layer as the model sees it.

    Attributes:
        params: updated in place by the optimiser.
        replayable: whether its training pass asks nothing of the host, so that a device may record
            it.
        in_expressions: whether array expressions of its own run there, which the CPU cannot record.
    """

    params: dict[str, Array]
    replayable: bool
    in_expressions: bool

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        """Return y and the cache; `track` lets a training pass update the running state."""

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        """Return dx (None where it is not needed) and the gradient of each parameter."""

    def descend(self, slope: Slope, cache: Any, rates: Array, *, need_dx: bool) -> Slope:
        """Return that of x and take a step: each parameter -= rate * its gradient, in place."""

    def prepare(self, passes: int) -> None:
        """Draw what so many more training passes take, so that none has to ask the host."""

    def select(self, replicas: slice) -> "Layer":
        """Return some of the replicas, as views: what changes in one changes in the other."""


class StepByGradients:
    """Takes a step from the gradients that the backward pass returns."""

    params: dict[str, Array]
    replayable = True
    in_expressions = False

    def prepare(self, passes: int) -> None:
        """Nothing."""

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        raise NotImplementedError

    def descend(self, slope: Slope, cache: Any, rates: Array, *, need_dx: bool) -> Slope:
        dx, gradients = self.backward(slope.dy, cache, need_dx=need_dx)
        descend([self.params[name] for name in gradients], [*gradients.values()], rates)
        return Slope(dx)


class Affine:
    """y = x @ weight + bias with weight (R, D, H) and bias (R, H).

    >>> layer = Affine(np.array([[[1.0], [10.0]]]), np.array([[100.0]]))
    >>> y, cache = layer.forward(np.array([[[1.0, 2.0]]]), training=True, track=True)
    >>> y.tolist(), layer.backward(np.ones_like(y), cache, need_dx=True)[0].tolist()
    ([[[121.0]]], [[[1.0, 10.0]]])
    """

    replayable = True
    in_expressions = False

    def __init__(self, weight: Array, bias: Array) -> None:
        self.params = {"weight": weight, "bias": bias}
        self._dweight: Array | None = None

    def forward(
        self,
        x: Array,
        *,
        training: bool,
        track: bool,
        activation: str = "linear",
        add_bias: bool = True,
    ) -> tuple[Array, Any]:
        bias = self.params["bias"] if add_bias else None
        return affine(x, self.params["weight"], bias, activation=activation)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, dweight, dbias = affine_backward(dy, cache, need_dx=need_dx, dweight_out=self._buffer())
        return dx, {"weight": dweight, "bias": dbias}

    def descend(self, slope: Slope, cache: Any, rates: Array, *, need_dx: bool) -> Slope:
        dy, scaled = slope
        dx = affine_descend(
            *(dy, cache, self.params["bias"] if scaled is None else None, rates),
            need_dx=need_dx,
            scratch=self._scratch(dy),
            scaled=scaled,
        )
        return Slope(dx)

    def descend_loss(
        self, x: Array, labels: Array, rates: Array, *, need_dx: bool
    ) -> tuple[Array, Array | None]:
        """Return the cross-entropy of y, (R,), and dx, and take a step; labels were checked."""
        return classifier_descend(
            *(x, labels, self.params["weight"], self.params["bias"], rates),
            need_dx=need_dx,
            check_labels=False,
            scratch=self._scratch(x),
        )

    def prepare(self, passes: int) -> None:
        """Nothing."""

    def _scratch(self, like: Array) -> Array | None:
        """A buffer for the gradient of the weight where NumPy computes it."""
        return self._buffer() if type(like) is np.ndarray else None

    def _buffer(self) -> Array:
        """The largest array of a step: one buffer for the whole run saves its page faults."""
        if self._dweight is None:
            self._dweight = self.params["weight"].copy()
        return self._dweight

    def select(self, replicas: slice) -> "Affine":
        return Affine(self.params["weight"][replicas], self.params["bias"][replicas])


class Activation(StepByGradients):
    """ReLU, tanh, sigmoid or the identity. The cache is the output.

    Args:
        name: relu, tanh, sigmoid or linear.

    Raises:
        ArgumentError: there is no such activation.

    >>> y, _ = Activation("relu").forward(np.array([[-1.0, 2.0]]), training=True, track=True)
    >>> y.tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.params = {}
        self._forward, self._backward = activation(name)

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        return self._forward(x)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        return self._backward(dy, cache), {}

    def select(self, replicas: slice) -> "Activation":
        return self


class Dropout(StepByGradients):
    """Inverted dropout; inference leaves the input as it is. The cache is the mask.

    A mask depends on the seed, the layer and the number of the training pass alone. Passes that do
    not track the running state all see the same mask.

    Args:
        rate: the share that is dropped, one number or one a replica.

    >>> from gpubn.backend import resolve
    >>> layer = Dropout(0.5, seeds=[0], layer=1, backend=resolve("numpy"))
    >>> y, _ = layer.forward(np.ones((1, 10, 10)), training=True, track=True)
    >>> np.unique(y).tolist()
    [0.0, 2.0]
    """

    def __init__(self, rate: Numbers, seeds: Sequence[int], layer: int, backend: Backend) -> None:
        self.params = {}
        device = device_of(backend.xp)
        self._device = None if backend.on_host else device  # draws the masks, if there is one
        self._seeds, self._layer, self._backend = seeds, layer, backend
        self._rates = self._placed(np.broadcast_to(np.asarray(rate, np.float64), len(seeds)))
        self._draws = self._new_draws(())
        self.replayable = backend.on_host or self._device is not None

    def prepare(self, passes: int) -> None:
        keys, cursor = self._draws
        done = int(self._backend.to_host(cursor)[0]) if self._device else int(cursor[0])
        if missing := range(len(keys), done + passes):
            more = self._new_draws(missing).keys
            self._draws = MaskDraws(namespace(keys).concatenate([keys, more]), cursor)

    def forward(self, x: Array, *, training: bool, track: bool) -> tuple[Array, Any]:
        if not training:
            return x, None
        if not track:
            return dropout_drawn(x, self._new_draws(["untracked"]), self._rates)
        if not (self._device and self._device.recording):  # then nobody can wait for the cursor
            self.prepare(1)
        return dropout_drawn(x, self._draws, self._rates)

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        return dropout_backward(dy, cache), {}

    def select(self, replicas: slice) -> "Dropout":
        view = copy.copy(self)
        view._rates, view._seeds = self._rates[replicas], self._seeds[replicas]
        keys, cursor = self._draws
        view._draws = MaskDraws(keys[:, replicas], cursor.copy())
        return view

    def _new_draws(self, passes: Iterable[int | str]) -> MaskDraws:
        rows = [
            [generator_key(seed, "dropout", self._layer, n) for seed in self._seeds] for n in passes
        ]
        keys = np.array(rows, np.uint64).reshape(-1, len(self._seeds), 2)
        return MaskDraws(self._placed(keys), self._placed(np.zeros(1, np.int64)))

    def _placed(self, array: np.ndarray) -> Array:
        """Return an array of the host as one of the place where masks are drawn."""
        return self._backend.asarray(array) if self._device else array
