"""Launches whole trainings of networks with one hidden layer: a prototype.

A launch takes as long as its steps; a device that does not run so many clusters at once takes the
networks in turns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gpubn.backend import Array, CudaDevice, Kernel
from gpubn.kernels.agnostic.step import Feed
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.activation import NUMBERS
from gpubn.kernels.cuda.batch_norm_launch import CLUSTER_ARCH, CLUSTERS

CLUSTER = CLUSTERS[0]
UNITS = tuple(CLUSTER * width for width in (4, 8, 16))
"""Hidden units of a network: 4, 8 or 16 in each block of its cluster."""
MOST_EXAMPLES = 32
"""Of a batch: a lane of a warp is an example."""
_THREADS, _TALL = 512, MOST_EXAMPLES + 2
"""As in the source."""
_NUMBERS = np.dtype(
    [(name, np.float32) for name in ("momentum", "eps")]
    + [("first", np.int64)]
    + [
        (name, np.int32)
        for name in (
            *("steps", "replicas", "n", "d", "classes", "activation", "rate_stride", "dof"),
            *("normalised", "average_std"),
        )
    ],
    align=True,
)
_TABLES = (
    *("weight0", "bias0", "gamma", "beta", "running_mean", "running_spread"),
    *("weight1", "bias1"),
)


@dataclass(frozen=True)
class ShallowNetworks:
    """R networks D-H-C, with or without batch norm before the activation.

    Attributes:
        tables: by name the arrays (R, ...) that a training changes, float32: weight0 (D, H), bias0,
            weight1 (H, C), bias1; of batch norm gamma and beta, if they are learnt, and
            running_mean and running_spread, or none of these.
        eps, momentum, correction, average_std: of batch norm, see `gpubn.batch_norm`.
    """

    tables: Mapping[str, Array]
    activation: str
    eps: float = 0.0
    momentum: float = 0.0
    correction: int = 0
    average_std: bool = False

    @property
    def sizes(self) -> tuple[int, int, int]:
        """D, H and C."""
        return (*self.tables["weight0"].shape[1:], self.tables["bias1"].shape[1])


def kernel(units: int) -> Kernel:
    """Return the kernel for so many hidden units."""
    return source.kernel(
        "train_shallow", "train_shallow_cluster", "float32", units // CLUSTER, CLUSTER
    )


def why_not(networks: ShallowNetworks, feed: Feed, device: CudaDevice) -> str:
    """Return why these networks cannot be trained in one launch; empty where they can."""
    features, units, classes = networks.sizes
    examples = feed.order.shape[2]
    arrays = [feed.data, feed.rates, *networks.tables.values()]
    shared = _shared(features, units, classes)
    reasons = {
        f"a device of sm_{device.arch} has no clusters": device.arch < CLUSTER_ARCH,
        f"its dtype is {feed.data.dtype}, not float32": any(a.dtype != np.float32 for a in arrays),
        f"it has {units} hidden units, not {', '.join(map(str, UNITS))}": units not in UNITS,
        f"it has {features} inputs, not a multiple of 4": features % 4 != 0,
        f"a batch has {examples} examples, more than {MOST_EXAMPLES}": examples > MOST_EXAMPLES,
        f"a block takes {shared} bytes of shared memory, more than {device.shared_limit}": (
            shared > device.shared_limit
        ),
    }
    return next((why for why, true in reasons.items() if true), "")


def train_shallow(
    networks: ShallowNetworks, feed: Feed, losses: Array, first: int, steps: int, device: CudaDevice
) -> None:
    """Take so many steps of each network, in place, the first of them number `first` of the feed.

    `losses` (steps, R) gets the loss of each step. The feed's cursor is neither read nor moved.
    """
    features, units, classes = networks.sizes
    _, replicas, examples = feed.order.shape
    numbers = (
        *(networks.momentum, networks.eps, first, steps, replicas, examples, features, classes),
        *(NUMBERS[networks.activation], feed.rates.shape[1], examples - networks.correction),
        *("running_mean" in networks.tables, networks.average_std),
    )
    arguments = [
        *(feed.data, feed.labels, feed.order, feed.rates, losses),
        *(networks.tables.get(name) for name in _TABLES),
        np.array(numbers, _NUMBERS).view(f"V{_NUMBERS.itemsize}"),  # as `Numbers` of batch norm
    ]
    shared = _shared(features, units, classes)
    device.launch(kernel(units), CLUSTER * replicas, arguments, threads=_THREADS, shared=shared)


def _shared(features: int, units: int, classes: int) -> int:
    """Bytes of shared memory of a block: `Places` of the source."""
    width = units // CLUSTER
    quads = features // 4
    floats = 4 * MOST_EXAMPLES * (quads | 1) + width * (4 * quads | 1)
    floats += MOST_EXAMPLES * (width + 4) + 256 * _TALL + width * _TALL
    floats += 4 * classes * _TALL + (width + 1) * classes
    return 4 * (floats + 4 * MOST_EXAMPLES)
