"""Scatter of an example's output by its companions, where the batch's own statistics normalise.

One hidden layer. `EXAMPLES` test examples of each seed stand `DRAWS` times in a batch of n, beside
n - 1 others of the test set drawn anew:

    output_scatter[n]       standard deviation of the logits over the draws, root mean square over
                            examples and classes, over the standard deviation between examples
    normalised_scatter[n]   the same of the normalised values, root mean square over examples and
                            units; nothing has to be divided by
    class_changes[n]        share of examples whose class is not the same in all draws
    scatter_slope           of log output_scatter against log n, by least squares
    output_scatter_running  with the running averages, in batches of `RUNNING`
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from gpubn.backend import Array, mean_rows, namespace, var_rows
from gpubn.config import Config, OptimConfig
from gpubn.errors import ConfigError
from gpubn.experiments.probes.base import Network, Probe, Reading
from gpubn.nn.layers import Layer
from gpubn.nn.norms.base import Norm
from gpubn.nn.rng import generator

EXAMPLES, DRAWS = 50, 30
BATCHES = (2, 8, 32, 128, 512)
LARGE = 8
"""Examples of a batch from which on the slope is fitted: of 2 the variance is hardly known."""
RUNNING = 32
CHUNK = 2000


class Companions(Probe):
    """Scatter of an example's output over the examples that it is normalised with, at the end."""

    of_whole_batches = True

    def at(self, config: OptimConfig) -> Collection[int]:
        return (config.steps,)

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        xp, layers = network.backend.xp, network.model.layers
        place = next(i for i, layer in enumerate(layers) if isinstance(layer, Norm))
        values = _forward_all(network, layers[:place])
        examples = min(EXAMPLES, values.shape[1] // 2)
        own, others = values[:, :examples], values[:, examples:]
        norm, rest = layers[place], layers[place + 1 :]
        gamma, beta = (norm.params[name][:, None] for name in ("gamma", "beta"))
        sizes = [n for n in BATCHES if n <= others.shape[1]]
        scatters = []
        for n in sizes:
            normalised, logits = [], []
            for drawn in _draws(network, others, n - 1):
                z = _among(own, drawn, network.config.norm.eps)
                normalised.append(z)
                logits.append(_through(rest, z * gamma + beta))
            scatters.append(_scatter(xp.stack(logits)))
            classes = xp.stack(logits).argmax(axis=-1)
            for metric, measured in (
                ("output_scatter", scatters[-1]),
                ("normalised_scatter", _rms(xp.stack(normalised).std(axis=0, ddof=1))),
                ("class_changes", (classes != classes[0]).any(axis=0).mean(axis=-1)),
            ):
                yield from network.rows(f"{metric}[{n}]", measured, step=step)
        large = sum(n < LARGE for n in sizes)
        slope = _slope(sizes[large:], scatters[large:])
        yield from network.rows("scatter_slope", slope, step=step)
        outputs = []
        for drawn in _draws(network, others, min(RUNNING, others.shape[1]) - 1):
            y, _ = norm.forward(xp.concatenate([own, drawn], axis=1), training=False, track=False)
            outputs.append(_through(rest, y)[:, :examples])
        running = _scatter(xp.stack(outputs))
        yield from network.rows("output_scatter_running", running, step=step)


def companion_probes(config: Config) -> tuple[Probe, ...]:
    """Return the probe of a training with one batchnorm, and refuse any other."""
    if config.norm.placement == "none" or config.model.depth != 1 or not config.norm.learnable:
        raise ConfigError(
            f"{config.name} got norm={config.norm.name} and model.depth={config.model.depth}; "
            "expected a batchnorm with gamma and beta in one hidden layer"
        )
    return (Companions(),)


def _forward_all(network: Network, layers: list[Layer]) -> Array:
    """Return what the norm gets for each seed's test examples in its own order, (R, N, D)."""
    chosen = network.chosen("test", len(network.data.x_test))
    chunks = []
    for start in range(0, chosen.shape[1], CHUNK):
        x, _ = network.look_up("test", chosen[:, start : start + CHUNK])
        chunks.append(_through(layers, x))
    return network.backend.xp.concatenate(chunks, axis=1)


def _through(layers: list[Layer], x: Array) -> Array:
    for layer in layers:
        x, _ = layer.forward(x, training=False, track=False)
    return x


def _draws(network: Network, others: Array, count: int) -> Iterator[Array]:
    """Yield so many companions of each seed, (R, count, D), `DRAWS` times."""
    draws = [generator(seed, "companions", count) for seed in network.seeds]
    replicas = network.backend.xp.arange(len(network.seeds))[:, None]
    for _ in range(DRAWS):
        chosen = np.stack([g.choice(others.shape[1], count, replace=False) for g in draws])
        yield others[replicas, network.backend.asarray(chosen)]


def _among(own: Array, others: Array, eps: float) -> Array:
    """Return each of the examples `own` (R, E, D) normalised in a batch with `others` alone."""
    n = others.shape[1] + 1
    away = own - mean_rows(others, keepdims=True)
    var = ((n - 1) * var_rows(others)[:, None] + away**2 * ((n - 1) / n)) / n
    return away * ((n - 1) / n) / (var + eps) ** 0.5


def _scatter(logits: Array) -> Array:
    """Deviation of logits (draws, R, E, C) over the draws, over that between examples, (R,).

    Logits that are the same in all draws have exactly none.
    """
    moved = logits - logits[0]
    return _rms(moved.std(axis=0, ddof=1)) / _rms(logits.mean(axis=0).std(axis=1))


def _rms(values: Array) -> Array:
    """Root mean square of each replica, (R,)."""
    return (values**2).mean(axis=tuple(range(1, values.ndim))) ** 0.5


def _slope(batches: Sequence[int], scatters: list[Array]) -> Array:
    """Least squares of log scatter (R,) against log batch, (R,); NaN of a single batch."""
    logs = np.log(batches) - np.mean(np.log(batches))
    weights = logs / np.sum(logs**2) if len(batches) > 1 else [np.nan]
    xp = namespace(*scatters)
    return sum(float(w) * xp.log(s) for w, s in zip(weights, scatters, strict=True))
