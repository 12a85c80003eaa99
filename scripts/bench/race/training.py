"""Training of networks of MNIST's size as a work: its data, its first losses, what it costs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from gpubn.backend import Backend, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset, load
from gpubn.errors import GpubnError
from gpubn.experiments.training.trainer import GROUP
from gpubn.nn.init import initial_weight
from gpubn.nn.model import build_mlp
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.rng import batch_order, generator
from gpubn.nn.train import to_device, train

log = logging.getLogger("gpubn")

RATE = 0.1
_CHECKED_STEPS, _CHECKED_NETWORKS = 20, 4


@dataclass(frozen=True)
class Sizes:
    """The sizes of a training."""

    images: int = 60_000
    features: int = 784
    width: int = 128
    classes: int = 10
    batch: int = 32
    steps: int = 1500
    networks: int = 1

    @property
    def bytes(self) -> int:
        """Each parameter read and written once a step, and the images of the batch read once."""
        affine = (self.features + 1) * self.width + (self.width + 1) * self.classes
        parameters = affine + 2 * self.width
        return 4 * self.steps * (2 * parameters + self.batch * self.features)

    @property
    def flops(self) -> int:
        """The matrix products: two forward, two for weights, one for the hidden layer's slope."""
        first, second = self.features * self.width, self.width * self.classes
        return self.steps * 2 * self.batch * (2 * first + 3 * second)


DRY_SIZES = Sizes(images=64, features=12, width=8, classes=3, batch=8, steps=5)


def random_images(sizes: Sizes) -> Dataset:
    """Return images and labels of no meaning."""
    g = generator(0, "images")
    x = g.random((sizes.images, sizes.features), np.float32)
    y = g.integers(0, sizes.classes, sizes.images)
    return Dataset("random", x, y, x[:10], y[:10], sizes.classes)


def images_for(sizes: Sizes) -> Dataset:
    """Return MNIST where it has these sizes and can be had, else random images."""
    if (sizes.images, sizes.features) == (60_000, 784):
        try:
            return load("mnist")
        except (GpubnError, ImportError) as error:
            log.info("timing on random images of MNIST's shape (%s)", error)
    return random_images(sizes)


class Networks:
    """Networks of the project, seeds 0, 1, ..., which every `train` trains further."""

    def __init__(
        self,
        data: Dataset,
        sizes: Sizes,
        backend: Backend,
        *,
        norm: str = "before",
        depth: int = 1,
        dtype: str = "float32",
    ) -> None:
        self._sizes, self._backend = sizes, backend
        self._data = to_device(data, backend, dtype)
        self._sgd = SGD(RATE, constant_rate, 0.0, backend, dtype)
        self._model = cache(
            partial(
                build_mlp,
                ModelConfig(depth=depth, width=sizes.width),
                NormConfig(name=norm, placement=norm),
                InitConfig(),
                features=data.features,
                classes=data.classes,
                backend=backend,
                dtype=dtype,
            )
        )

    def train(self) -> np.ndarray:
        """Train in groups, as every experiment does; return the losses, (steps, networks)."""
        groups = self._backend.map_groups(self._train, range(self._sizes.networks), group=GROUP)
        return np.concatenate(groups, axis=1)

    def _train(self, seeds: Sequence[int], tick: Callable[[int], None]) -> np.ndarray:
        return train(
            *(self._model(seeds=tuple(seeds)), self._sgd, self._data, self._backend),
            seeds=seeds,
            batch=self._sizes.batch,
            steps=self._sizes.steps,
        )


@dataclass(frozen=True)
class TrainingWork:
    """Networks 784-128-10 or of other sizes; a peer trains the one of seed 0."""

    sizes: Sizes
    data: Dataset
    norm: str = "before"

    @property
    def columns(self) -> dict[str, int | str]:
        """What the rows of all contestants have in common; bytes and flops are of one network."""
        s, name = self.sizes, "random images" if self.data.name == "random" else "MNIST"
        layers = f"{s.features}-{s.width}-{s.classes}"
        return {
            "work": "training" if s.networks == 1 else "networks",
            "shape": f"{layers}, {s.steps} steps of {s.batch}, {name}",
            "bytes": s.bytes,
            "flops": s.flops,
        }

    @property
    def start(self) -> dict[str, np.ndarray]:
        """The parameters of the network of seed 0: weight0, bias0, gamma, beta, weight1, bias1."""
        s = self.sizes
        found = {}
        for i, (fan_in, fan_out) in enumerate(((s.features, s.width), (s.width, s.classes))):
            weight = initial_weight(InitConfig(), fan_in, fan_out, [0], i)[0]
            found[f"weight{i}"] = weight.astype(np.float32)
            found[f"bias{i}"] = np.zeros(fan_out, np.float32)
        if self.norm != "none":
            found["gamma"] = np.ones(s.width, np.float32)
            found["beta"] = np.zeros(s.width, np.float32)
        return found

    @property
    def order(self) -> np.ndarray:
        """The rows of the data that each step of seed 0 takes, (steps, batch)."""
        return batch_order(0, len(self.data.x_train), self.sizes.batch, self.sizes.steps)

    @cached_property
    def expected(self) -> np.ndarray:
        """The first losses of the first networks by NumPy in float64, (steps, networks)."""
        few = replace(
            self.sizes,
            steps=min(_CHECKED_STEPS, self.sizes.steps),
            networks=min(_CHECKED_NETWORKS, self.sizes.networks),
        )
        numpy = resolve("numpy")
        return Networks(self.data, few, numpy, norm=self.norm, dtype="float64").train()
