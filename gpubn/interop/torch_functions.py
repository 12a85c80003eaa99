"""The kernels as Torch's autograd functions, which is all that a call in eager mode goes through.

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

WIDE = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float32),
    torch.float64: torch.float64,
}
"""Dtype of the input -> dtype of the statistics."""


def normalise(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    eps: float,
    running: tuple[Tensor, Tensor, float] | None,
) -> Tensor:
    """Rows (N, C) by their own statistics; `running`, mean, var and momentum, is updated."""
    averages = None
    if running is not None:
        averages = RunningStatistics(array(running[0]), array(running[1]), running[2])
    return _Training.apply(x, gamma, beta, _paths(x, gamma), averages, eps)


def normalise_by(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    eps: float,
) -> Tensor:
    """Rows (N, C) by given statistics, which are constants to the gradient."""
    return _Inference.apply(x, gamma, beta, _paths(x, gamma), (mean, var), eps)


def gradients_by(
    dy: Tensor, x: Tensor | None, mean: Tensor, var: Tensor, gamma: Tensor | None, *, eps: float
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return dx, dgamma and dbeta of rows (..., N, C) normalised by given statistics (..., C).

    Only dgamma needs x, and is None without it.
    """

    def scaled(*arrays: Tensor | None) -> Tensor:
        return tensor(batch_norm_inference(*map(array, arrays), eps=eps))

    dx, dbeta = scaled(dy, torch.zeros_like(mean), var, gamma), dy.sum(-2, dtype=mean.dtype)
    dgamma = None if x is None else (scaled(x.to(mean.dtype), mean, var) * dy).sum(-2)
    return dx, dgamma, dbeta


def refuse_second_derivative(ctx: Any, *_: Tensor) -> None:
    """The backward pass of a gradient."""
    raise ArgumentError(
        "the gradient of gpubn.interop.torch.BatchNorm1d was differentiated; expected a first "
        "derivative, the only one it has"
    )


def refuse_capture(x: Tensor) -> None:
    """Refuse to work while a CUDA graph is captured."""
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        raise ArgumentError(
            "x is normalised while a CUDA graph is captured; expected a call outside of it: the "
            "output is CuPy's memory, which the graph would write to after others have it"
        )


def array(tensor: Any) -> Any:
    """The tensor as the kernels take it, without a copy: on CUDA they make CuPy's array of it."""
    if tensor is None:
        return None
    bare = tensor.detach().resolve_neg()
    return bare if bare.is_cuda else bare.numpy()


def tensor(array: Any) -> Tensor:
    """The array as a tensor, without a copy."""
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else torch.from_dlpack(array)


def known(x: Tensor) -> Tensor:
    """x, in float32 where NumPy or CuPy does not know its dtype."""
    if x.dtype == torch.bfloat16 and not (x.is_cuda and find_spec("ml_dtypes")):
        return x.float()
    return x


@contextmanager
def on_device_of(x: Tensor) -> Iterator[None]:
    """CuPy works on the device of x, and on Torch's current stream there."""
    if not x.is_cuda:
        yield
        return
    stream = torch.cuda.current_stream(x.device).cuda_stream
    with torch.cuda.device(x.device), on_stream(x.device.index, stream):
        yield


class _Training(Function):
    """`normalise`, with RunningStatistics or None."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, gamma: Any, beta: Any, paths: Any, running: Any, eps: float
    ) -> Tensor:
        cache: Any
        with on_device_of(x):
            y, cache = batch_norm(*map(array, (x, gamma, beta)), eps=eps, running=running)
            # What is large goes to autograd, which frees and offloads it. x and gamma go as they
            # are: it then finds out if they are changed in place before the backward pass.
            large = {k: v for k, v in cache._asdict().items() if getattr(v, "shape", 0) == x.shape}
            ctx.save_for_backward(
                gamma, *(x if name == "x" else tensor(value) for name, value in large.items())
            )
        ctx.cache, ctx.paths = cache._replace(**dict.fromkeys(large)), paths
        ctx.names = tuple(large)
        return tensor(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        _, *large = ctx.saved_tensors

        def gradients(dy: Tensor) -> tuple[Tensor, ...]:
            arrays = dict(zip(ctx.names, map(array, large), strict=True))
            found = batch_norm_backward(array(dy), ctx.cache._replace(**arrays))
            return tuple(map(tensor, found))

        return _differentiate(ctx, gradients, dy)


class _Inference(Function):
    """`normalise_by`."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, gamma: Any, beta: Any, paths: Any, statistics: Any, eps: float
    ) -> Tensor:
        with on_device_of(x):
            y = batch_norm_inference(*map(array, (x, *statistics, gamma, beta)), eps=eps)
        if any(ctx.needs_input_grad):
            # Training may change the statistics before the backward pass.
            statistics = (a.clone() for a in statistics)
            ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, *statistics, gamma)
        ctx.paths, ctx.eps = paths, eps
        return tensor(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        return _differentiate(ctx, lambda dy: gradients_by(dy, *saved, eps=ctx.eps), dy)


class _Gradient(Function):
    """A gradient that is computed, but not differentiated."""

    @staticmethod
    def forward(ctx: Any, gradients: Callable[[Tensor], Any], dy: Tensor, *paths: Tensor) -> Any:
        with on_device_of(dy):
            return gradients(dy.detach())

    backward = staticmethod(refuse_second_derivative)


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
