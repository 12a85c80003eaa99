"""Statistics of activations, gradients and weights: pure functions on arrays (..., N, D)."""

from gpubn.backend import Array, mean_rows, namespace, var_rows

SATURATED = 0.99
"""|tanh| above this is saturated: its slope is below 2% of the steepest. Sigmoid alike."""

SMALL = 0.01
"""Size that looks like zero beside an input with standard deviation 1."""


def unit_means(activation: Array) -> Array:
    """Mean activation of each unit over the examples, (..., D)."""
    return mean_rows(activation)


def pinned_share(activation: Array, value: float) -> Array:
    """Share of units with a mean above `value`, (...,); NaN after divergence."""
    return _or_nan((unit_means(activation) > value).mean(axis=-1), activation)


def is_flat(activation: Array, name: str) -> Array:
    """Booleans: true where the activation called `name` hardly has a slope.

    tanh and sigmoid: saturated; relu: zero; linear: nowhere.
    """
    if name == "relu":
        return activation == 0
    if name == "linear":
        return activation != activation
    return abs(2 * activation - 1 if name == "sigmoid" else activation) > SATURATED


def saturated_share(activation: Array, name: str = "tanh") -> Array:
    """Share of (example, unit) pairs without a slope, (...,); NaN after divergence."""
    return _or_nan(is_flat(activation, name).mean(axis=(-2, -1)), activation)


def dead_share(activation: Array, name: str = "tanh") -> Array:
    """Share of units without a slope for every example, (...,); NaN after divergence."""
    return _or_nan(is_flat(activation, name).all(axis=-2).mean(axis=-1), activation)


def zero_share(activation: Array) -> Array:
    """Share of exact zeros, (...,); NaN after divergence."""
    return _or_nan((activation == 0).mean(axis=(-2, -1)), activation)


def small_share(activation: Array) -> Array:
    """Share of values below `SMALL` in size, (...,); NaN after divergence."""
    return _or_nan((abs(activation) < SMALL).mean(axis=(-2, -1)), activation)


def variance(values: Array) -> Array:
    """Variance over examples and units together, (...,), as a document's histogram states it."""
    return values.var(axis=(-2, -1))


def rms(values: Array, axes: int = 2) -> Array:
    """Root mean square over the last `axes` axes, (...,)."""
    return (values * values).mean(axis=tuple(range(-axes, 0))) ** 0.5


def norm(values: Array) -> Array:
    """Frobenius norm over the last two axes, (...,)."""
    return (values * values).sum(axis=(-2, -1)) ** 0.5


def cosine(a: Array, b: Array) -> Array:
    """Cosine between two matrices, over the last two axes, (...,)."""
    return (a * b).sum(axis=(-2, -1)) / (norm(a) * norm(b))


def unit_variance(activation: Array) -> Array:
    """Mean over units of their variance over the examples, (...,): 1 after batch norm."""
    return var_rows(activation).mean(axis=-1)


def offset(values: Array, axis: int) -> Array:
    """Means along one of the last two axes, their root mean square over the spread of all, (...,).

    Along axis -2 0 after batch norm, along axis -1 after a normalisation of each example.
    """
    means = mean_rows(values) if axis == -2 else values.mean(axis=axis)
    return rms(means, axes=1) / variance(values) ** 0.5


def skewness(values: Array, axes: int = 2) -> Array:
    """Third standardised moment over the last `axes` axes: 0 where nothing varies, too."""
    return (_standardised(values, axes) ** 3).mean(axis=-1)


def excess_kurtosis(values: Array, axes: int = 2) -> Array:
    """Fourth moment about the mean over the squared variance, less 3, over the last `axes` axes.

    0 for a normal distribution; -3 where nothing varies.
    """
    squares = _standardised(values, axes) ** 2
    return (squares * squares).mean(axis=-1) - 3


def normal_distance(values: Array, axes: int = 2) -> Array:
    """Largest distance of the distribution function from the normal one with the same mean and
    variance, over the last `axes` axes; 1/2 where nothing varies, NaN after divergence.

    Kolmogorov 1933. About 0.6/sqrt(n) for n normal values (Lilliefors 1967).
    """
    z = _standardised(values, axes)
    xp, n = namespace(z), z.shape[-1]
    z = xp.sort(z, axis=-1)
    normal = _normal_distribution(z)
    rank = xp.arange(n)
    above, below = (rank + 1) / n - normal, normal - rank / n
    return xp.maximum(above.max(axis=-1), below.max(axis=-1))


def off_diagonal_share(weight: Array) -> Array:
    """Share of the squares of a weight (..., D, D) that lie off its diagonal, (...,).

    Where a product W @ h is read with examples as rows, the share that comes from other examples;
    NaN where the weight is not square.
    """
    xp = namespace(weight)
    if weight.shape[-2] != weight.shape[-1]:
        return xp.full(weight.shape[:-2], xp.nan)
    squares = weight * weight
    return 1 - xp.diagonal(squares, axis1=-2, axis2=-1).sum(axis=-1) / squares.sum(axis=(-2, -1))


def histogram(values: Array, bins: int, reach: float) -> Array:
    """Counts of values / std(values), (bins,), over the finite values of all axes.

    The bins split [-reach, reach] evenly; the outer two also take what lies beyond. Identical
    values have no scale and count as zeros.
    """
    xp = namespace(values)
    values = values[xp.isfinite(values)]
    if values.size == 0:
        return xp.zeros(bins, xp.int64)
    # By a power of 2, which changes no digit: squares of small values would vanish.
    values = xp.ldexp(values, -xp.frexp(abs(values).max())[1])
    std = values.std()
    varies = (values.max() > values.min()) & (std > 0)
    z = xp.where(varies, values / xp.where(varies, std, 1), 0)
    index = xp.clip((z + reach) * (bins / (2 * reach)), 0, bins - 1).astype(xp.int32)
    return xp.bincount(index, minlength=bins)


def _standardised(values: Array, axes: int) -> Array:
    """The last axes as one, centred and over their standard deviation; 0 where nothing varies."""
    xp = namespace(values)
    flat = values.reshape(*values.shape[:-axes], -1).astype(xp.float64)
    centred = flat - flat.mean(axis=-1, keepdims=True)
    std = centred.std(axis=-1, keepdims=True)
    return xp.where(std == 0, 0.0, centred / xp.where(std == 0, 1.0, std))


def _normal_distribution(z: Array) -> Array:
    """P(standard normal <= z) to 1e-7, which no array library has for all devices.

    Abramowitz and Stegun 1964, 7.1.26.
    """
    xp = namespace(z)
    x = abs(z) / 2**0.5
    t = 1 / (1 + 0.3275911 * x)
    series = 1.421413741 + t * (-1.453152027 + t * 1.061405429)
    tail = t * (0.254829592 + t * (-0.284496736 + t * series)) * xp.exp(-x * x) / 2
    return xp.where(z < 0, tail, 1 - tail)


def _or_nan(share: Array, activation: Array) -> Array:
    """NaN where an activation is NaN: comparisons would count it as a healthy zero."""
    xp = namespace(activation)
    return xp.where(xp.isnan(activation).any(axis=(-2, -1)), xp.nan, share)
