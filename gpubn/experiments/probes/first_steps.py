"""Size of the weights, and of what is predicted, over the first steps of a training."""

from collections.abc import Collection, Iterator

from gpubn.config import OptimConfig
from gpubn.experiments import array_statistics as stats
from gpubn.experiments.probes.base import Network, Probe, Reading, trace
from gpubn.nn.layers import Affine

STEPS = (0, 1, 2, 5, 10, 25, 50, 100)


class FirstSteps(Probe):
    """The Frobenius norm of each layer's weights, and the spread of the logits.

    `logit_spread` is the root mean square of the logits of an example less their mean: 0 where all
    classes are as likely.
    """

    def at(self, config: OptimConfig) -> Collection[int]:
        return {step for step in STEPS if step < config.steps} | {config.steps}

    def measure(self, network: Network, step: int) -> Iterator[Reading]:
        for number, layer in enumerate(network.model.layers_of(Affine), start=1):
            norm = stats.norm(layer.params["weight"])
            yield from network.rows("weight_norm", norm, step=step, layer=number)
        _, _, logits = trace(network)[-1]
        spread = stats.rms(logits - logits.mean(axis=-1, keepdims=True))
        yield from network.rows("logit_spread", spread, step=step)
