"""Probes of the activations of the hidden layers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from gpubn.backend import Array
from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Probe, Reading, trace
from gpubn.nn.layers import Activation, Layer
from gpubn.rows import Observation

PERCENTILES = (15, 50, 85)
PINNED = (0.9, 0.99)
"""A unit with a mean above these stands at 1 in a bar chart: by the eye, and strictly."""


class Saturation(Evenly):
    """Saturated and dead units of every hidden layer."""

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        name = network.config.model.activation
        for number, activation in _activation_outputs(network):
            for metric, measure in (
                ("saturated_share", stats.saturated_share),
                ("dead_share", stats.dead_share),
            ):
                values = measure(activation, name)
                yield from network.rows(metric, values, step=step, layer=number)


class Percentiles(Evenly):
    """Percentiles 15, 50, 85 of the activations of every hidden layer."""

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        xp = network.backend.xp
        for number, activation in _activation_outputs(network):
            flat = activation.reshape(len(network.seeds), -1)
            diverged = xp.isnan(flat).any(axis=-1)  # which CuPy's percentile passes over
            every = xp.percentile(flat, xp.asarray(PERCENTILES), axis=-1)
            for q, values in zip(PERCENTILES, every, strict=True):
                metric = f"activation_percentile[{q}]"
                values = xp.where(diverged, xp.nan, values)
                yield from network.rows(metric, values, step=step, layer=number)


class Normality(Probe):
    """Distance of the values around every activation from normal, unit by unit.

    `normal_distance` is the mean over units, `excess_kurtosis` the median; `pre_*` of what goes
    into the activation, `post_*` of what comes out.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        xp = network.backend.xp
        around = [(x, y) for layer, x, y in trace(network) if isinstance(layer, Activation)]
        for number, sides in enumerate(around, start=1):
            for side, values in zip(("pre", "post"), sides, strict=True):
                of_units = values.swapaxes(-1, -2)
                for metric, measured in (
                    ("normal_distance", stats.normal_distance(of_units, 1).mean(axis=-1)),
                    ("excess_kurtosis", xp.median(stats.excess_kurtosis(of_units, 1), axis=-1)),
                ):
                    yield from network.rows(f"{side}_{metric}", measured, step=step, layer=number)


class UnitMeans(Probe):
    """Each unit's mean activation, for the cell's first seed: one network's bar chart.

    `pinned_share[v]` is the share of units with a mean above v, for every seed.
    """

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        for number, activation in _activation_outputs(network):
            unit_means = stats.unit_means(activation)
            for value in PINNED:
                pinned = stats.pinned_share(activation, value)
                metric = f"pinned_share[{value:g}]"
                yield from network.rows(metric, pinned, step=step, layer=number)
            means = network.backend.to_host(unit_means)
            for seed, of_seed in zip(network.seeds, means, strict=True):
                if seed == network.config.first_seed:
                    for unit, value in enumerate(of_seed):
                        metric = f"unit_mean[{unit}]"
                        yield Observation(seed, step, number, metric, float(value))


class UnitInputs(Probe):
    """Each unit's mean input to the first activation before training, for every seed."""

    def at(self, config: OptimConfig) -> Collection[int]:
        return (0,)

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        _, x, _ = _first_activation(network)
        for unit, means in enumerate(stats.unit_means(x).T):
            yield from network.rows(f"unit_input[{unit}]", means, step=step, layer=1)


@dataclass
class Histograms(Probe):
    """Histograms before and after the first activation, every `every` steps, all seeds pooled."""

    every: int
    bins: int = 60
    reach: float = 6.0

    def at(self, config: OptimConfig) -> Collection[int]:
        return range(0, config.steps + 1, self.every)

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        _, x, y = _first_activation(network)
        share = len(network.seeds) / network.config.seeds
        for place, values, reach in (("pre", x, self.reach), ("post", y, 1.0)):
            xp = network.backend.xp
            edges = xp.linspace(-reach, reach, self.bins + 1)
            clipped = xp.clip(values, -reach, reach)
            counts = network.backend.to_host(xp.histogram(clipped, edges)[0])
            centres = np.linspace(-reach, reach, 2 * self.bins + 1)[1::2]
            for centre, count in zip(centres, counts / max(values.size, 1), strict=True):
                metric = f"{place}_activation_hist[{centre:+.3f}]"
                yield Observation(None, step, 1, metric, float(count) * share)


def _first_activation(network: Network) -> tuple[Layer, Array, Array]:
    return next(entry for entry in trace(network) if isinstance(entry[0], Activation))


def _activation_outputs(network: Network) -> Iterator[tuple[int, Array]]:
    outputs = (y for layer, _, y in trace(network) if isinstance(layer, Activation))
    return enumerate(outputs, start=1)
