"""Covariate shift by distributions."""

from collections.abc import Iterator

import numpy as np

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Reading, trace
from gpubn.nn.layers import Activation, Affine


class Drift(Evenly):
    """Change of the distribution of each layer's input from one measurement to the next.

    The input of hidden layer l + 1 is counted as that of layer l's output. `drift_mean` is the root
    mean square over units of the change of their mean, over the root mean variance before;
    `drift_std` the absolute change of the logarithm of the units' root mean variance.
    `preactivation_*` is the same of what goes into the activation.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._before: dict[tuple[str, int], tuple[Array, Array]] = {}

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        xp = network.backend.xp
        with np.errstate(all="ignore"):
            for place, number, values in _inputs(network):
                mean, var = mean_rows(values), var_rows(values).mean(axis=-1)
                if before := self._before.get((place, number)):
                    for metric, moved in (
                        ("mean", stats.rms(mean - before[0], axes=1) / before[1] ** 0.5),
                        ("std", abs(xp.log(var / before[1])) / 2),
                    ):
                        yield from network.rows(f"{place}_{metric}", moved, step=step, layer=number)
                self._before[place, number] = (mean, var)


def _inputs(network: Network) -> Iterator[tuple[str, int, Array]]:
    hidden = affine = 0
    for layer, x, _ in trace(network):
        if isinstance(layer, Activation):
            hidden += 1
            yield "preactivation_drift", hidden, x
        elif isinstance(layer, Affine):
            affine += 1
            if affine > 1:
                yield "drift", affine - 1, x
