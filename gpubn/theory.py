"""Predictions that a network at initialisation can be held against. Plain numbers, no arrays."""

from collections.abc import Callable, Sequence
from math import acos, erf, erfc, exp, fsum, lgamma, log, log10, pi, sqrt, tanh

RELU_VARIANCE_SHARE = 1 - 1 / pi
"""Variance over second moment of the ReLU of a centred normal."""


def relu_gain(fan_in: int, weight_var: float) -> float:
    """Factor on the second moment a ReLU layer, forward and back: half of what the weights give.

    He et al. 2015, equations 7-14: n var(W) / 2.

    >>> relu_gain(100, weight_var=0.02)  # He's weights
    1.0
    """
    return fan_in * weight_var / 2


def linear_gain(fan_in: int, weight_var: float) -> float:
    """Factor on the second moment a layer without a nonlinearity, forward and back: n var(W).

    >>> linear_gain(100, weight_var=0.01)
    1.0
    """
    return fan_in * weight_var


def relu_activation_var(fan_in: int, weight_var: float, layer: int) -> float:
    """Variance of the activations of `layer` (1, 2, ...) for standard normal input.

    >>> f"{relu_activation_var(100, weight_var=1e-4, layer=20):.1e}"  # 0.68 times 0.005 to the 20
    '6.5e-47'
    """
    return RELU_VARIANCE_SHARE * relu_gain(fan_in, weight_var) ** layer


def relu_weight_grad_var(fan_in: int, weight_var: float, depth: int, examples: int) -> float:
    """Variance of the weight gradients, the same in every layer, for unit upstream gradient.

    A weight gradient sums over the examples (backpropagated signal) x (incoming activation): what
    one gains a layer the other loses.

    >>> relu_weight_grad_var(100, weight_var=0.02, depth=20, examples=1000)
    500.0
    """
    return examples / 2 * relu_gain(fan_in, weight_var) ** (depth - 1)


def batchnorm_relu_gradient_growth(batch: int) -> float:
    """Factor on the squared gradient norm a layer going back, with batchnorm and ReLU.

    Yang et al. 2019, theorem 8; pi/(pi - 1) for large batches. Needs a batch of at least 4.

    >>> f"{batchnorm_relu_gradient_growth(10**6):.4f}", f"{pi / (pi - 1):.4f}"
    ('1.4669', '1.4669')
    """
    c = -1 / (batch - 1)
    j = (sqrt(1 - c**2) + (pi - acos(c)) * c) / pi
    dj = (pi - acos(c)) / pi
    return (dj + batch - 1) / ((batch - 3) * (1 - j)) - 1 / (batch - 3)


def batchnorm_linear_gradient_growth(batch: int) -> float:
    """Factor on the squared gradient norm a layer going back, with batchnorm alone.

    Yang et al. 2019, theorem 8; 1 for large batches. Needs a batch of at least 4.

    >>> batchnorm_linear_gradient_growth(4)
    2.0
    """
    return (batch - 2) / (batch - 3)


def batchnorm_tanh_gradient_growth() -> float:
    """Factor on the squared gradient norm a layer going back, with batchnorm and tanh.

    E tanh'(z)^2 / Var tanh(z) for a standard normal z: the slope, over what batchnorm divides by;
    for the ReLU this is pi/(pi - 1). Yang et al. 2019, in the limit of large batches. Batchnorm
    behind the activation gives the same where fan_in var(W) is 1, and for the ReLU anyhow.

    >>> f"{batchnorm_tanh_gradient_growth():.3f}"
    '1.178'
    """
    return tanh_slope_square(1) / tanh_square(1)


def largest_rate_slope(growth: float) -> float:
    """Decades a layer by which the largest rate that trains rises, were it set by the first step.

    Weights and activations are as large in every layer, so that the gradient of the lowest weights
    grows with depth as the signal does: its square g^2 by `growth` a layer, its norm by the root.
    A step changes these weights by rate |g|/|w| of their size. If no more than some share may be
    lost, the largest rate goes as |w|/|g|: its logarithm falls by log10(growth)/2 a layer. (Held
    below 2 over the curvature, which goes as g^2, it would fall by all of log10(growth).)

    It is a prediction from one step, and may fail: behind batchnorm the gradient is orthogonal to
    w, so that a step too large makes |w| larger and every later step smaller, as rate/|w|^2 (Arora
    et al. 2019).

    >>> largest_rate_slope(growth=100.0)
    -1.0
    """
    return -log10(growth) / 2


BATCHNORM_RELU_VAR = 0.5 - 0.5 / pi
"""Variance of the ReLU of a normalised unit: batchnorm before the activation."""


def var_ratio(batch: int, correction: int = 0) -> float:
    """Mean over batches of the variance, divided by batch - correction, over the true one.

    For any distribution: (B - 1) / (B - correction), hence Bessel's correction of 1.

    >>> var_ratio(32), var_ratio(32, correction=1)
    (0.96875, 1.0)
    """
    return (batch - 1) / (batch - correction)


def normal_std_ratio(batch: int, correction: int = 0) -> float:
    """As `var_ratio`, of the standard deviation, for normal examples.

    Holtzman 1950, c4 = sqrt(2/(B - 1)) Gamma(B/2) / Gamma((B - 1)/2), for a correction of 1.

    >>> f"{normal_std_ratio(2, correction=1):.4f}"  # sqrt(2/pi)
    '0.7979'
    """
    gammas = exp(lgamma(batch / 2) - lgamma((batch - 1) / 2))
    return sqrt(2 / (batch - correction)) * gammas


def batch_statistics_error(batch: int) -> float:
    """Root mean square error, in its standard deviations, of a normal value of a unit where its
    batch's mean and standard deviation s stand for those of the population.

    (x - mean)/s - x is z (1 - s) - mean with z of mean 0 and mean square 1 in every batch, so that
    the mean square is E(1 - s)^2 + 1/B = 2 (1 - E s), about 3/(2 B); E s is `normal_std_ratio`.

    >>> f"{batch_statistics_error(32):.3f}", f"{sqrt(3 / 64):.3f}"
    ('0.218', '0.217')
    """
    return sqrt(2 * (1 - normal_std_ratio(batch)))


RELU_NORMAL_DISTANCE = 0.5 - 0.5 * erfc(1 / sqrt(2 * (pi - 1)))
"""Largest distance of the distribution function of the ReLU of a centred normal from the normal one
with its mean and variance: at 0, where half of the mass lies 1/sqrt(pi - 1) below the mean."""


def dropout_variance_ratio(keep: float) -> float:
    """Variance at inference over that in training, behind dropout of the ReLU of a centred normal.

    (1/2 - 1/(2 pi)) / (1/(2 keep) - 1/(2 pi)), `keep` the probability to be kept; Li et al. 2019.

    >>> dropout_variance_ratio(1.0), round(dropout_variance_ratio(0.5), 3)
    (1.0, 0.405)
    """
    return BATCHNORM_RELU_VAR / (0.5 / keep - 0.5 / pi)


def noisy_relu_drift(shift: float, scale: float) -> float:
    """Drift of the ReLU of normalised units from one step's noise to the next one's.

    Root mean square change of a unit's mean over the root mean variance, where the unit is
    N(b, a^2) with a uniform on [1, 1 + scale] and b on [-shift, shift], drawn anew a step; the mean
    of its ReLU is b Phi(b/a) + a phi(b/a). By the midpoint rule.

    >>> noisy_relu_drift(shift=0.0, scale=0.0), round(noisy_relu_drift(shift=0.5, scale=0.25), 2)
    (0.0, 0.31)
    """
    points = [(i + 0.5) / 40 for i in range(40)]
    means, variances = [], []
    for a, b in ((1 + scale * u, shift * (2 * v - 1)) for u in points for v in points):
        below, density = (1 + erf(b / a / sqrt(2))) / 2, exp(-((b / a) ** 2) / 2) / sqrt(2 * pi)
        means.append(b * below + a * density)
        variances.append((a * a + b * b) * below + a * b * density - means[-1] ** 2)
    of_means = fsum(m * m for m in means) / len(means) - (fsum(means) / len(means)) ** 2
    return sqrt(2 * of_means / (fsum(variances) / len(variances)))


def startup_bias(momentum: float, updates: int) -> float:
    """Share of its initial value that a moving average still holds: (1 - a)^k.

    >>> startup_bias(momentum=0.5, updates=3)
    0.125
    """
    return (1 - momentum) ** updates


def moving_mean_var(var: float, batch: int, momentum: float, updates: int) -> float:
    """Variance of the moving mean of batches of independent examples of variance `var`.

    var/B a/(2 - a) (1 - (1 - a)^(2k)); Roberts 1959.

    >>> moving_mean_var(var=8.0, batch=4, momentum=1.0, updates=1)  # the mean of one batch
    2.0
    """
    settled = 1 - startup_bias(momentum, 2 * updates)
    return var / batch * momentum / (2 - momentum) * settled


def rounding_tolerance(terms: int, eps: float) -> float:
    """Error that a sum of so many terms, and a few steps more, may show, relative to their size.

    The worst case, terms * eps, is never met: rounding errors behave like a random walk (Higham and
    Mary 2019), with 8 as the confidence and 16 for the steps around the sum.

    >>> rounding_tolerance(terms=100, eps=1.0)
    96.0
    """
    return (8 * sqrt(terms) + 16) * eps


def central_difference_tolerance(eps: float) -> float:
    """Error that a derivative by central differences with step eps^(1/3) may show, relative.

    Truncation and rounding are each of the order eps^(2/3); 1000 for ill-conditioned batches.

    >>> f"{central_difference_tolerance(1e-15):.0e}"
    '1e-07'
    """
    return 1000 * eps ** (2 / 3)


def entropy(shares: Sequence[float]) -> float:
    """Entropy in nats of some shares: of labels, the least loss of one guess for all examples.

    Shannon 1948; ln(classes) where the classes are as frequent as one another.

    >>> round(entropy([0.1] * 10), 3)
    2.303
    """
    return -sum(share * log(share) for share in shares if share > 0)


def tanh_square(q: float) -> float:
    """Mean of tanh(z)^2 for a centred normal z of variance q; Poole et al. 2016, equation 3.

    >>> tanh_square(0.0), round(tanh_square(1.0), 4)
    (0.0, 0.3943)
    """
    return _normal_mean(lambda z: tanh(sqrt(q) * z) ** 2)


def tanh_slope_square(q: float) -> float:
    """Mean of tanh'(z)^2 for a centred normal z of variance q; Schoenholz et al. 2017, eq. 7.

    >>> round(tanh_slope_square(0.0), 4), round(tanh_slope_square(1.0), 4)
    (1.0, 0.4644)
    """
    return _normal_mean(lambda z: (1 - tanh(sqrt(q) * z) ** 2) ** 2)


def glorot_gain(fan_in: int, fan_out: int, scale: float = 1.0) -> float:
    """Variance of a unit's input over the mean square of what enters: fan_in var(W).

    Glorot and Bengio 2010, with weights of variance 2/(fan_in + fan_out) times a scale; with the
    fans exchanged that of the gradient, going back.

    >>> glorot_gain(300, 100), glorot_gain(100, 300)
    (1.5, 0.5)
    """
    return 2 * scale**2 * fan_in / (fan_in + fan_out)


def glorot_tanh_square(layer: int, scale: float = 1.0, features: int = 1, width: int = 1) -> float:
    """Mean square of the tanh activations of `layer` (0 is standard normal input), wide layers.

    They go from `features` units to `width` and back by turns, with Glorot weights times `scale`;
    Poole et al. 2016, equation 3.

    >>> glorot_tanh_square(0), glorot_tanh_square(1) == tanh_square(1.0)
    (1.0, True)
    """
    square = 1.0
    for number in range(1, layer + 1):
        square = tanh_square(glorot_gain(*_fans(number, features, width), scale) * square)
    return square


def glorot_tanh_signal(
    layer: int, depth: int, scale: float = 1.0, features: int = 1, width: int = 1
) -> float:
    """Mean square of the gradient of the output of `layer`, where that of layer `depth` has 1.

    The network of `glorot_tanh_square`; Schoenholz et al. 2017, section 3.

    >>> glorot_tanh_signal(1, depth=1), glorot_tanh_signal(0, depth=1) == tanh_slope_square(1.0)
    (1.0, True)
    """
    signal = 1.0
    for number in range(layer + 1, depth + 1):
        fan_in, fan_out = _fans(number, features, width)
        before = glorot_tanh_square(number - 1, scale, features, width)
        slope = tanh_slope_square(glorot_gain(fan_in, fan_out, scale) * before)
        signal *= glorot_gain(fan_out, fan_in, scale) * slope
    return signal


def _fans(number: int, features: int, width: int) -> tuple[int, int]:
    """Return fan_in and fan_out of layer `number`, counted from 1."""
    return (features, width) if number % 2 else (width, features)


def _normal_mean(function: Callable[[float], float]) -> float:
    """Mean of a smooth function of a standard normal; the trapezoidal rule, within 1e-9."""
    step, reach = 1 / 16, 9
    points = (step * i for i in range(-reach * 16, reach * 16 + 1))
    return sum(function(z) * exp(-z * z / 2) for z in points) * step / sqrt(2 * pi)
