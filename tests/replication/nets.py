"""Small networks with a leading axis of replicas that differ in rate or in initial weights.

Weights are (replicas, in, out), activations (replicas, examples, units). The replicas share the
batches. The summed loss gives each replica its own gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch.nn import functional

EPS = 1e-5


def glorot(sizes: Sequence[int], generator: torch.Generator) -> list[torch.Tensor]:
    """Return one (1, in, out) matrix a layer, normal with variance 2 / (in + out)."""
    return _normal(sizes, generator, lambda fan_in, fan_out: 2 / (fan_in + fan_out))


def he(sizes: Sequence[int], generator: torch.Generator) -> list[torch.Tensor]:
    """Return one (1, in, out) matrix a layer, normal with variance 2 / in."""
    return _normal(sizes, generator, lambda fan_in, _: 2 / fan_in)


def _normal(sizes, generator, variance) -> list[torch.Tensor]:
    return [
        torch.randn(1, fan_in, fan_out, generator=generator) * variance(fan_in, fan_out) ** 0.5
        for fan_in, fan_out in pairwise(sizes)
    ]


def copies(weights: Sequence[torch.Tensor], replicas: int) -> list[torch.Tensor]:
    """Return the same initial weights for each replica."""
    return [w.repeat(replicas, 1, 1) for w in weights]


class BatchNorm:
    """Batch normalization over all examples, or over groups of consecutive ones.

    weight is the share of the new value in the running averages, which start at 0 and 1;
    unbiased says whether the running variance takes the unbiased variance of a group.
    """

    def __init__(self, replicas, features, group=None, weight=0.1, unbiased=True):
        self.group, self.weight, self.unbiased = group, weight, unbiased
        self.gamma = torch.ones(replicas, 1, features, requires_grad=True)
        self.beta = torch.zeros(replicas, 1, features, requires_grad=True)
        self.mean = torch.zeros(replicas, 1, features)
        self.var = torch.ones(replicas, 1, features)

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the normalized x; in training also move the running averages."""
        if not training:
            scale = self.gamma * torch.rsqrt(self.var + EPS)
            return (x - self.mean) * scale + self.beta
        replicas, examples, features = x.shape
        size = self.group or examples
        groups = x.reshape(replicas, examples // size, size, features)
        mean = groups.mean(2, keepdim=True)
        centred = groups - mean
        var = centred.square().mean(2, keepdim=True)
        self._follow(mean.detach(), var.detach(), size)
        normalized = (centred * torch.rsqrt(var + EPS)).reshape(x.shape)
        return normalized * self.gamma + self.beta

    def _follow(self, mean, var, size) -> None:
        if self.unbiased:
            var = var * (size / (size - 1))
        self.mean.lerp_(mean.mean(1), self.weight)
        self.var.lerp_(var.mean(1), self.weight)


class ListedNorm:
    """The document's own layer: unbiased standard deviation, no eps, averages of mean and std."""

    def __init__(self, replicas, features, weight=0.01):
        self.weight = weight
        self.gamma = torch.ones(replicas, 1, features, requires_grad=True)
        self.beta = torch.zeros(replicas, 1, features, requires_grad=True)
        self.mean = torch.zeros(replicas, 1, features)
        self.std = torch.zeros(replicas, 1, features)

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the normalized x; in training also move the running averages."""
        if not training:
            return (x - self.mean) / self.std * self.gamma + self.beta
        mean = x.mean(1, keepdim=True)
        std = x.std(1, keepdim=True)
        self.mean.lerp_(mean.detach(), self.weight)
        self.std.lerp_(std.detach(), self.weight)
        return (x - mean) / std * self.gamma + self.beta


class Net:
    """Hidden layers of an affine map and the named steps after it, then an affine output.

    orders holds one tuple a hidden layer, out of "tanh", "relu", "norm" and "drop".
    norm(replicas, features) makes the normalization of a layer. Dropout keeps one half.
    """

    def __init__(self, weights, orders, norm=BatchNorm, dropout_stream=None):
        self.orders = orders
        self.dropout_stream = dropout_stream
        self.weights = [w.clone().requires_grad_() for w in weights]
        self.biases = [torch.zeros(len(w), 1, w.shape[2], requires_grad=True) for w in weights]
        self.norms = [
            norm(len(w), w.shape[2]) if "norm" in order else None
            for w, order in zip(weights, orders, strict=False)
        ]

    @property
    def params(self) -> list[torch.Tensor]:
        """Return every tensor that is trained."""
        learned = [p for norm in self.norms if norm for p in (norm.gamma, norm.beta)]
        return [*self.weights, *self.biases, *learned]

    def affine(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Return x times the weights of a layer plus its bias; x may lack the replica axis."""
        weights = self.weights[layer]
        if x.dim() == 2:
            x = x.expand(len(weights), *x.shape)
        return torch.baddbmm(self.biases[layer], x, weights)

    def logits(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Return (replicas, examples, classes)."""
        for layer, order in enumerate(self.orders):
            x = self.affine(layer, x)
            for step in order:
                x = self._step(step, layer, x, training)
        return self.affine(len(self.orders), x)

    def _step(self, step, layer, x, training):
        if step == "norm":
            return self.norms[layer](x, training)
        if step == "drop":
            return self._drop(x) if training else x
        return {"tanh": torch.tanh, "relu": torch.relu}[step](x)

    def _drop(self, x):
        kept = torch.rand(x.shape, generator=self.dropout_stream) < 0.5
        return x * kept * 2.0

    def loss(self, x, y, training: bool) -> torch.Tensor:
        """Return the mean cross-entropy of each replica, in nats."""
        logits = self.logits(x, training)
        replicas = len(logits)
        each = functional.cross_entropy(logits.flatten(0, 1), y.repeat(replicas), reduction="none")
        return each.view(replicas, -1).mean(1)

    @torch.no_grad()
    def test_loss(self, x, y) -> torch.Tensor:
        """Return the loss of each replica in inference mode."""
        return self.loss(x, y, training=False)


def descend(net: Net, x, y, rate: torch.Tensor) -> torch.Tensor:
    """Take one step of plain gradient descent and return the losses before it."""
    losses = net.loss(x, y, training=True)
    gradients = torch.autograd.grad(losses.sum(), net.params, allow_unused=True)
    with torch.no_grad():
        for param, gradient in zip(net.params, gradients, strict=True):
            if gradient is not None:
                param.addcmul_(rate, gradient, value=-1)
    return losses.detach()


def decaying(steps: int) -> Callable[[int], torch.Tensor]:
    """Return the rate as a function of the step: down from 0.1 in a line, at least 0.01."""
    return lambda step: torch.tensor(max(0.1 * (1 - step / steps), 0.01))


def constant(rates: Sequence[float]) -> Callable[[int], torch.Tensor]:
    """Return the rates of the replicas as a function of the step."""
    column = torch.tensor(rates).view(-1, 1, 1)
    return lambda step: column


def train(net, data: Iterator, rate, steps: int, after=None, stop=None) -> torch.Tensor:
    """Return the mini-batch losses, (steps, replicas).

    after(step) is called when step steps are done; stop(losses) may end the run early.
    """
    losses = []
    for step in range(steps):
        x, y = next(data)
        losses.append(descend(net, x, y, rate(step)))
        if after:
            after(step + 1)
        if stop and stop(losses):
            break
    return torch.stack(losses)


def spread(steps: int, count: int = 18) -> set[int]:
    """Return the steps at which a run is tested: spread quadratically, densest early."""
    return {max(1, round(steps * (k / count) ** 2)) for k in range(1, count + 1)}


def best_test_loss(net, data, rates, steps: int, test, prepare=None) -> float:
    """Return the lowest test loss along training over the rates, one replica a rate.

    prepare() is called before each test.
    """
    when, seen = spread(steps), []

    def look(step: int) -> None:
        if step in when:
            if prepare:
                prepare()
            seen.append(net.test_loss(*test))

    train(net, data, constant(rates), steps, after=look)
    return torch.stack(seen).nan_to_num(nan=float("inf")).min().item()
