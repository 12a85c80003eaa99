"""What is measured on the activations of a network. Pure functions on arrays (..., N, D)."""

from gpubn.backend import Array, namespace

SATURATED = 0.99
"""|tanh| above this is saturated: the derivative 1 - tanh^2 is below 0.02."""


def unit_means(activation: Array) -> Array:
    """Mean activation of each unit over the examples, (..., D)."""
    return activation.mean(axis=-2)


def saturated_share(activation: Array) -> Array:
    """Share of (example, unit) pairs whose tanh is saturated, (...,)."""
    return (abs(activation) > SATURATED).mean(axis=(-2, -1))


def dead_share(activation: Array) -> Array:
    """Share of units whose tanh is saturated for every example, (...,)."""
    return (abs(activation) > SATURATED).all(axis=-2).mean(axis=-1)


def zero_share(activation: Array) -> Array:
    """Share of exact zeros, (...,)."""
    return (activation == 0).mean(axis=(-2, -1))


def variance(values: Array) -> Array:
    """Variance over examples and units together, (...,), as a document's histogram states it."""
    return values.var(axis=(-2, -1))


def histogram(values: Array, bins: int, reach: float) -> Array:
    """Counts of values / std(values), (bins,), summed over all axes.

    The bins split [-reach, reach] evenly; the outer two also take what lies beyond. A set of
    identical values (std 0) counts as zeros.
    """
    xp = namespace(values)
    std = values.std()
    z = values / xp.where(std > 0, std, 1)
    index = xp.clip((z + reach) * (bins / (2 * reach)), 0, bins - 1).astype(xp.int32)
    return xp.bincount(index.ravel(), minlength=bins)
