"""Gradient descent, in place, with one learning rate or one a replica."""

from collections.abc import Sequence

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_float, check_like, public_kernel
from gpubn.kernels.agnostic import sgd as agnostic
from gpubn.kernels.cpu import sgd as cpu
from gpubn.kernels.cuda import sgd as cuda

_FUSED = {"cpu": cpu, "cuda": cuda}


@public_kernel
def descend(parameters: Sequence[Array], gradients: Sequence[Array], rates: Array) -> None:
    """parameter -= rate * gradient for each pair, in place; may overwrite the gradients.

    Args:
        parameters: (R, ...) each, contiguous on a GPU, float32 or float64.
        gradients: of the same shapes and dtype.
        rates: (R,), or (1,) for all replicas, of the same dtype.

    >>> weight, gradient = np.ones((1, 2)), np.array([[4.0, 8.0]])
    >>> descend([weight], [gradient], np.array([0.25]))
    >>> weight.tolist()
    [[0.0, -1.0]]
    """
    if len(parameters) != len(gradients):
        raise ArgumentError(
            f"gradients has {len(gradients)} arrays; expected {len(parameters)}, one a parameter"
        )
    if not parameters:
        return
    xp = namespace(*parameters, *gradients, rates)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        check_float("parameter", parameter)
        check_like("gradient", gradient, parameter.shape, parameter.dtype)
        check_rates(rates, parameter)
    device = device_of(xp)
    if device is not None and all(a.flags.c_contiguous for a in (*parameters, *gradients)):
        _FUSED[device.kind].descend(parameters, gradients, rates, device)
    else:
        agnostic.descend(parameters, gradients, rates, xp)


def check_rates(rates: Array, parameter: Array) -> None:
    """Refuse rates that are neither one number nor one a replica of the parameter."""
    if tuple(rates.shape) not in ((1,), tuple(parameter.shape[:1])):
        raise ArgumentError(
            f"rates has shape {tuple(rates.shape)}; expected (1,) or {tuple(parameter.shape[:1])}, "
            "one a replica"
        )
    check_like("rates", rates, rates.shape, parameter.dtype)
