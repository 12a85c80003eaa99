"""Probes of the normalisation itself."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Probe, Reading, trace
from gpubn.nn.norms.base import Norm


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
