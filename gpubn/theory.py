"""Predictions that a network at initialisation can be held against. Plain numbers, no arrays."""

from math import acos, erf, exp, lgamma, pi, sqrt

RELU_VARIANCE_SHARE = 1 - 1 / pi
"""Variance over second moment of the ReLU of a centred normal."""


def relu_gain(fan_in: int, weight_var: float) -> float:
    """Factor on the second moment a ReLU layer, forward and back: half of what the weights give.

    He et al. 2015, equations 7-14: n var(W) / 2.
    """
    return fan_in * weight_var / 2


def linear_gain(fan_in: int, weight_var: float) -> float:
    """Factor on the second moment a layer without a nonlinearity, forward and back: n var(W)."""
    return fan_in * weight_var


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


def batchnorm_linear_gradient_growth(batch: int) -> float:
    """Factor on the squared gradient norm a layer going back, with batchnorm alone.

    Yang et al. 2019, theorem 8; 1 for large batches. Needs a batch of at least 4.
    """
    return (batch - 2) / (batch - 3)


BATCHNORM_RELU_VAR = 0.5 - 0.5 / pi
"""Variance of the ReLU of a normalised unit: batchnorm before the activation."""

RELU_NORMAL_DISTANCE = erf(1 / sqrt(2 * pi * BATCHNORM_RELU_VAR) / sqrt(2)) / 2
"""Kolmogorov distance of the ReLU of a centred normal from the normal of its mean and variance.

At 0, where the ReLU has half of its values and the normal Phi(-mean / std).
"""


def var_ratio(batch: int, correction: int = 0) -> float:
    """Mean over batches of the variance, divided by batch - correction, over the true one.

    For any distribution: (B - 1) / (B - correction), hence Bessel's correction of 1.
    """
    return (batch - 1) / (batch - correction)


def normal_std_ratio(batch: int, correction: int = 0) -> float:
    """As `var_ratio`, of the standard deviation, for normal examples.

    Holtzman 1950, c4 = sqrt(2/(B - 1)) Gamma(B/2) / Gamma((B - 1)/2), for a correction of 1.
    """
    gammas = exp(lgamma(batch / 2) - lgamma((batch - 1) / 2))
    return sqrt(2 / (batch - correction)) * gammas


def dropout_variance_ratio(keep: float) -> float:
    """Variance at inference over that in training, behind dropout of the ReLU of a centred normal.

    (1/2 - 1/(2 pi)) / (1/(2 keep) - 1/(2 pi)), `keep` the probability to be kept; Li et al. 2019.
    """
    return BATCHNORM_RELU_VAR / (0.5 / keep - 0.5 / pi)


def startup_bias(momentum: float, updates: int) -> float:
    """Share of its initial value that a moving average still holds: (1 - a)^k."""
    return (1 - momentum) ** updates


def moving_mean_var(var: float, batch: int, momentum: float, updates: int) -> float:
    """Variance of the moving mean of batches of independent examples of variance `var`.

    var/B a/(2 - a) (1 - (1 - a)^(2k)); Roberts 1959.
    """
    settled = 1 - startup_bias(momentum, 2 * updates)
    return var / batch * momentum / (2 - momentum) * settled


def rounding_tolerance(terms: int, eps: float) -> float:
    """Error that a sum of so many terms, and a few steps more, may show, relative to their size.

    The worst case, terms * eps, is never met: rounding errors behave like a random walk (Higham and
    Mary 2019), with 8 as the confidence and 16 for the steps around the sum.
    """
    return (8 * sqrt(terms) + 16) * eps


def central_difference_tolerance(eps: float) -> float:
    """Error that a derivative by central differences with step eps^(1/3) may show, relative.

    Truncation and rounding are each of the order eps^(2/3); 1000 for ill-conditioned batches.
    """
    return 1000 * eps ** (2 / 3)
