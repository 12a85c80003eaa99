"""PyTorch as a peer in batch norm: eager, over replicas by a loop or vmap, compiled; captured."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from gpubench.clock import Site, no_wait
from gpubench.kernels import EPS, MOMENTUM, Inputs

_WARM_UPS = 3


def torch_for(site: Site) -> Any:
    """The package, on this device and in full float32.

    Raises:
        RuntimeError: it has no GPU.
    """
    torch: Any = import_module("torch")
    if not site.dry and not torch.cuda.is_available():
        raise RuntimeError("PyTorch is installed without CUDA, or sees no device")
    if site.dry:
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch


class TorchNorm:
    """A `gpubench.kernels.Norm`; gradients by `torch.autograd.grad`.

    Args:
        way: "eager" or "compile"; for (R, N, D) "loop", each replica for itself, "vmap", all at
            once, or "compile", which compiles the latter.
    """

    def __init__(self, inputs: Inputs, site: Site, way: str) -> None:
        torch = self._torch = torch_for(site)
        self._site, self._way, self._pool = site, way, None
        self._split = way == "loop"

        def leaves(array: np.ndarray, *, split: bool) -> Any:
            moved = torch.from_numpy(array).to(site.torch_device)
            parts = [moved] if not split else moved.unbind(0)
            return [part.detach().requires_grad_() for part in parts]

        self._x = self._sets(inputs.x, gradient=True)
        self._dy = self._sets(inputs.dy, gradient=False)
        self._gamma = leaves(inputs.gamma, split=self._split)
        self._beta = leaves(inputs.beta, split=self._split)
        self._mean = torch.zeros(inputs.per_unit, device=site.torch_device)
        self._var = torch.ones(inputs.per_unit, device=site.torch_device)
        self._stats = [(self._mean, self._var)]
        if self._split:
            self._stats = list(zip(self._mean.unbind(0), self._var.unbind(0), strict=True))
        self._function = self._choose(len(inputs.shape) == 3 and not self._split)
        self.wait = no_wait

    def run(self, i: int) -> Any:
        grad = self._torch.autograd.grad
        found = []
        leaves = zip(self._x[i], self._dy[i], self._gamma, self._beta, self._stats, strict=True)
        for x, dy, gamma, beta, (mean, var) in leaves:
            y = self._function(x, gamma, beta, mean, var)
            found.append((y, *grad(y, (x, gamma, beta), dy)))
        return found

    def host(self, out: Any) -> dict[str, np.ndarray]:
        found = {}
        for number, name in enumerate(("y", "dx", "dgamma", "dbeta")):
            parts = [of_part[number].detach().cpu().numpy() for of_part in out]
            found[name] = np.stack(parts) if self._split else parts[0]
        return found

    def running(self) -> dict[str, np.ndarray]:
        return {
            "running_mean": self._mean.cpu().numpy(),
            "running_var": self._var.cpu().numpy(),
        }

    def reset(self) -> None:
        self._mean.zero_()
        self._var.fill_(1)
        like = self._x[0][0]
        poison = [self._torch.full_like(like, float("nan"), requires_grad=False) for _ in range(2)]
        del poison  # back to the allocator, which hands the same memory out again

    def capture(self, indices: Sequence[int]) -> tuple[Callable[[], None], Any]:
        kept: list[Any] = []

        def work() -> None:
            for i in indices:
                out = self.run(i)
                if not kept:
                    kept.append(out)

        def warm_up() -> None:
            for _ in range(_WARM_UPS):
                self.run(indices[0])

        graph = capture(self._torch, self._site, work, warm_up, self._pool)
        self._pool = graph.pool()
        return graph.replay, kept[0]

    def poison(self, out: Any) -> None:
        with self._torch.no_grad():
            for of_part in out:
                for tensor in of_part:
                    tensor.detach().fill_(float("nan"))

    def _sets(self, array: np.ndarray, *, gradient: bool) -> list[list[Any]]:
        """For each set its leaves: one, or one a replica."""
        moved = self._torch.from_numpy(array).to(self._site.torch_device)
        return [
            [
                part.detach().requires_grad_(gradient)
                for part in (of_set.unbind(0) if self._split else [of_set])
            ]
            for of_set in moved.unbind(0)
        ]

    def _choose(self, replicas: bool) -> Callable[..., Any]:
        torch = self._torch
        functional = torch.nn.functional

        def one(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
            return functional.batch_norm(x, mean, var, gamma, beta, True, MOMENTUM, EPS)

        function = torch.func.vmap(one) if replicas else one
        if self._way != "compile":
            return function
        torch._dynamo.reset()  # else the eighth shape would run eagerly, without a word
        compiled: Callable[..., Any] = torch.compile(
            lambda *arrays: function(*arrays), dynamic=False, fullgraph=True
        )
        return compiled


def capture(
    torch: Any,
    site: Site,
    work: Callable[[], None],
    warm_up: Callable[[], None],
    pool: Any = None,
) -> Any:
    """Capture `work` as PyTorch's manual says, after a warm-up on a stream of its own.

    Raises:
        RuntimeError: there is no CUDA device.
    """
    if site.dry:
        raise RuntimeError("a captured graph needs a CUDA device")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        warm_up()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Relaxed: CuPy and JAX have threads in this process, too.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="relaxed"):
        work()
    return graph
