"""`torch.nn.BatchNorm1d` with this project's kernels: the fused ones on CUDA, NumPy's on the CPU.

Memory is shared, on CUDA by DLPack, and CuPy works on Torch's current stream.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from gpubn.backend.streams import on_stream
from gpubn.errors import ArgumentError
from gpubn.kernels import RunningStatistics, batch_norm, batch_norm_backward, batch_norm_inference

_WIDE = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float32),
    torch.float64: torch.float64,
}
"""Dtype of the input -> dtype of the statistics."""


class BatchNorm1d(torch.nn.BatchNorm1d):
    """Drop-in for `torch.nn.BatchNorm1d`: same constructor, state_dict and results.

    Takes (N, C) or (N, C, L), float16, bfloat16, float32 or float64, on the CPU or a CUDA device;
    parameters and buffers have its dtype, or float32 where it is half precision. Under
    `torch.compile` the layer is a graph break. On CUDA `record_stream` does nothing to the output,
    which is CuPy's memory: a second stream must be done with it before it is dropped.

    Raises:
        ArgumentError: input, parameters or momentum are not as above, training has one value a
            channel, a second derivative is computed, or a CUDA graph is being captured.
        BackendError: a CUDA tensor without CuPy.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of its shape and dtype; training updates the buffers in place."""
        if torch.compiler.is_compiling():  # to disable at import would load the compiler
            return torch.compiler.disable(self._normalise)(input)
        return self._normalise(input)

    def _normalise(self, x: Tensor) -> Tensor:
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        _check(self, x, by_batch)
        if x.numel() == 0:
            return super().forward(x)
        rows, wide = _to_rows(x), _WIDE[x.dtype]
        gamma, beta, mean, var = (
            None if tensor is None else tensor.to(wide)
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        paths = _paths(rows, gamma)
        if not by_batch:
            y = _Inference.apply(rows, gamma, beta, paths, (mean, var), self.eps)
            return _from_rows(y, x)
        momentum = self._count() if self.training and self.track_running_stats else None
        tracks = momentum is not None and mean is not None
        running = RunningStatistics(_array(mean), _array(var), momentum) if tracks else None
        y = _Training.apply(rows, gamma, beta, paths, running, self.eps)
        if tracks and mean is not self.running_mean:
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        return _from_rows(y, x)

    def _count(self) -> float:
        """Count a batch; return its weight in the running statistics."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return float(self.momentum or 0.0)


class _Training(Function):
    """Rows normalised by their own statistics; `running`, if given, is updated in place."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, gamma: Any, beta: Any, paths: Any, running: Any, eps: float
    ) -> Tensor:
        cache: Any
        with _device_of(x):
            y, cache = batch_norm(*map(_array, (x, gamma, beta)), eps=eps, running=running)
            # What is large goes to autograd, which frees and offloads it. x and gamma go as they
            # are: it then finds out if they are changed in place before the backward pass.
            large = {k: v for k, v in cache._asdict().items() if getattr(v, "shape", 0) == x.shape}
            ctx.save_for_backward(
                gamma, *(x if name == "x" else _tensor(array) for name, array in large.items())
            )
        ctx.cache, ctx.paths = cache._replace(**dict.fromkeys(large)), paths
        ctx.names = tuple(large)
        return _tensor(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        _, *large = ctx.saved_tensors

        def gradients(dy: Tensor) -> tuple[Tensor, ...]:
            arrays = dict(zip(ctx.names, map(_array, large), strict=True))
            found = batch_norm_backward(_array(dy), ctx.cache._replace(**arrays))
            return tuple(map(_tensor, found))

        return _differentiate(ctx, gradients, dy)


class _Inference(Function):
    """Rows normalised by given statistics, which are constants to the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, gamma: Any, beta: Any, paths: Any, statistics: Any, eps: float
    ) -> Tensor:
        with _device_of(x):
            y = batch_norm_inference(*map(_array, (x, *statistics, gamma, beta)), eps=eps)
        if any(ctx.needs_input_grad):
            # Training may change the statistics before the backward pass.
            statistics = (a.clone() for a in statistics)
            ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, gamma, *statistics)
        ctx.paths, ctx.eps = paths, eps
        return _tensor(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, mean, var = ctx.saved_tensors

        def normalise(*arrays: Any) -> Tensor:
            return _tensor(batch_norm_inference(*map(_array, arrays), eps=ctx.eps))

        def gradients(dy: Tensor) -> tuple[Tensor | None, ...]:
            dx, dbeta = (
                normalise(dy, torch.zeros_like(mean), var, gamma),
                dy.sum(0, dtype=mean.dtype),
            )
            if x is None:
                return dx, None, dbeta
            x_hat = normalise(x.to(mean.dtype), mean, var)
            return dx, (x_hat * dy).sum(0), dbeta

        return _differentiate(ctx, gradients, dy)


class _Gradient(Function):
    """A gradient that is computed, but not differentiated."""

    @staticmethod
    def forward(ctx: Any, gradients: Callable[[Tensor], Any], dy: Tensor, *paths: Tensor) -> Any:
        with _device_of(dy):
            return gradients(dy.detach())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise ArgumentError(
            "the gradient of gpubn.interop.torch.BatchNorm1d was differentiated; expected a first "
            "derivative, the only one it has"
        )


def _differentiate(
    ctx: Any, gradients: Callable[[Tensor], Any], dy: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of x, gamma and beta where they are needed; None for three more arguments."""
    found = zip(_Gradient.apply(gradients, dy, *ctx.paths), ctx.needs_input_grad, strict=False)
    return (*(gradient if needed else None for gradient, needed in found), None, None, None)


def _paths(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Empty tensors over which a second derivative finds these, without their memory.

    Without them it would be silently zero where dy is a constant.
    """
    if not torch.is_grad_enabled():
        return ()
    return tuple(t[:0].clone() for t in tensors if t is not None and t.requires_grad)


def _array(tensor: Any) -> Any:
    """The tensor as the kernels take it, without a copy: on CUDA they make CuPy's array of it."""
    if tensor is None:
        return None
    bare = tensor.detach().resolve_neg()
    return bare if bare.is_cuda else bare.numpy()


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else torch.from_dlpack(array)


@contextmanager
def _device_of(x: Tensor) -> Iterator[None]:
    """CuPy works on the device of x, and on Torch's current stream there."""
    if not x.is_cuda:
        yield
        return
    stream = torch.cuda.current_stream(x.device).cuda_stream
    with torch.cuda.device(x.device), on_stream(x.device.index, stream):
        yield


def _to_rows(x: Tensor) -> Tensor:
    """x as (values a channel, C), contiguous, of a dtype that NumPy and CuPy know."""
    rows = x if x.dim() == 2 else x.transpose(1, 2).reshape(-1, x.shape[1])
    if x.dtype == torch.bfloat16 and not (x.is_cuda and find_spec("ml_dtypes")):
        rows = rows.float()
    return rows.contiguous()


def _from_rows(y: Tensor, x: Tensor) -> Tensor:
    """y with the shape and dtype of x, contiguous."""
    y = y.to(x.dtype)
    if x.dim() == 2:
        return y
    n, c, length = x.shape
    return y.reshape(n, length, c).transpose(1, 2).contiguous()


def _check(module: BatchNorm1d, x: Tensor, by_batch: bool) -> None:
    c, shape = module.num_features, tuple(x.shape)
    if x.device.type not in ("cpu", "cuda"):
        raise ArgumentError(f"x lies on {x.device}; expected the CPU or a CUDA device")
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        raise ArgumentError(
            "x is normalised while a CUDA graph is captured; expected a call outside of it: the "
            "output is CuPy's memory, which the graph would write to after others have it"
        )
    if x.dtype not in _WIDE or x.layout != torch.strided:
        raise ArgumentError(
            f"x has dtype {x.dtype} and layout {x.layout}; expected a dense tensor of float16, "
            "bfloat16, float32 or float64"
        )
    if len(shape) not in (2, 3) or shape[1] != c:
        raise ArgumentError(f"x has shape {shape}; expected (N, {c}) or (N, {c}, L)")
    if by_batch and x.numel() == c > 0:
        raise ArgumentError(
            f"x has shape {shape}, one value a channel; expected at least 2, which batch norm "
            "needs in training"
        )
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(module, name)
        if tensor is None:
            continue
        if tensor.device != x.device:
            raise ArgumentError(f"{name} lies on {tensor.device}; expected {x.device}, as x does")
        if tensor.dtype not in (x.dtype, _WIDE[x.dtype]):
            raise ArgumentError(f"{name} has dtype {tensor.dtype}; expected {x.dtype}, as x has")
