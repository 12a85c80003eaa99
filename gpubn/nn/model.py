"""The replica-batched multilayer perceptron: R independent networks in one set of arrays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar

from gpubn.backend import Array, Backend, on_cuda
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.kernels.affine import AffineCache
from gpubn.nn.init import initial_bias, initial_weight
from gpubn.nn.layers import Activation, Affine, Dropout, Gradients, Layer, Slope
from gpubn.nn.norms import make_norm
from gpubn.nn.norms.base import BatchStatistics, Norm, Site
from gpubn.nn.residual import Residual

L = TypeVar("L")


class MLP:
    """A stack of layers. `forward` accepts (R, N, D), or (N, D) shared by all replicas.

    An affine map, or a normalisation that fuses, runs with the activation after it as one: their
    caches are kept apart, and its backward pass is that of both. Around the layers before a
    `Residual` there is a connection; these do not overlap. On a GPU a map leaves its bias in
    training to the batch norm behind it, whose mean is all that it moves.

    >>> identity = Affine(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.zeros((1, 2)))
    >>> model = MLP([identity, Activation("relu")])
    >>> y, caches = model.forward(np.array([[[-1.0, 2.0]]]), training=True)
    >>> y.tolist(), model.backward(np.ones_like(y), caches)[0]["bias"].tolist()
    ([[[0.0, 2.0]]], [[0.0, 1.0]])
    """

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self._forks = {i - layer.span for i, layer in enumerate(layers) if _joins(layer)}
        pairs = [
            (i, layer, following)
            for i, (layer, following) in enumerate(pairwise(layers))
            if i + 1 not in self._forks  # where a connection begins between them
        ]
        self._fused = {
            i: following.name
            for i, layer, following in pairs
            if isinstance(following, Activation)
            and (isinstance(layer, Affine) or (isinstance(layer, Norm) and layer.fuses))
        }
        self._takes_bias = {
            i + 1
            for i, layer, following in pairs
            if isinstance(layer, Affine) and isinstance(following, Norm) and following.takes_bias
        }

    @property
    def replayable(self) -> bool:
        """True where a training pass asks nothing of the host."""
        return all(layer.replayable for layer in self.layers)

    def prepare(self, passes: int) -> None:
        """Draw what so many more training passes take, so that none has to ask the host."""
        for layer in self.layers:
            layer.prepare(passes)

    @property
    def in_expressions(self) -> bool:
        """True where array expressions of the layers run in a training pass."""
        return any(layer.in_expressions for layer in self.layers)

    def forward(self, x: Array, *, training: bool, track: bool = True) -> tuple[Array, list[Any]]:
        """Return the logits (R, N, C) and one cache a layer.

        `training` normalises by the batch, and with `track` updates the running statistics.
        """
        return self._forward(x, self.layers, training=training, track=track)

    def _forward(
        self, x: Array, layers: Sequence[Layer], *, training: bool, track: bool
    ) -> tuple[Array, list[Any]]:
        """Go through the first layers, of which a fused one has its activation beside it."""
        caches: list[Any] = []
        left = {i - 1 for i in self._takes_bias} if training and on_cuda(x) else set()
        skip = x
        for i, layer in enumerate(layers):
            if i in self._forks:
                skip = x
            if i - 1 in self._fused:
                caches.append(x)  # the cache of an activation is its output
                continue
            own: dict[str, Any] = {"skip": skip} if _joins(layer) else {}
            if i in self._fused:
                own["activation"] = self._fused[i]
            if i in left:
                own["add_bias"] = False
            if i - 1 in left:
                own["bias"] = self.layers[i - 1].params["bias"]
            x, cache = layer.forward(x, training=training, track=track, **own)
            caches.append(cache)
        return x, caches

    def walk(
        self,
        x: Array,
        *,
        training: bool,
        before: Callable[[Layer, Array], None] = lambda layer, x: None,
    ) -> Iterator[tuple[Layer, Array, Array]]:
        """Yield every layer with its input and output, each run by itself, without tracking.

        Args:
            before: called with each layer and its input before it is run.
        """
        skip = x
        for i, layer in enumerate(self.layers):
            if i in self._forks:
                skip = x
            before(layer, x)
            own: dict[str, Any] = {"skip": skip} if _joins(layer) else {}
            y, _ = layer.forward(x, training=training, track=False, **own)
            yield layer, x, y
            x = y

    def backward(self, dy: Array, caches: list[Any]) -> list[Gradients]:
        """Return the gradients of each layer's parameters, in the order of the layers."""
        gradients: list[Gradients] = [{} for _ in self.layers]

        def through(i: int, dy: Array) -> Array:
            dx, gradients[i] = self.layers[i].backward(dy, caches[i], need_dx=i > 0)
            return dx

        self._go_back(dy, len(self.layers), through)
        return gradients

    def step(
        self,
        x: Array,
        labels: Array,
        rates: Array,
        observe: Callable[[list[Any]], None] | None = None,
    ) -> Array:
        """Return the loss of a batch (R, N, D), (R,), and take a step of plain descent on it.

        Each parameter takes its step once its gradient is there: p -= rate * gradient. The last
        layer is an affine map.

        Args:
            labels: (R, N), which were checked.
            observe: called with the caches, one a layer, before the step.
        """
        *hidden, last = self.layers
        assert isinstance(last, Affine)
        h, caches = self._forward(x, hidden, training=True, track=True)
        if observe is not None:
            observe([*caches, AffineCache(h, last.params["weight"])])
        loss, dy = last.descend_loss(h, labels, rates, need_dx=bool(hidden))
        scales = self._takes_bias if on_cuda(rates) else set()
        scaled: Array | None = None

        def through(i: int, dy: Array) -> Array:
            nonlocal scaled
            own: dict[str, Any] = {"scale": True} if i in scales else {}
            dx, scaled = self.layers[i].descend(
                Slope(dy, scaled), caches[i], rates, need_dx=i > 0, **own
            )
            return dx

        self._go_back(dy, len(hidden), through)
        return loss

    def _go_back(self, dy: Array, layers: int, through: Callable[[int, Array], Array]) -> None:
        """Call `through(i, dy)`, which returns dx, for those of the first layers that have one."""
        skipped = dy
        for i in range(layers - 1, -1, -1):
            if i - 1 in self._fused:
                continue
            if _joins(self.layers[i]):
                skipped = dy
            dy = through(i, dy)
            if i in self._forks:
                dy = dy + skipped

    def select(self, replicas: slice) -> "MLP":
        """Return some of the replicas, as views on the same parameters."""
        return MLP([layer.select(replicas) for layer in self.layers])

    def activations(self, caches: list[Any]) -> list[Array]:
        """Return the output of each activation, (R, N, D), first hidden layer first."""
        of_layers = zip(self.layers, caches, strict=True)
        return [cache for layer, cache in of_layers if isinstance(layer, Activation)]

    def batch_statistics(self, caches: list[Any]) -> list[BatchStatistics]:
        """Return what each normalisation has normalised by, first hidden layer first."""
        of_layers = zip(self.layers, caches, strict=True)
        return [layer.batch_statistics(c) for layer, c in of_layers if isinstance(layer, Norm)]

    def layers_of(self, kind: type[L]) -> list[L]:
        """Return the layers of one kind, first hidden layer first."""
        return [layer for layer in self.layers if isinstance(layer, kind)]


def _joins(layer: Layer) -> TypeGuard[Residual]:
    return isinstance(layer, Residual)


def select_from_cache(cache: Any, replicas: slice) -> Any:
    """Return a layer's cache for some of the replicas, as views.

    >>> _, cache = Activation("relu").forward(np.ones((3, 5, 2)), training=True, track=True)
    >>> select_from_cache(cache, slice(1, 3)).shape
    (2, 5, 2)
    """
    if isinstance(cache, tuple) and hasattr(cache, "_make"):
        return cache._make(select_from_cache(value, replicas) for value in cache)
    return cache[replicas] if hasattr(cache, "ndim") else cache


def build_mlp(
    model: ModelConfig | Sequence[ModelConfig],
    norm: NormConfig | Sequence[NormConfig],
    init: InitConfig | Sequence[InitConfig],
    *,
    features: int,
    classes: int,
    seeds: Sequence[int],
    backend: Backend,
    dtype: str,
) -> MLP:
    """Return the network of the configuration, one replica a seed, drawn on the host.

    Args:
        model, norm, init: one for all replicas, or one a replica. These may differ in `init`, in
            the rate of dropout where it is not zero, and in the numbers of `norm` that are not
            whole; the first one says the rest.

    Raises:
        ConfigError: there is no such normalisation.

    >>> from gpubn.backend import resolve
    >>> model = build_mlp(
    ...     ModelConfig(width=128), NormConfig(placement="before"), InitConfig(),
    ...     features=784, classes=10, seeds=[0, 1], backend=resolve("numpy"), dtype="float32",
    ... )
    >>> [type(layer).__name__ for layer in model.layers]
    ['Affine', 'BatchNorm', 'Activation', 'Affine']
    >>> model.layers[0].params["weight"].shape
    (2, 784, 128)
    """
    models = [model] if isinstance(model, ModelConfig) else model
    inits = [init] * len(seeds) if isinstance(init, InitConfig) else init
    norms = [norm] if isinstance(norm, NormConfig) else norm
    first = models[0]
    sizes = [features, *[first.width] * first.depth, classes]
    layers: list[Layer] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        if i == first.depth:
            inits = [
                replace(one, scale=1.0, bias=0.0) if one.scaled == "hidden" else one
                for one in inits
            ]
        weight = initial_weight(inits, fan_in, fan_out, seeds, i, backend.draw_threads)
        bias = initial_bias(inits, fan_out, seeds, i)
        layers.append(Affine(backend.asarray(weight, dtype), backend.asarray(bias, dtype)))
        if i == first.depth:
            break
        behind = _hidden_layer(models, norms, i + 1, seeds, backend, dtype)
        layers += behind
        if first.residual and i > 0:
            alpha = backend.xp.zeros((len(seeds), 1), dtype)
            layers.append(Residual(alpha, span=1 + len(behind)))
    return MLP(layers)


def _hidden_layer(
    models: Sequence[ModelConfig],
    norms: Sequence[NormConfig],
    number: int,
    seeds: Sequence[int],
    backend: Backend,
    dtype: str,
) -> list[Layer]:
    """Return the layers behind the affine map of hidden layer `number`, counted from 1."""
    model, norm = models[0], norms[0]
    layers: list[Layer] = [Activation(model.activation)]
    place = len(layers)
    if norm.placement != "none":
        place = 0 if norm.placement == "before" else 1
        layers.insert(place, make_norm(norms, Site(seeds, model.width, number, backend, dtype)))
    if model.dropout > 0 and (model.dropout_at != "last" or number == model.depth):
        if model.dropout_at != "before_norm":
            place = len(layers)
        rates = [m.dropout for m in models]
        layers.insert(place, Dropout(rates, seeds, number, backend))
    return layers
