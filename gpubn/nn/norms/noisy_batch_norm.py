"""Batch normalization with noise behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpubn.backend import Array, namespace
from gpubn.config import NormConfig
from gpubn.nn.layers import Gradients
from gpubn.nn.norms.base import BatchStatistics, Site, of_replicas
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.rng import generator


class NoisyCache(NamedTuple):
    """The cache of the batch norm, and the factor of the noise, (R, D)."""

    norm: Any
    scale: Array


@dataclass
class _Drawn:
    """The noise of so many training passes, ((passes + 1) seeds, 2, D): one for all views."""

    passes: int
    table: Array = None


class NoisyBatchNorm(BatchNorm):
    """Batch norm, then for each unit and step a random scale and shift (Santurkar et al. 2018).

    As in section 2.1 there, the noise has a mean and a variance that change from step to step: the
    scale is uniform on [1, 1 + `norm.noise_scale`], the shift on [-`norm.noise_shift`,
    `norm.noise_shift`]. All examples of a batch have the same; the paper's further noise of single
    activations is left out. There is none at inference.

    A draw depends on the seed, the layer, the unit and the number of the training pass alone.
    Passes that do not track the running statistics see that of the next one that does; those for
    which nothing was prepared all see the same.
    """

    takes_bias = True
    in_expressions = True

    def __init__(self, norms: Sequence[NormConfig], site: Site) -> None:
        super().__init__(norms, site)
        self._site, self._seeds = site, sorted({*site.seeds})
        self._shift = of_replicas([n.noise_shift for n in norms], site)
        self._scale = of_replicas([n.noise_scale for n in norms], site)
        rows = [self._seeds.index(seed) for seed in site.seeds]
        self._row = site.backend.asarray(np.array(rows, np.int64))
        self._pass = site.backend.xp.zeros(len(rows), np.int64)
        self._drawn = _Drawn(0)
        self.prepare(0)

    @classmethod
    def numbers_a_step(cls, units: int) -> int:
        return 2 * units

    def prepare(self, passes: int) -> None:
        """Draw the table; its last row is for passes beyond it."""
        site, drawn = self._site, self._drawn
        drawn.passes += passes
        shape = (drawn.passes + 1, len(self._seeds), 2, site.units)
        table = np.empty(shape, site.dtype)
        for column, seed in enumerate(self._seeds):
            tracked, other = (
                generator(seed, "norm noise", site.number, *purpose)
                for purpose in ((), ("untracked",))
            )
            table[:-1, column] = tracked.random((drawn.passes, *shape[2:]), np.float32)
            table[-1, column] = other.random(shape[2:], np.float32)
        drawn.table = site.backend.asarray(table.reshape(-1, *shape[2:]))

    def _normalise(
        self,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        track: bool,
        activation: str,
        bias: Array | None,
    ) -> tuple[Array, Any]:
        scale, shift = self._draw(track)
        if gamma is not None and beta is not None:
            gamma, shift = scale * gamma, scale * beta + shift
        y, cache = super()._normalise(
            x, scale if gamma is None else gamma, shift, track, activation, bias
        )
        return y, NoisyCache(cache, scale)

    def _draw(self, track: bool) -> tuple[Array, Array]:
        """Return scale and shift of this pass, (R, D) each."""
        xp, last = namespace(self._row), self._drawn.passes
        at = xp.minimum(self._pass, last)
        drawn = xp.take(self._drawn.table, at * len(self._seeds) + self._row, axis=0)
        if track:
            self._pass += 1
        scale, shift = (
            number if isinstance(number, float) else number[:, None]
            for number in (self._scale, self._shift)
        )
        return 1 + scale * drawn[:, 0], shift * (2 * drawn[:, 1] - 1)

    def advance(self, passes: int) -> None:
        self._pass += passes

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        dx, gradients = super().backward(dy, cache.norm, need_dx=need_dx)
        return dx, {name: cache.scale * gradient for name, gradient in gradients.items()}

    def batch_statistics(self, cache: Any) -> BatchStatistics:
        return super().batch_statistics(cache.norm)
