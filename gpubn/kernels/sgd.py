"""Gradient descent, plain or along an average, in place; one learning rate or one a replica."""

from collections.abc import Sequence

from gpubn.backend import Array, device_of, namespace
from gpubn.errors import ArgumentError
from gpubn.kernels._checks import check_float, check_like, check_writable, public_kernel
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

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> weight, gradient = np.ones((1, 2)), np.array([[4.0, 8.0]])
    >>> descend([weight], [gradient], np.array([0.25]))
    >>> weight.tolist()
    [[0.0, -1.0]]
    """
    if not parameters and not gradients:
        return
    _check_pairs(parameters, rates, gradients=gradients)
    xp = namespace(*parameters, *gradients, rates)
    device = device_of(xp)
    if device is not None and all(a.flags.c_contiguous for a in (*parameters, *gradients)):
        _FUSED[device.kind].descend(parameters, gradients, rates, device)
    else:
        agnostic.descend(parameters, gradients, rates, xp)


@public_kernel
def descend_averaged(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    averages: Sequence[Array],
    rates: Array,
    momentum: float,
) -> None:
    """average = momentum * average + (1 - momentum) * gradient; parameter -= rate * average.

    In place; may overwrite the gradients. Polyak's heavy ball (1964) with the rate of plain
    descent: PyTorch's with `dampening` equal to `momentum`, but for its first step, whose average
    is the gradient.

    Args:
        parameters: (R, ...) each, contiguous on a GPU, float32 or float64.
        gradients, averages: of the same shapes and dtype.
        rates: (R,), or (1,) for all replicas, of the same dtype.
        momentum: in [0, 1).

    Raises:
        ArgumentError: a shape or dtype does not fit, or momentum is not in [0, 1).

    >>> weight, gradient, average = np.ones((1, 2)), np.array([[4.0, 8.0]]), np.zeros((1, 2))
    >>> descend_averaged([weight], [gradient], [average], np.array([0.25]), 0.5)
    >>> weight.tolist(), average.tolist()
    ([[0.5, 0.0]], [[2.0, 4.0]])
    """
    if not 0 <= momentum < 1:
        raise ArgumentError(f"momentum is {momentum}; expected a number in [0, 1)")
    if not parameters and not gradients and not averages:
        return
    _check_pairs(parameters, rates, gradients=gradients, averages=averages)
    for average in averages:
        check_writable(average=average)
    xp = namespace(*parameters, *gradients, *averages, rates)
    device, arrays = device_of(xp), (*parameters, *gradients, *averages)
    if device is not None and all(a.flags.c_contiguous for a in arrays):
        fused = _FUSED[device.kind]
        fused.descend_averaged(parameters, gradients, averages, rates, momentum, device)
    else:
        agnostic.descend_averaged(parameters, gradients, averages, rates, momentum, xp)


def _check_pairs(parameters: Sequence[Array], rates: Array, **beside: Sequence[Array]) -> None:
    """Refuse arrays beside the parameters that are not one for each, and alike."""
    for name, arrays in beside.items():
        if len(parameters) != len(arrays):
            raise ArgumentError(
                f"{name} has {len(arrays)} arrays; expected {len(parameters)}, one a parameter"
            )
    for i, parameter in enumerate(parameters):
        check_float("parameter", parameter)
        check_writable(parameter=parameter)
        for name, arrays in beside.items():
            check_like(name[:-1], arrays[i], parameter.shape, parameter.dtype)
        check_rates(rates, parameter)


def check_rates(rates: Array, parameter: Array) -> None:
    """Refuse rates that are neither one number nor one a replica of the parameter."""
    if tuple(rates.shape) not in ((1,), tuple(parameter.shape[:1])):
        raise ArgumentError(
            f"rates has shape {tuple(rates.shape)}; expected (1,) or {tuple(parameter.shape[:1])}, "
            "one a replica"
        )
    check_like("rates", rates, rates.shape, parameter.dtype)
