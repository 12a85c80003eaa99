"""Predictions that a network at initialisation can be held against. Plain numbers, no arrays."""

from math import acos, pi, sqrt

RELU_VARIANCE_SHARE = 1 - 1 / pi
"""Variance over second moment of the ReLU of a centred normal."""


def relu_gain(fan_in: int, weight_var: float) -> float:
    """Factor on the second moment a ReLU layer, forward and back: half of what the weights give.

    He et al. 2015, equations 7-14: n var(W) / 2.
    """
    return fan_in * weight_var / 2


def relu_activation_var(fan_in: int, weight_var: float, layer: int) -> float:
    """Variance of the activations of `layer` (1, 2, ...) for standard normal input."""
    return RELU_VARIANCE_SHARE * relu_gain(fan_in, weight_var) ** layer


def relu_weight_grad_var(fan_in: int, weight_var: float, depth: int, examples: int) -> float:
    """Variance of the weight gradients, the same in every layer, for unit upstream gradient.

    A weight gradient sums over the examples (backpropagated signal) x (incoming activation): what
    one gains a layer the other loses.
    """
    return examples / 2 * relu_gain(fan_in, weight_var) ** (depth - 1)


def batchnorm_relu_gradient_growth(batch: int) -> float:
    """Factor on the squared gradient norm a layer going back, with batchnorm and ReLU.

    Yang et al. 2019, theorem 8; pi/(pi - 1) for large batches. Needs a batch of at least 4.
    """
    c = -1 / (batch - 1)
    j = (sqrt(1 - c**2) + (pi - acos(c)) * c) / pi
    dj = (pi - acos(c)) / pi
    return (dj + batch - 1) / ((batch - 3) * (1 - j)) - 1 / (batch - 3)


BATCHNORM_RELU_VAR = 0.5 - 0.5 / pi
"""Variance of the ReLU of a normalised unit: batchnorm before the activation."""
