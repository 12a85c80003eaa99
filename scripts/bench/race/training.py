"""Training of networks of MNIST's size as a work: its data, its first losses, what it costs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

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
_CHECKED_STEPS, _CHECKED_NETWORKS = 20, 4


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

    @property
    def columns(self) -> dict[str, int | str]:
        """The columns that all contestants have in common; bytes and flops are of one network.

        Each parameter is read and written once a step, and the images of the batch read once. The
        flops are those of the matrix products: two forward, two for weights, one for the hidden
        layer's slope.
        """
        features, classes = self.data.features, self.data.classes
        first, second = features * self.width, self.width * classes
        parameters = first + second + 3 * self.width + classes
        name = "random images" if self.data.name == "random" else "MNIST"
        layers = f"{features}-{self.width}-{classes}"
        return {
            "work": "training" if self.networks == 1 else "networks",
            "shape": f"{layers}, {self.steps} steps of {self.batch}, {name}",
            "bytes": 4 * self.steps * (2 * parameters + self.batch * features),
            "flops": self.steps * 2 * self.batch * (2 * first + 3 * second),
        }

    @property
    def start(self) -> dict[str, np.ndarray]:
        """The parameters of the network of seed 0: weight0, bias0, gamma, beta, weight1, bias1."""
        start, sizes = {}, (self.data.features, self.width, self.data.classes)
        for i in range(2):
            weight = initial_weight(InitConfig(), sizes[i], sizes[i + 1], [0], i)[0]
            start[f"weight{i}"] = weight.astype(np.float32)
            start[f"bias{i}"] = np.zeros(sizes[i + 1], np.float32)
        if self.norm != "none":
            start["gamma"] = np.ones(self.width, np.float32)
            start["beta"] = np.zeros(self.width, np.float32)
        return start

    @property
    def order(self) -> np.ndarray:
        """The rows of the data that each step of seed 0 takes, (steps, batch)."""
        return batch_order(0, len(self.data.x_train), self.batch, self.steps)

    @cached_property
    def expected(self) -> np.ndarray:
        """The first losses of the first networks by NumPy in float64, (steps, networks)."""
        few = replace(
            self,
            steps=min(_CHECKED_STEPS, self.steps),
            networks=min(_CHECKED_NETWORKS, self.networks),
        )
        return few.trainer(resolve("numpy"), "float64")()

    def trainer(self, backend: Backend, dtype: str = "float32") -> Callable[[], np.ndarray]:
        """Return what trains the networks further at each call, in groups as experiments do.

        It returns the losses, (steps, networks).
        """
        data = to_device(self.data, backend, dtype)
        sgd = SGD(RATE, constant_rate, 0.0, backend, dtype)

        @cache
        def model(seeds: tuple[int, ...]) -> MLP:
            return build_mlp(
                ModelConfig(depth=self.depth, width=self.width),
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
            )

        def train_all() -> np.ndarray:
            groups = backend.map_groups(train_group, range(self.networks), group=GROUP)
            return np.concatenate(groups, axis=1)

        return train_all
