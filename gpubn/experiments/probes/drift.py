"""Covariate shift by distributions."""

from collections.abc import Iterator

import numpy as np

from gpubn.backend import Array, mean_rows, var_rows
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Evenly, Network, Reading, trace
from gpubn.nn.layers import Activation, Affine
from gpubn.nn.norms.base import Norm

_Moments = tuple[Array, Array]
"""Means of the units (R, D), and the mean of their variances (R,)."""


class Drift(Evenly):
    """Change of the distribution of each layer's input from one measurement to the next.

    The input of hidden layer l + 1 is counted as that of layer l's output. `drift_mean` is the root
    mean square over units of the change of their mean, over the root mean variance before;
    `drift_std` the absolute change of the logarithm of the units' root mean variance.
    `preactivation_*` is the same of what goes into the activation.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._before: dict[tuple[str, int], _Moments] = {}

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        with np.errstate(all="ignore"):
            for place, number, values in _inputs(network):
                now = _moments(values)
                if before := self._before.get((place, number)):
                    for metric, moved in _moved(before, now, network).items():
                        yield from network.rows(f"{place}_{metric}", moved, step=step, layer=number)
                self._before[place, number] = now


class ChangeSinceStart(Evenly):
    """Change of the statistics of values since training began, measured as `Drift` does.

    `input_mean_change` and `input_std_change` are of the input of hidden layer l + 1, counted as
    that of layer l's output; `normalised_*` of what each norm makes before gamma and beta.
    """

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self._start: dict[tuple[str, int], _Moments] = {}

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        with np.errstate(all="ignore"):
            for place, number, values in _followed(network):
                now = _moments(values)
                start = self._start.setdefault((place, number), now)
                if start is not now:
                    for metric, moved in _moved(start, now, network).items():
                        name = f"{place}_{metric}_change"
                        yield from network.rows(name, moved, step=step, layer=number)


def _moments(values: Array) -> _Moments:
    return mean_rows(values), var_rows(values).mean(axis=-1)


def _moved(before: _Moments, now: _Moments, network: Network) -> dict[str, Array]:
    return {
        "mean": stats.rms(now[0] - before[0], axes=1) / before[1] ** 0.5,
        "std": abs(network.backend.xp.log(now[1] / before[1])) / 2,
    }


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


def _followed(network: Network) -> Iterator[tuple[str, int, Array]]:
    norms = affine = 0
    for layer, x, y in trace(network):
        if isinstance(layer, Norm):
            norms += 1
            params = {name: value[:, None] for name, value in layer.params.items()}
            yield "normalised", norms, (y - params.get("beta", 0)) / params.get("gamma", 1)
        elif isinstance(layer, Affine):
            affine += 1
            if affine > 1:
                yield "input", affine - 1, x
