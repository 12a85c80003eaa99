"""Training of networks of MNIST's size as a work: its data, its first losses, what it costs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise

import numpy as np

from gpubn.backend import Backend, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset, load
from gpubn.errors import GpubnError
from gpubn.experiments.training.trainer import GROUP
from gpubn.nn.init import initial_weight
from gpubn.nn.model import MLP, build_mlp
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.rng import batch_order, generator
from gpubn.nn.train import to_device, train

log = logging.getLogger("gpubn")

RATE = 0.1
_CHECKED_NETWORKS = 4
_DEEP = 10
"""Hidden layers from which on float32 is soon far from float64."""


def random_images(images: int = 60_000, features: int = 784, classes: int = 10) -> Dataset:
    """Return images and labels of no meaning, of MNIST's shape or another one."""
    g = generator(0, "images")
    x = g.random((images, features), np.float32)
    y = g.integers(0, classes, images)
    return Dataset("random", x, y, x[:10], y[:10], classes)


def mnist_or_random() -> Dataset:
    """Return MNIST where it can be had, else random images of its shape."""
    try:
        return load("mnist")
    except (GpubnError, ImportError) as error:
        log.info("timing on random images of MNIST's shape (%s)", error)
        return random_images()


@dataclass(frozen=True)
class TrainingWork:
    """Networks 784-128-10, or of other sizes, of seeds 0, 1, ...; a peer trains that of seed 0."""

    data: Dataset
    steps: int = 1500
    networks: int = 1
    width: int = 128
    batch: int = 32
    norm: str = "before"
    depth: int = 1
    activation: str = "tanh"

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each affine layer."""
        return list(pairwise((self.data.features, *[self.width] * self.depth, self.data.classes)))

    @property
    def parameters(self) -> int:
        """Numbers that are trained: weights, biases, and gamma and beta of hidden layers."""
        norms = 0 if self.norm == "none" else 2 * self.width * self.depth
        return norms + sum((fan_in + 1) * fan_out for fan_in, fan_out in self.layers)

    @property
    def columns(self) -> dict[str, int | str]:
        """The columns that all contestants have in common; bytes and flops are of one network.

        Each parameter is read and written once a step, and the images of the batch read once. The
        flops are those of the matrix products, three a layer: forward, for its weights, and for
        the slope of its input, which the first layer does without.
        """
        first, *others = (fan_in * fan_out for fan_in, fan_out in self.layers)
        sizes = "-".join(map(str, (self.data.features, *(out for _, out in self.layers))))
        if self.depth > 1:
            sizes = f"{self.data.features}-{self.depth}x{self.width}-{self.data.classes}"
        name = "random images" if self.data.name == "random" else "MNIST"
        many = "" if self.networks == 1 else f"{self.networks} networks "
        return {
            "work": "networks" if many else "training",
            "shape": f"{many}{sizes}, {self.steps} steps of {self.batch}, {name}",
            "model": f"{self.activation}, norm {self.norm}",
            "bytes": 4 * self.steps * (2 * self.parameters + self.batch * self.data.features),
            "flops": self.steps * 2 * self.batch * (2 * first + 3 * sum(others)),
        }

    @property
    def start(self) -> dict[str, np.ndarray]:
        """The parameters of all networks, (networks, ...), by name and number of the layer:
        weight0, bias0, and of hidden layers with batchnorm gamma0, beta0."""
        start, seeds = {}, range(self.networks)
        for i, (fan_in, fan_out) in enumerate(self.layers):
            weight = initial_weight(InitConfig(), fan_in, fan_out, seeds, i)
            start[f"weight{i}"] = weight.astype(np.float32)
            start[f"bias{i}"] = np.zeros((self.networks, fan_out), np.float32)
            if self.norm != "none" and i < self.depth:
                start[f"gamma{i}"] = np.ones((self.networks, fan_out), np.float32)
                start[f"beta{i}"] = np.zeros((self.networks, fan_out), np.float32)
        return start

    @property
    def order(self) -> np.ndarray:
        """The rows of the data that each step takes, (networks, steps, batch)."""
        images = len(self.data.x_train)
        orders = [batch_order(s, images, self.batch, self.steps) for s in range(self.networks)]
        return np.stack(orders)

    @property
    def checked(self) -> tuple[int, float]:
        """First losses that are compared with float64, and their relative error at most.

        Of one hidden layer float32 stays far below. In several, sooner or later the sign of a
        unit of ReLU differs, which makes 1e-4 of 1e-7. In twenty each step makes a hundred times
        as much of an error, 1e-6 at first. The second loss, which the first gradients made, is
        still far from that of a wrong one.
        """
        if self.depth == 1:
            return 20, 1e-4
        return (3, 1e-3) if self.depth < _DEEP else (2, 1e-2)

    @cached_property
    def expected(self) -> np.ndarray:
        """The first losses of the first networks by NumPy in float64, (steps, networks)."""
        few = replace(
            self,
            steps=min(self.checked[0], self.steps),
            networks=min(_CHECKED_NETWORKS, self.networks),
        )
        return few.trainer(resolve("numpy"), "float64")()

    def trainer(
        self, backend: Backend, dtype: str = "float32", *, one_launch: bool = False
    ) -> Callable[[], np.ndarray]:
        """Return what trains the networks further at each call, in groups as experiments do.

        It returns the losses, (steps, networks). `one_launch` is `gpubn.nn.train.train`'s.
        """
        data = to_device(self.data, backend, dtype)
        sgd = SGD(RATE, constant_rate, 0.0, backend, dtype)

        @cache
        def model(seeds: tuple[int, ...]) -> MLP:
            return build_mlp(
                ModelConfig(depth=self.depth, width=self.width, activation=self.activation),
                NormConfig(name=self.norm, placement=self.norm),
                InitConfig(),
                features=self.data.features,
                classes=self.data.classes,
                seeds=seeds,
                backend=backend,
                dtype=dtype,
            )

        def train_group(seeds: Sequence[int], tick: Callable[[int], None]) -> np.ndarray:
            return train(
                *(model(tuple(seeds)), sgd, data, backend),
                seeds=seeds,
                batch=self.batch,
                steps=self.steps,
                one_launch=one_launch,
            )

        def train_all() -> np.ndarray:
            groups = backend.map_groups(train_group, range(self.networks), group=GROUP)
            return np.concatenate(groups, axis=1)

        return train_all
