"""`torch.nn.BatchNorm1d` with this project's kernels: the fused ones on CUDA, NumPy's on the CPU.

An ordinary call goes straight to the kernels (`torch_functions`); a call that Torch traces or
transforms goes through operators that it knows (`torch_operators`).
"""

from typing import Any

from gpubn.errors import ArgumentError, ExtraError

try:
    import torch
except ModuleNotFoundError as error:
    raise ExtraError(
        f"{__name__} needs {error.name}; expected PyTorch: pip install torch"
    ) from error

from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from gpubn.interop import torch_functions as functions
from gpubn.interop import torch_operators as operators
from gpubn.interop.torch_functions import WIDE


class BatchNorm1d(torch.nn.BatchNorm1d):
    """Drop-in for `torch.nn.BatchNorm1d`: same constructor, state_dict and results.

    Takes (N, C) or (N, C, L), float16, bfloat16, float32 or float64, on the CPU or a CUDA device;
    parameters and buffers have its dtype, or float32 where it is half precision. On CUDA
    `record_stream` does nothing to the output, which is CuPy's memory: a second stream must be done
    with it before it is dropped.

    `torch.compile` finds no graph break. Under `torch.func.vmap` (grad, functional_call) the mapped
    axis is the replicas of one call of the kernels. The meta device and fake tensors compute
    nothing. `torch.fx` takes the layer for a leaf. Torch's own batch norm stands in for it in
    `torch.export`, `torch.jit.trace`, ONNX, and transforms of `torch.func` that are compiled. There
    is no forward-mode derivative.

    Raises:
        ArgumentError: input, parameters or momentum are not as above, training has one value a
            channel, a second derivative is computed, a CUDA graph is being captured, or `vmap` maps
            the input, but not the running statistics that training would update.
        BackendError: a CUDA tensor without CuPy.

    >>> layer = BatchNorm1d(1, eps=0.0)
    >>> layer(torch.tensor([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    >>> [round(mean, 4) for mean in layer.running_mean.tolist()]  # 0.9 times 0 + 0.1 times 2
    [0.2]
    """

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of its shape and dtype; training updates the buffers in place."""
        if _is_ordinary(input):
            return self._normalise(input)
        if isinstance(tracer := getattr(input, "tracer", None), torch.fx.Tracer):
            if tracer.root is not self:
                path = tracer.path_of_module(self)
                return tracer.create_proxy("call_module", path, (input,), {})
            return super().forward(input)
        if _is_left_to_torch():
            return super().forward(input)
        return self._normalise(input, traced=True)

    def _normalise(self, x: Tensor, traced: bool = False) -> Tensor:
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        tracks = self.training and self.track_running_stats
        _check(self, x, by_batch, tracks, traced)
        if x.numel() == 0:
            return super().forward(x)
        rows, wide = _to_rows(x), WIDE[x.dtype]
        gamma, beta, mean, var = (
            None if tensor is None else tensor.to(wide)
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        if not by_batch:
            given = (rows, mean, var, gamma, beta, self.eps)
            if traced:
                y, _ = operators.call(operators.normalise_by, *given)
            else:
                y = functions.normalise_by(*given)
            return _from_rows(y, x)
        momentum = self._count(traced) if tracks else 0.0
        tracks = tracks and mean is not None
        if traced:
            y, statistics = operators.call(operators.normalise, rows, gamma, beta, self.eps)
            if tracks:
                mean, var = _moved((mean, var), statistics.detach(), momentum, rows.shape[0])
        else:
            running = (mean, var, momentum) if tracks else None
            y = functions.normalise(rows, gamma, beta, self.eps, running)
        if tracks and mean is not self.running_mean:
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        return _from_rows(y, x)

    def _count(self, traced: bool) -> Any:
        """Count a batch; return its weight in the running statistics."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # a tracer does not know the number
                count = self.num_batches_tracked
                return count.double().reciprocal() if traced else 1.0 / float(count)
        return float(self.momentum or 0.0)


def _is_ordinary(x: Tensor) -> bool:
    """True where a call is what it seems: on tensors with memory, and nobody looks into it."""
    return (
        not torch.compiler.is_compiling()
        and isinstance(x, Tensor)
        and type(x).__torch_dispatch__ is Tensor.__torch_dispatch__
        and not x.is_meta
        and not torch._C._are_functorch_transforms_active()
        and not is_in_torch_dispatch_mode()
        and not torch.jit.is_tracing()
    )


def _is_left_to_torch() -> bool:
    """True where others are to read the call, and where the compiler cannot differentiate ours."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting() or torch._C._are_functorch_transforms_active()
    return torch.jit.is_tracing()


def _moved(averages: Any, statistics: Tensor, momentum: Any, n: int) -> tuple[Tensor, ...]:
    """New running mean and var from the statistics (4, C) of n values a channel."""
    new = statistics[0], statistics[3] * (n / (n - 1))
    return tuple((1 - momentum) * a + momentum * b for a, b in zip(averages, new, strict=True))


def _to_rows(x: Tensor) -> Tensor:
    """x as (values a channel, C), contiguous, of a dtype that NumPy and CuPy know."""
    rows = x if x.dim() == 2 else x.transpose(1, 2).reshape(-1, x.shape[1])
    return functions.known(rows).contiguous()


def _from_rows(y: Tensor, x: Tensor) -> Tensor:
    """y with the shape and dtype of x, contiguous."""
    y = y.to(x.dtype)
    if x.dim() == 2:
        return y
    n, c, length = x.shape
    return y.reshape(n, length, c).transpose(1, 2).contiguous()


def _check(module: BatchNorm1d, x: Tensor, by_batch: bool, tracks: bool, traced: bool) -> None:
    c, shape = module.num_features, tuple(x.shape)
    if x.device.type not in ("cpu", "cuda", "meta"):
        raise ArgumentError(f"x lies on {x.device}; expected the CPU or a CUDA device")
    if not traced:
        functions.refuse_capture(x)
    if x.dtype not in WIDE or x.layout != torch.strided:
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
    if tracks and not 0.0 <= (module.momentum or 0.0) <= 1.0:
        raise ArgumentError(f"momentum is {module.momentum}; expected a number from 0 to 1")
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(module, name)
        if tensor is None:
            continue
        if tensor.device != x.device:
            raise ArgumentError(f"{name} lies on {tensor.device}; expected {x.device}, as x does")
        if tensor.dtype not in (x.dtype, WIDE[x.dtype]):
            raise ArgumentError(f"{name} has dtype {tensor.dtype}; expected {x.dtype}, as x has")
    if traced and tracks and not torch.compiler.is_compiling():
        mapped = operators.batched_levels(x)
        for name in ("running_mean", "running_var"):
            if not mapped <= operators.batched_levels(getattr(module, name)):
                raise ArgumentError(
                    f"vmap maps x, but not {name}, which training updates in place; expected "
                    "statistics that are mapped too (torch.func.stack_module_state), or a layer "
                    "with track_running_stats=False"
                )
