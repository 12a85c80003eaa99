"""A network small enough to be worked out from its parameters, one replica at a time."""

import numpy as np
import pytest

from gpubn.data import Dataset
from gpubn.experiments.probes.base import Network, fetch_readings
from gpubn.nn import optim
from gpubn.nn.layers import Activation, Affine, Dropout
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.norms.noisy_batch_norm import NoisyBatchNorm
from gpubn.nn.residual import Residual
from gpubn.nn.rng import example_order, generator
from gpubn.nn.train import to_device
from tests.experiments.cells import NUMPY, cell
from tests.nn import networks

SEEDS = (2, 5)
EPS, CLASSES = 1e-3, 3
STEPS, RATE, FLOOR = 10, 0.5, 0.2


def examples(count, features=5):
    rng = np.random.default_rng(1)
    return rng.random((count, features)).astype(np.float32), rng.integers(0, CLASSES, count)


X, Y = examples(70)
DATA = Dataset("random", X[:40], Y[:40], X[40:], Y[40:], CLASSES)
SAMPLE = 30
"""Of 40 training examples, drawn for each seed: probes may look at no other."""


def build(placement="before", *, dataset=DATA, seeds=SEEDS, **options):
    """A network of two seeds whose parameters have all left their special initial values."""
    usual = {"depth": 2, "width": 4, "eps": EPS, "train_examples": SAMPLE, "dtype": "float64"}
    usual |= {"steps": STEPS, "rate": RATE, "min_rate": FLOOR}
    of_seeds = {"seeds": len(seeds), "first_seed": seeds[0]}
    config = cell("diagnostics", placement, "digits", **usual | options, **of_seeds)
    network = build_mlp(
        *(config.model, config.norm, config.init),
        **{"features": dataset.features, "classes": dataset.classes, "seeds": seeds},
        **{"backend": NUMPY, "dtype": "float64"},
    )
    rng = np.random.default_rng(0)
    move(network, rng, 0.5)
    for layer in network.layers_of(BatchNorm):
        layer.running["mean"] += rng.uniform(-0.5, 0.5, layer.running["mean"].shape)
        layer.running["spread"] *= rng.uniform(0.5, 2.0, layer.running["spread"].shape)
    o = config.optim
    schedule = optim.linear_decay(o.steps) if o.schedule == "linear" else optim.constant_rate
    sgd = optim.SGD(o.rate, schedule, o.min_rate, NUMPY, "float64")
    data = to_device(dataset, NUMPY, "float64")
    return Network(config, NUMPY, dataset, data, network, sgd, seeds)


def measured(probe, network, step=0):
    """{(metric, layer): {seed: value}} of one measurement."""
    found = {}
    (rows,) = fetch_readings([[*probe.measure(network, step)]], network.backend)
    for row in rows:
        assert row.step == step
        by_seed = found.setdefault((row.metric, row.layer), {})
        assert row.seed not in by_seed
        by_seed[row.seed] = row.value
    return found


def check(probe, network, of_replica, step=0, rtol=1e-9):
    """That it measures {(metric, layer): value} of each replica, and nothing else."""
    found, expected = measured(probe, network, step), [of_replica(r) for r in range(len(SEEDS))]
    assert set(found) == set(expected[0])
    for key, by_seed in found.items():
        right = dict(zip(SEEDS, (of_one[key] for of_one in expected), strict=True))
        assert by_seed == pytest.approx(right, rel=rtol), key
    return expected


def state(network):
    """Every number that training could feel, as bytes."""
    passes = [int(la._draws.cursor[0]) for la in network.model.layers if isinstance(la, Dropout)]
    passes += [int(layer._pass[0]) for layer in network.model.layers_of(NoisyBatchNorm)]
    return [a.tobytes() for a in networks.state(network.model)], passes


def own(network, r, part="train", count=None):
    """x and labels of the examples that the seed of replica r looks at."""
    data, seed = network.dataset, network.seeds[r]
    sample = network.config.data.train_examples or None
    x, y = (data.x_train, data.y_train) if part == "train" else (data.x_test, data.y_test)
    order = example_order(seed, part, len(x))[: sample if part == "train" else None][:count]
    return x[order], y[order]


def seen(network, r, **options):
    """The forward pass of replica r for the training examples that probes look at."""
    return forward(network, r, own(network, r)[0], **options)


def parameters(network, r):
    """Of replica r: one dict a layer, copies."""
    return [
        {name: value[r].copy() for name, value in layer.params.items()}
        for layer in network.model.layers
    ]


def forward(network, r, x, params=None, training=True, population=None):
    """[(layer, input, output)] of replica r for examples x (N, D).

    A batchnorm may normalise all of them as the first `population` ones.
    """
    params = parameters(network, r) if params is None else params
    activation = network.config.model.activation
    rate, number, parts = network.config.model.dropout, 0, []
    x = x.astype(np.float64)
    for layer, p in zip(network.model.layers, params, strict=True):
        if isinstance(layer, Affine):
            number += 1
            y = x @ p["weight"] + p["bias"]
        elif isinstance(layer, Activation):
            y = {
                "relu": lambda x: x * (x > 0),
                "tanh": lambda x: 2 / (1 + np.exp(-2 * x)) - 1,
                "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            }[activation](x)
        elif isinstance(layer, Dropout):
            draw = generator(network.seeds[r], "dropout", number, "untracked")
            kept = draw.random(x.shape, np.float32) >= rate
            y = x * kept / (1 - rate) if training else x
        elif isinstance(layer, Residual):
            y = parts[len(parts) - layer.span][1] + p["alpha"] * x
        else:
            mean, var = x[:population].mean(axis=0), x[:population].var(axis=0)
            if not training and population is None:
                mean, var = layer.running["mean"][r], layer.running["spread"][r]
            y = (x - mean) / np.sqrt(var + EPS)
            y = y * p.get("gamma", 1) + p.get("beta", 0)
        parts.append((layer, x, y))
        x = y
    return parts


def nats(logits, labels):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return -np.log(p[np.arange(len(labels)), labels] / p.sum(axis=1)).mean()


def loss(network, r, x, y, params=None, training=True):
    return nats(forward(network, r, x, params, training)[-1][2], y)


def gradient(network, r, params=None, step=1e-5, count=None):
    """Of the loss on the seed's training examples, one dict a layer, by central differences."""
    params = parameters(network, r) if params is None else params
    found = [{name: np.empty_like(v) for name, v in p.items()} for p in params]
    for p, g in zip(params, found, strict=True):
        for name, value in p.items():
            for at in np.ndindex(value.shape):
                kept, sides = value[at], []
                for sign in (1, -1):
                    value[at] = kept + sign * step
                    sides.append(loss(network, r, *own(network, r, count=count), params))
                value[at] = kept
                g[name][at] = (sides[0] - sides[1]) / (2 * step)
    return found


def layers_of(parts, kind):
    """(number, input, output) of each layer of a kind, counted from 1."""
    pairs = [(x, y) for layer, x, y in parts if isinstance(layer, kind)]
    return [(number, x, y) for number, (x, y) in enumerate(pairs, 1)]


def move(model, rng, reach):
    """Change every parameter."""
    for layer in model.layers:
        for array in layer.params.values():
            array += rng.uniform(-reach, reach, array.shape)


def frobenius(a):
    return sum(float(v) ** 2 for v in a.ravel()) ** 0.5
