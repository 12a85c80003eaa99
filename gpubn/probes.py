"""What is measured on the activations of a network. Pure functions on arrays (..., N, D)."""

from gpubn.backend import Array, namespace

SATURATED = 0.99
"""|tanh| above this is saturated: the derivative 1 - tanh^2 is below 0.02."""


def unit_means(activation: Array) -> Array:
    """Mean activation of each unit over the examples, (..., D)."""
    return activation.mean(axis=-2)


def saturated_share(activation: Array) -> Array:
    """Share of (example, unit) pairs whose tanh is saturated, (...,); NaN after divergence."""
    return _or_nan((abs(activation) > SATURATED).mean(axis=(-2, -1)), activation)


def dead_share(activation: Array) -> Array:
    """Share of units whose tanh is saturated for every example, (...,); NaN after divergence."""
    return _or_nan((abs(activation) > SATURATED).all(axis=-2).mean(axis=-1), activation)


def zero_share(activation: Array) -> Array:
    """Share of exact zeros, (...,); NaN after divergence."""
    return _or_nan((activation == 0).mean(axis=(-2, -1)), activation)


def variance(values: Array) -> Array:
    """Variance over examples and units together, (...,), as a document's histogram states it."""
    return values.var(axis=(-2, -1))


def histogram(values: Array, bins: int, reach: float) -> Array:
    """Counts of values / std(values), (bins,), over the finite values of all axes.

    The bins split [-reach, reach] evenly; the outer two also take what lies beyond. Identical
    values have no scale and count as zeros.
    """
    xp = namespace(values)
    values = values[xp.isfinite(values)]
    if values.size == 0:
        return xp.zeros(bins, xp.int64)
    varies = values.max() > values.min()
    z = xp.where(varies, values / xp.where(varies, values.std(), 1), 0)
    index = xp.clip((z + reach) * (bins / (2 * reach)), 0, bins - 1).astype(xp.int32)
    return xp.bincount(index, minlength=bins)


def _or_nan(share: Array, activation: Array) -> Array:
    """NaN where an activation is NaN: comparisons would count it as a healthy zero."""
    xp = namespace(activation)
    return xp.where(xp.isnan(activation).any(axis=(-2, -1)), xp.nan, share)
