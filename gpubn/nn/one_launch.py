"""A training in one launch, where a device and a network allow it: a prototype behind a switch."""

from gpubn.backend import Array, CudaDevice
from gpubn.backend.program import Tick
from gpubn.errors import ConfigError
from gpubn.kernels import Feed
from gpubn.kernels.cuda.train_shallow import ShallowNetworks, train_shallow, why_not
from gpubn.nn.layers import Activation, Affine
from gpubn.nn.model import MLP
from gpubn.nn.norms.batch_norm import BatchNorm


class OneLaunch:
    """`program(n, tick)` as `gpubn.backend.Backend.program` returns it; n steps are a launch.

    Raises:
        ConfigError: the model, the batch or the device does not allow it.
    """

    def __init__(self, model: MLP, feed: Feed, losses: Array, device: CudaDevice | None) -> None:
        if device is None or device.kind != "cuda":
            raise ConfigError("one_launch is true; expected false where there is no CUDA device")
        self._networks = _shallow(model)
        if why := why_not(self._networks, feed, device):
            raise ConfigError(f"one_launch is true; expected false, as {why}")
        self._feed, self._losses, self._device = feed, losses, device
        self._done = 0

    def __call__(self, n: int, tick: Tick | None) -> None:
        if n > 0:
            train_shallow(self._networks, self._feed, self._losses, self._done, n, self._device)
            self._done += n
            if tick is not None:
                tick(n)


def _shallow(model: MLP) -> ShallowNetworks:
    layers = model.layers
    kinds = [type(layer) for layer in layers]
    norm = layers[1] if kinds == [Affine, BatchNorm, Activation, Affine] else None
    if norm is None and kinds != [Affine, Activation, Affine]:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ConfigError(
            f"one_launch is true; expected false for the layers {names}: it takes one hidden "
            "layer, with or without batch norm before the activation"
        )
    first, act, last = layers[0], layers[-2], layers[-1]
    assert isinstance(act, Activation)
    tables = {f"{name}0": array for name, array in first.params.items()}
    tables |= {f"{name}1": array for name, array in last.params.items()}
    if not isinstance(norm, BatchNorm):
        return ShallowNetworks(tables, act.name)
    eps, momentum, correction, average = norm.numbers
    if not (isinstance(eps, float) and isinstance(momentum, float)):
        raise ConfigError(
            "one_launch is true; expected false where replicas differ in eps or momentum"
        )
    tables |= {**norm.params, **{f"running_{k}": array for k, array in norm.running.items()}}
    return ShallowNetworks(tables, act.name, eps, momentum, correction, average == "std")
