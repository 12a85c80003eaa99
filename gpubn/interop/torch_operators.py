"""The kernels as operators of Torch, for whatever looks into a call instead of making it.

Compilers, tracers, fake tensors and the transforms of `torch.func` see the operators
`torch.ops.gpubn.*`, each with its shapes, its gradient and its rule for a mapped axis. All are
functions: none changes an argument or returns one. They take rows x (..., N, C) and parameters
(..., C), with the same leading axes, which the kernels run through as replicas in one call: a
mapped axis is one more of them. Importing this module registers them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

from gpubn import kernels
from gpubn.interop.torch_functions import (
    WIDE,
    array,
    gradients_by,
    known,
    on_device_of,
    refuse_capture,
    refuse_second_derivative,
    tensor,
)
from gpubn.kernels.fused_cache import FusedBatchNormCache

_operator = partial(
    custom_op,
    mutates_args=(),
    device_types=("cpu", "cuda"),
    tags=(torch.Tag.cudagraph_unsafe,),  # the output is CuPy's memory
)


@_operator("gpubn::batch_norm")
def normalise(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Return y, as x, and the statistics (..., 4, C): mean, shift, inv_std and biased variance."""
    with _launch(x):
        rows, per_unit = _replicas(x, 2), (_replicas(gamma, 1), _replicas(beta, 1))
        y, cache = kernels.batch_norm(*map(array, (rows, *per_unit)), eps=eps)
        statistics = _statistics(cache)
    return tensor(y).to(x.dtype).reshape(x.shape), statistics.reshape(_per_unit(x, 4))


@_operator("gpubn::batch_norm_backward")
def normalise_backward(
    dy: Tensor, x: Tensor, gamma: Tensor | None, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dgamma and dbeta of `normalise`."""
    with _launch(dy):
        cache = FusedBatchNormCache(
            x=array(_replicas(x, 2)),
            gamma=array(_replicas(gamma, 1)),
            beta=None,
            statistics=array(_replicas(statistics, 2)),
            dof=x.shape[-2],
            shared=(False, False),
            activation="linear",
        )
        found = kernels.batch_norm_backward(array(_replicas(dy, 2)), cache)
        return _gradients(dy, *map(tensor, found))


@_operator("gpubn::batch_norm_inference")
def normalise_by(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Return y, as x, normalised by given statistics, and a copy of these, (..., 2, C).

    The copy is for the backward pass, before which training may change the statistics.
    """
    with _launch(x):
        per_unit = (_replicas(p, 1) for p in (mean, var, gamma, beta))
        y = kernels.batch_norm_inference(*map(array, (_replicas(x, 2), *per_unit)), eps=eps)
    return tensor(y).to(x.dtype).reshape(x.shape), torch.stack((mean, var), -2)


@_operator("gpubn::batch_norm_inference_backward")
def normalise_by_backward(
    dy: Tensor, x: Tensor | None, gamma: Tensor | None, statistics: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dgamma and dbeta of `normalise_by`; dgamma is zero where x is None."""
    with _launch(dy):
        per_unit = (_replicas(p, 1) for p in (*statistics.unbind(-2), gamma))
        rows = _replicas(dy, 2), _replicas(x, 2)
        dx, dgamma, dbeta = gradients_by(*rows, *per_unit, eps=eps)
        dgamma = torch.zeros_like(dbeta) if dgamma is None else dgamma
        return _gradients(dy, dx, dgamma, dbeta)


def batched_levels(tensor: Tensor | None) -> set[int]:
    """The levels of nested `torch.func.vmap` that map the tensor."""
    functorch, levels = torch._C._functorch, set()
    while tensor is not None and functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            levels.add(functorch.maybe_get_level(tensor))
        tensor = functorch.get_unwrapped(tensor)
    return levels


@contextmanager
def _launch(x: Tensor) -> Iterator[None]:
    refuse_capture(x)
    with on_device_of(x):
        yield


def _replicas(tensor: Tensor | None, kept: int) -> Tensor | None:
    """The tensor as the kernels take it: contiguous, all axes but the last `kept` made one."""
    if tensor is None:
        return None
    if tensor.dim() > kept + 1:
        tensor = tensor.flatten(0, -kept - 1)
    return known(tensor).contiguous()


def _statistics(cache: Any) -> Tensor:
    if isinstance(cache, FusedBatchNormCache):
        return tensor(cache.statistics)
    mean, inv_std, var, first = map(
        tensor, (cache.mean, cache.inv_std[..., 0, :], cache.var, cache.x_hat[..., 0, :])
    )
    # Not mean - x, which has lost digits where the mean is large.
    shift = torch.where(inv_std > 0, -first / inv_std, 0)
    return torch.stack((mean, shift, inv_std, var), -2)


def _gradients(
    dy: Tensor, dx: Tensor, dgamma: Tensor, dbeta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with the leading axes of dy."""
    dx = dx.to(dy.dtype).reshape(dy.shape)
    return dx, dgamma.reshape(_per_unit(dy)), dbeta.reshape(_per_unit(dy))


def _per_unit(x: Tensor, *values: int) -> tuple[int, ...]:
    """The shape of so many values a channel for rows x."""
    return (*x.shape[:-2], *values, x.shape[-1])


@normalise.register_fake
def _(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(_per_unit(x, 4), dtype=WIDE[x.dtype])


@normalise_by.register_fake
def _(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(_per_unit(x, 2), dtype=WIDE[x.dtype])


def _fake_gradients(dy: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    dgamma, dbeta = (dy.new_empty(_per_unit(dy), dtype=WIDE[dy.dtype]) for _ in range(2))
    return dy.new_empty(dy.shape), dgamma, dbeta


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, gamma, *_ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, gamma, output[1])


def _differentiate(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return _needed(ctx, (0, 1, 2), call(normalise_backward, dy, *ctx.saved_tensors))


def _keep_inference(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, _, _, gamma, _, ctx.eps = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x if ctx.needs_input_grad[3] else None, gamma, output[1])


def _differentiate_inference(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    found = call(normalise_by_backward, dy, *ctx.saved_tensors, ctx.eps)
    return _needed(ctx, (0, 3, 4), found)


def _keep_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pass


def _needed(
    ctx: Any, places: tuple[int, ...], gradients: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    """The gradients, each in the place of its argument, where one is needed; else None."""
    found = dict(zip(places, gradients, strict=True))
    return tuple(
        found.get(place) if needed else None for place, needed in enumerate(ctx.needs_input_grad)
    )


def _mapped(
    operator: Any, info: Any, in_dims: tuple[int | None, ...], *arguments: Any
) -> tuple[Any, tuple[int, ...]]:
    """One call, with the mapped axis in front; what has none is the same for all of it."""

    def moved(argument: Any, dim: int | None) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        if dim is None:
            return argument.expand(info.batch_size, *argument.shape)
        return argument.movedim(dim, 0)

    found = operator(*map(moved, arguments, in_dims))
    return found, (0,) * len(found)


def _register(operator: Any, keep: Any, differentiate: Any) -> type[Function]:
    """Give the operator its gradient and its rule for a mapped axis; return it as a function."""
    operator.register_autograd(differentiate, setup_context=keep)
    operator.register_vmap(partial(_mapped, operator))

    class Differentiable(Function):
        generate_vmap_rule = True
        forward = staticmethod(operator)
        setup_context = staticmethod(keep)
        backward = staticmethod(differentiate)

    return Differentiable


_FUNCTIONS = {
    operator: _register(operator, keep, differentiate)
    for operator, keep, differentiate in (
        (normalise, _keep, _differentiate),
        (normalise_by, _keep_inference, _differentiate_inference),
        (normalise_backward, _keep_nothing, refuse_second_derivative),
        (normalise_by_backward, _keep_nothing, refuse_second_derivative),
    )
}
for _backward in (normalise_backward, normalise_by_backward):
    _backward.register_fake(_fake_gradients)


def call(operator: Any, *arguments: Any) -> Any:
    """Call the operator; in transforms as a function, for they do not find its gradient."""
    if torch._C._are_functorch_transforms_active():
        return _FUNCTIONS[operator].apply(*arguments)
    return operator(*arguments)
