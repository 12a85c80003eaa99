"""Probes of the normalisation itself."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Probe, Reading, trace
from gpubn.nn.norms.base import Norm

BATCHED = 2000
"""Training examples, at most, whose batches' statistics are compared."""


class NormParameters(Evenly):
    """gamma and beta of every norm, as far as it has any, and mean and spread of its output."""

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        normed = [entry for entry in trace(network) if isinstance(entry[0], Norm)]
        for number, (layer, _, y) in enumerate(normed, start=1):
            metrics = {
                "norm_output_mean": stats.rms(mean_rows(y), axes=1),
                "norm_output_std": (var_rows(y) ** 0.5).mean(axis=-1),
            }
            for name, value in layer.params.items():
                metrics |= {f"{name}_mean": value.mean(axis=-1), f"{name}_std": value.std(axis=-1)}
            for metric, values in metrics.items():
                yield from network.rows(metric, values, step=step, layer=number)


class ZeroVariance(Probe):
    """Batches in which a unit does not vary: there a listing without eps divides by zero.

    `zero_variance_share` is the share of (step, unit) pairs of all training steps,
    `zero_variance_step` the first step at which a unit of any layer did not vary (inf: none).
    """

    of_whole_batches = True

    def __init__(self) -> None:
        self._share: Array = 0.0
        self._first: Array = float("inf")
        self._steps = 0

    def at(self, config: OptimConfig) -> Collection[int]:
        return (config.steps,)

    def observe(self, network: Network, caches: list[Any]) -> None:
        xp = network.backend.xp
        statistics = network.model.batch_statistics(caches)
        shares = [(of_layer.var == 0).mean(axis=-1) for of_layer in statistics]
        share = xp.stack(shares).mean(axis=0) if shares else xp.zeros(len(network.seeds))
        self._share = self._share + share
        self._first = xp.minimum(self._first, xp.where(share > 0, self._steps, xp.inf))
        self._steps += 1

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        for metric, values in (("share", self._share / self._steps), ("step", self._first)):
            yield from network.rows(f"zero_variance_{metric}", values, step=step)


class NormInputVariance(Probe):
    """Variance at the input of every norm, in inference mode over that in training mode."""

    def measure(self, network: Network, step: int) -> Iterable[Reading]:
        rows: list[Reading] = []
        modes = [
            [x for layer, x, _ in trace(network, training=mode) if isinstance(layer, Norm)]
            for mode in (True, False)
        ]
        for number, (train, infer) in enumerate(zip(*modes, strict=True), start=1):
            ratio = var_rows(infer).mean(axis=-1) / var_rows(train).mean(axis=-1)
            rows += network.rows("norm_input_variance_ratio", ratio, step=step, layer=number)
        return rows


class IdentityDistance(Probe):
    """Distance of every norm from the identity: what its gamma and beta do not undo.

    The root mean square over units of output less input, over that of the input about its mean,
    where the training examples are normalised by their own statistics: gamma would have to be their
    standard deviation and beta their mean.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        normed = [(layer, x) for layer, x, _ in trace(network) if isinstance(layer, Norm)]
        for number, (layer, x) in enumerate(normed, start=1):
            mean, std = mean_rows(x), var_rows(x) ** 0.5
            scale = layer.params.get("gamma", 1.0) - std
            shift = layer.params.get("beta", 0.0) - mean
            distance = (scale**2 + shift**2).mean(axis=-1) ** 0.5 / stats.rms(std, axes=1)
            yield from network.rows("identity_distance", distance, step=step, layer=number)


class ScaleShiftNumbers(Probe):
    """Count of the numbers that every norm learns, of a layer and of a unit."""

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        seeds = len(network.seeds)
        for number, layer in enumerate(network.model.layers_of(Norm), start=1):
            count = sum(value.size // seeds for value in layer.params.values())
            a_unit = count / network.config.model.width
            for metric, value in (("", count), ("_a_unit", a_unit)):
                values = network.backend.xp.full(seeds, float(value))
                name = f"scale_shift_numbers{metric}"
                yield from network.rows(name, values, step=step, layer=number)


class StatisticsNoise(Probe):
    """Scatter from batch to batch of the statistics at every norm, with dropout's masks over
    without: the same weights, images and batches.

    `mean_noise_ratio` of the batches' means, root mean square over units; `relative_*` of the means
    relative to the standard deviation of the units, each with masks or without, and of the
    variances relative to their mean.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        batch = network.config.optim.batch
        masked, plain = (
            [
                statistics_noise(x, batch)
                for layer, x, _ in trace(network, training=mode, examples=BATCHED)
                if isinstance(layer, Norm)
            ]
            for mode in (True, False)
        )
        for number, (noise, without) in enumerate(zip(masked, plain, strict=True), start=1):
            for metric in noise:
                ratio = noise[metric] / without[metric]
                yield from network.rows(f"{metric}_ratio", ratio, step=step, layer=number)


def statistics_noise(x: Array, batch: int) -> dict[str, Array]:
    """Return the scatter of the statistics of batches of x (R, N, D), (R,) by metric.

    Examples that fill no batch are left out; there are two batches at least, smaller ones if need
    be.
    """
    m = min(batch, x.shape[1] // 2)
    x = x[:, : x.shape[1] // m * m]
    batches = x.reshape(x.shape[0], -1, m, x.shape[2])
    means, variances = mean_rows(batches), var_rows(batches)
    mean_square = means.var(axis=1).mean(axis=-1)
    own = variances.var(axis=1).mean(axis=-1) / (variances.mean(axis=1) ** 2).mean(axis=-1)
    return {
        "mean_noise": mean_square**0.5,
        "relative_mean_noise": (mean_square / var_rows(x).mean(axis=-1)) ** 0.5,
        "relative_var_noise": own**0.5,
    }
