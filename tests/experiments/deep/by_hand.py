"""A drawn deep network by hand: the gradients of its own forward pass, and document A's listing."""

from typing import NamedTuple

import numpy as np

from gpubn.nn.rng import generator
from tests.nn.networks import draw_weight


class Passes(NamedTuple):
    """Of one seed: outputs h[0 ... L], activations, gradients of outputs and weights, by layer."""

    h: dict
    activated: dict
    signal: dict
    weight_grad: dict


def drawn(config, seed):
    """Input, weights and upstream gradient of one seed, (examples, units)."""
    d, m, init = config.data, config.model, config.init
    sizes = [d.features, *[m.width] * m.depth]
    x = generator(seed, "input").standard_normal((d.examples, d.features))
    weights = [
        draw_weight(init.kind, sizes[i], sizes[i + 1], [seed], i, std=init.std)[0]
        for i in range(m.depth)
    ]
    return x, weights, generator(seed, "upstream").standard_normal((d.examples, m.width))


def complex_step(config, seed, axis=-2, eps=None, norm=None):
    """By complex differentiation: exact to rounding, and no backward pass.

    Batch normalisation over the examples; over the units, as the listing has it, with axis -1; or
    another.
    """
    x, weights, upstream = drawn(config, seed)
    placement, step = config.norm.placement, 1e-30
    eps = config.norm.eps if eps is None else eps

    def standardise(v):
        c = v - v.mean(axis=axis, keepdims=True)
        return c / np.sqrt((c * c).mean(axis=axis, keepdims=True) + eps)

    norm = norm or standardise

    def activated(h, w):
        z = norm(h @ w) if placement == "before" else h @ w
        return z * (z.real > 0) if config.model.activation == "relu" else z

    def block(h, w):
        return norm(activated(h, w)) if placement == "after" else activated(h, w)

    def derivative(start, out):
        """d sum(upstream * out(start)) / d each value of start; one direction a replica."""
        directions = np.eye(start.size).reshape(-1, *start.shape) * (1j * step)
        moved = (upstream * out(start + directions)).sum(axis=(-2, -1)).imag / step
        return moved.reshape(start.shape)

    def rest(h, layer):
        for w in weights[layer:]:
            h = block(h, w)
        return h

    found = Passes({0: x}, {}, {len(weights): upstream}, {})
    for i, w in enumerate(weights):
        h = found.h[i]
        found.signal[i] = derivative(h, lambda h, i=i: rest(h, i))
        found.weight_grad[i + 1] = derivative(w, lambda w, i=i, h=h: rest(block(h, w), i + 1))
        found.activated[i + 1], found.h[i + 1] = activated(h, w), block(h, w)
    return found


def listing_norm(v):
    """The listing's lines, (units, examples) as it has them."""
    return (v - np.mean(v, axis=0)) / np.std(v, axis=0)


def listing_norm_backward(dxhat, v, faults):
    """Node by node, (units, examples); the listing's lines where the fault is in."""
    units = len(v)
    c = v - np.mean(v, axis=0)
    var, std = np.var(v, axis=0), np.std(v, axis=0)
    dvar = np.sum(dxhat * c * -0.5 * var**-1.5, axis=0)
    through_mean = dvar * -2 * c / units
    if "mean" not in faults:
        through_mean = through_mean.sum(axis=0)
    dmean = np.sum(dxhat * -1 / std, axis=0) + through_mean
    sign = -1 if "sign" in faults else 1
    return dxhat / std + sign * dvar * 2 * c / units + dmean / units


def listing(config, seed, faults):
    """By the document's lines, forward and back; a last layer that it skips has no gradient."""
    x, weights, upstream = drawn(config, seed)
    placement, depth = config.norm.placement, config.model.depth
    found = Passes({0: x}, {}, {}, {depth: np.zeros_like(weights[-1])})
    layers, h = [], x.T
    for i, weight in enumerate(weights, 1):
        z = weight.T @ h
        v = listing_norm(z) if placement == "before" else z
        a = np.maximum(0, v)
        layers.append((h, z, v, a))
        h = listing_norm(a) if placement == "after" else a
        found.h[i], found.activated[i] = h.T, a.T
    g = upstream.T
    end = depth - ("early" in faults)
    found.signal[end] = upstream
    for i in range(end, 0, -1):
        h, z, v, a = layers[i - 1]
        da = listing_norm_backward(g, a, faults) if placement == "after" else g
        dz = da * (v > 0)
        dz = listing_norm_backward(dz, z, faults) if placement == "before" else dz
        found.weight_grad[i] = h @ dz.T
        g = weights[i - 1] @ dz
        found.signal[i - 1] = g.T
    return found
