"""PyTorch as a peer: eager (over replicas by vmap) or compiled; captured as a CUDA graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gpubn.backend import Backend, cores
from race.batchnorm import EPS, MOMENTUM
from race.package import Package
from race.training import RATE, TrainingWork

_WARM_UPS = 3


class PyTorch(Package):
    """Arrays are tensors.

    Args:
        compiled: batchnorm, or a whole step of training, is what `torch.compile` makes of it.

    Raises:
        RuntimeError: it sees no GPU where there should be one.
    """

    def __init__(self, backend: Backend, *, compiled: bool) -> None:
        super().__init__(backend)
        if self.gpu and not torch.cuda.is_available():
            raise RuntimeError("PyTorch is installed without CUDA, or sees no device")
        if not self.gpu:
            torch.set_num_threads(cores())
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._device = "cuda" if self.gpu else "cpu"
        self._pool: Any = None
        self._forward = {2: _batchnorm, 3: torch.func.vmap(_batchnorm)}
        self._compiled = compiled
        if compiled:
            torch._dynamo.reset()  # else the eighth shape would run eagerly, without a word
            self._forward = {axes: _compiled(f) for axes, f in self._forward.items()}

    def put(self, array: np.ndarray, *, variable: bool = False) -> Any:
        tensor = torch.from_numpy(np.require(array, requirements="W"))
        return tensor.to(self._device).requires_grad_(variable)

    def host(self, array: Any) -> np.ndarray:
        return array.detach().cpu().numpy()

    def batchnorm(self, x: Any, dy: Any, gamma: Any, beta: Any, running: list[Any]) -> Any:
        y = self._forward[x.ndim](x, gamma, beta, *running)
        return y, *torch.autograd.grad(y, (x, gamma, beta), dy)

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        if not self.gpu:
            raise RuntimeError("a captured graph needs a CUDA device")
        # As PyTorch's manual says, after a warm-up on a stream of its own.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS if self._pool is None else 0):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Relaxed: CuPy and JAX have threads in this process, too.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="relaxed"):
            work()
        self._pool = graph.pool()

        def replay(keep: Any = work) -> None:  # what it reads and writes must outlive the capture
            graph.replay()

        return replay

    def trainer(self, work: TrainingWork, launch: str) -> Callable[[], Any]:
        arrays = (work.data.x_train, work.data.y_train, work.order[0])
        images, labels, order = (self.put(array) for array in arrays)
        model = _network(work).to(self._device)
        sgd = torch.optim.SGD(model.parameters(), lr=RATE)

        def step(rows: Any) -> Any:
            loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return loss.detach()

        if launch != "graph":
            call = _compiled_step(model, images, labels) if self._compiled else step
            return lambda: torch.stack([call(rows) for rows in order])

        at = torch.zeros(1, dtype=torch.int64, device=self._device)
        losses = torch.zeros(len(order), device=self._device)

        def next_step() -> None:
            """Find the place in the order without the host."""
            loss = step(order.index_select(0, at).view(-1))
            losses.index_copy_(0, at, loss.view(1))
            at.add_(1)

        start = {name: value.clone() for name, value in model.state_dict().items()}
        replay = self.capture(next_step)
        model.load_state_dict(start)

        def train() -> Any:
            at.zero_()
            for _ in range(len(order)):
                replay()
            return losses

        return train


def _batchnorm(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    return torch.nn.functional.batch_norm(x, mean, var, gamma, beta, True, MOMENTUM, EPS)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(lambda *arrays: function(*arrays), dynamic=False, fullgraph=True)


def _compiled_step(model: Any, images: Any, labels: Any) -> Callable[[Any], Any]:
    """Forward, backward and update as one graph."""
    torch._dynamo.config.trace_autograd_ops = True  # else a gradient inside it is refused
    parameters = list(model.parameters())

    def step(rows: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.sub_(slope, alpha=RATE)
        return loss.detach()

    return torch.compile(step, dynamic=False, fullgraph=True)


def _network(work: TrainingWork) -> Any:
    """The network of seed 0."""
    nn, start = torch.nn, {name: torch.from_numpy(a[0]) for name, a in work.start.items()}
    activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[work.activation]
    layers: list[Any] = []
    for i, sizes in enumerate(work.layers):
        affine = nn.Linear(*sizes)
        with torch.no_grad():
            affine.weight.copy_(start[f"weight{i}"].T)
            affine.bias.copy_(start[f"bias{i}"])
        layers.append(affine)
        if i < work.depth:
            norm = [] if work.norm == "none" else [nn.BatchNorm1d(work.width)]
            layers += [*norm, activation()] if work.norm == "before" else [activation(), *norm]
    return nn.Sequential(*layers)
