"""Training: one network of MNIST's size, and many at once; ours, the peers, and the check."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from gpubench.clock import Contestant, Site, no_wait
from gpubench.contest import OURS, Course, Entry, Work, check, hold
from gpubench.rows import Row
from gpubn.backend import Backend, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset, load
from gpubn.errors import GpubnError
from gpubn.nn.init import initial_weight
from gpubn.nn.model import MLP, build_mlp
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.rng import batch_order, generator
from gpubn.nn.train import DeviceData, to_device, train

ONE, MANY = "training", "networks"
RATE = 0.1
CHECKED_STEPS, CHECKED_NETWORKS = 20, 4
_DTYPE = "float32"


@dataclass(frozen=True)
class Sizes:
    """What is trained."""

    images: int = 60_000
    features: int = 784
    width: int = 128
    classes: int = 10
    batch: int = 32
    steps: int = 1500
    networks: int = 256

    @property
    def label(self) -> str:
        """For a row."""
        layers = f"{self.features}-{self.width}-{self.classes}"
        return f"{layers}, {self.steps} steps of {self.batch}"

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


DRY_SIZES = Sizes(images=64, features=12, width=8, classes=3, batch=8, steps=5, networks=3)


class Trainer(Protocol):
    """A network, or several, that can be trained further and further."""

    def train(self) -> Any:
        """Enqueue all steps; return their losses."""

    def wait(self, out: Any) -> None:
        """Wait, where the clock does not see the stream."""

    def host(self, out: Any) -> np.ndarray:
        """The losses, (steps,) or (steps, networks)."""


@dataclass(frozen=True)
class Ours:
    """`gpubn.nn.train.train` with one network a seed."""

    model: MLP
    data: DeviceData
    backend: Backend
    seeds: Sequence[int]
    batch: int
    steps: int
    dtype: str = _DTYPE

    def train(self) -> np.ndarray:
        sgd = SGD(RATE, constant_rate, 0.0, self.backend, self.dtype)
        return train(
            *(self.model, sgd, self.data, self.backend),
            seeds=self.seeds,
            batch=self.batch,
            steps=self.steps,
        )

    def wait(self, out: Any) -> None:
        no_wait(out)

    def host(self, out: Any) -> np.ndarray:
        found: np.ndarray = out
        return found


def ours(
    data: Dataset, sizes: Sizes, backend: Backend, networks: int, steps: int, dtype: str = _DTYPE
) -> Ours:
    """So many networks with the seeds 0, 1, ... as the project builds them."""
    seeds = range(networks)
    model = build_mlp(
        ModelConfig(width=sizes.width),
        NormConfig(name="before", placement="before"),
        InitConfig(),
        features=sizes.features,
        classes=sizes.classes,
        seeds=seeds,
        backend=backend,
        dtype=dtype,
    )
    moved = to_device(data, backend, dtype)
    return Ours(model, moved, backend, seeds, sizes.batch, steps, dtype)


def start(sizes: Sizes) -> dict[str, np.ndarray]:
    """The parameters of the network with seed 0, for a peer."""
    widths = (sizes.features, sizes.width, sizes.classes)
    found = {}
    for i in range(2):
        weight = initial_weight(InitConfig(), widths[i], widths[i + 1], [0], i)[0]
        found[f"weight{i}"] = weight.astype(np.float32)
        found[f"bias{i}"] = np.zeros(widths[i + 1], np.float32)
    ones = np.ones(sizes.width, np.float32)
    return {**found, "gamma": ones, "beta": 0 * ones}


def dataset(sizes: Sizes) -> tuple[Dataset, str]:
    """MNIST where a folder of it is named, else random images of its shape; and which."""
    if os.environ.get("GPUBN_DATA") and sizes == Sizes():
        try:
            return load("mnist"), "MNIST"
        except (GpubnError, OSError):
            pass
    g = generator(0, "images")
    x = g.random((sizes.images, sizes.features), np.float32)
    y = g.integers(0, sizes.classes, sizes.images)
    return Dataset("random", x, y, x[:10], y[:10], sizes.classes), "random images"


class Trainings:
    """Both works on the same data and against the same reference."""

    def __init__(self, sizes: Sizes, course: Course, peers: Sequence[str]) -> None:
        self.sizes, self._course, self._peers = sizes, course, peers
        self.data, self.data_name = dataset(sizes)
        self._reference: np.ndarray | None = None

    def one(self) -> Iterator[Row]:
        """One network, beside all peers."""
        entries = [self._ours(1), *self._torch(("eager", "graph"))]
        if "jax" in self._peers:
            make = partial(self._checked, "JAX, lax.scan", self._jax)
            entries.append(Entry("JAX", "scan", make, "train"))
        yield from hold(self._work(ONE), entries, self._course)

    def many(self) -> Iterator[Row]:
        """Many networks at once, beside PyTorch training one after another: one is timed."""
        entries = [self._ours(self.sizes.networks), *self._torch(("eager",))]
        yield from hold(self._work(MANY), entries, self._course)

    def _work(self, name: str) -> Work:
        label = f"{self.sizes.label}, {self.data_name}"
        return Work(name, label, self.sizes.bytes, self.sizes.flops)

    def _ours(self, networks: int) -> Entry:
        site, sizes = self._course.site, self.sizes

        def make() -> Trainer:
            return ours(self.data, sizes, site.backend, networks, sizes.steps)

        name = f"{OURS}, {networks} networks"
        return Entry(OURS, "train", partial(self._checked, name, make), networks=networks)

    def _torch(self, ways: Sequence[str]) -> Iterator[Entry]:
        for way in ways if "torch" in self._peers else ():
            make = partial(self._make_torch, graph=way == "graph")
            launch = "graph" if way == "graph" else "python"
            name = f"PyTorch eager, {launch}"
            yield Entry("PyTorch eager", launch, partial(self._checked, name, make), "train")

    def _make_torch(self, *, graph: bool) -> Trainer:
        from gpubench.peers_torch_training import TorchTraining

        return TorchTraining(*self._for_peer(), graph=graph)

    def _jax(self) -> Trainer:
        from gpubench.peers_jax import JaxTraining

        return JaxTraining(*self._for_peer())

    def _for_peer(
        self,
    ) -> tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, float, Site]:
        x, labels, sizes = self.data.x_train, self.data.y_train, self.sizes
        order = batch_order(0, len(x), sizes.batch, sizes.steps)
        return start(sizes), x, labels, order, RATE, self._course.site

    def _checked(self, name: str, make: Callable[[], Trainer]) -> Contestant:
        """Train once, compare the first losses, and let further rounds go on from there."""
        trainer = make()
        out = trainer.train()
        trainer.wait(out)
        losses = trainer.host(out).reshape(self.sizes.steps, -1)
        if not np.isfinite(losses).all():
            raise ValueError("WRONG: a loss is not finite")
        expected = self._expected()[:, : losses.shape[1]]
        first = losses[: len(expected), : expected.shape[1]]
        error = check({"the first losses": first}, {"the first losses": expected})
        return Contestant(name, trainer.train, 1, trainer.wait, error)

    def _expected(self) -> np.ndarray:
        """The first losses of the first networks, (steps, networks), by NumPy in float64."""
        if self._reference is None:
            steps = min(CHECKED_STEPS, self.sizes.steps)
            networks = min(CHECKED_NETWORKS, self.sizes.networks)
            trainer = ours(self.data, self.sizes, resolve("numpy"), networks, steps, "float64")
            self._reference = trainer.train()
        return self._reference
