"""What a probe is: a class that looks at a network while it trains."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gpubn.config import OptimConfig
from gpubn.experiments.probes.network import Network, Reading


class Probe:
    """Measures a network at some steps. One instance lives through one training."""

    def at(self, config: OptimConfig) -> Collection[int]:
        """Numbers of finished updates at which to measure."""
        return (0, config.steps)

    def measure(self, network: Network, step: int) -> Iterable[Reading]:
        """What stands in the table for this step."""
        raise NotImplementedError

    def observe(self, network: Network, caches: list[Any]) -> None:
        """See the caches of every training step's forward pass."""


@dataclass
class Evenly(Probe):
    """Measures before training and then `times` more, evenly spaced."""

    times: int

    def at(self, config: OptimConfig) -> Collection[int]:
        return {config.steps * i // self.times for i in range(self.times + 1)}
