"""Small networks with a leading axis of replicas that differ in rate or in initial weights.

Weights are (replicas, in, out), activations (replicas, examples, units). The replicas share the
batches. The summed loss gives each replica its own gradient.
"""

from itertools import pairwise

import torch
from torch.nn import functional

EPS = 1e-5


def normal(sizes, generator: torch.Generator, variance) -> list[torch.Tensor]:
    """Return one (1, in, out) matrix a layer, normal with variance(in, out)."""
    return [
        torch.randn(1, *pair, generator=generator) * variance(*pair) ** 0.5
        for pair in pairwise(sizes)
    ]


def glorot(sizes, generator: torch.Generator) -> list[torch.Tensor]:
    return normal(sizes, generator, lambda fan_in, fan_out: 2 / (fan_in + fan_out))


def he(sizes, generator: torch.Generator) -> list[torch.Tensor]:
    return normal(sizes, generator, lambda fan_in, fan_out: 2 / fan_in)


def copies(weights, replicas: int) -> list[torch.Tensor]:
    """Return the same initial weights for each replica."""
    return [w.repeat(replicas, 1, 1) for w in weights]


class Norm:
    """Parameters that both normalizations learn, and the running average that they share."""

    def __init__(self, replicas, features):
        self.gamma = torch.ones(replicas, 1, features, requires_grad=True)
        self.beta = torch.zeros(replicas, 1, features, requires_grad=True)
        self.mean = torch.zeros(replicas, 1, features)


class BatchNorm(Norm):
    """Batch normalization over all examples, or over groups of consecutive ones.

    weight is the share of the new value in the running averages, which start at 0 and 1;
    unbiased says whether the running variance takes the unbiased variance of a group.
    """

    def __init__(self, replicas, features, group=None, weight=0.1, unbiased=True):
        super().__init__(replicas, features)
        self.group, self.weight, self.unbiased = group, weight, unbiased
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
        counted = var.detach() * (size / (size - 1)) if self.unbiased else var.detach()
        self.mean.lerp_(mean.detach().mean(1), self.weight)
        self.var.lerp_(counted.mean(1), self.weight)
        normalized = (centred * torch.rsqrt(var + EPS)).reshape(x.shape)
        return normalized * self.gamma + self.beta


class ListedNorm(Norm):
    """The document's own layer: unbiased standard deviation, no eps, averages of mean and std."""

    WEIGHT = 0.01

    def __init__(self, replicas, features):
        super().__init__(replicas, features)
        self.std = torch.zeros(replicas, 1, features)

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the normalized x; in training also move the running averages."""
        mean, std = self.mean, self.std
        if training:
            mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
            self.mean.lerp_(mean.detach(), self.WEIGHT)
            self.std.lerp_(std.detach(), self.WEIGHT)
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
        learned = [p for norm in self.norms if norm for p in (norm.gamma, norm.beta)]
        self.params = [*self.weights, *self.biases, *learned]

    def affine(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Return x times the weights of a layer plus its bias; x may lack the replica axis."""
        weights = self.weights[layer]
        if x.dim() == 2:
            x = x.expand(len(weights), *x.shape)
        return torch.baddbmm(self.biases[layer], x, weights)

    def _step(self, step, layer, x, training):
        if step == "norm":
            return self.norms[layer](x, training)
        if step == "drop":
            if not training:
                return x
            return x * (torch.rand(x.shape, generator=self.dropout_stream) < 0.5) * 2.0
        return {"tanh": torch.tanh, "relu": torch.relu}[step](x)

    def loss(self, x, y, training: bool) -> torch.Tensor:
        """Return the mean cross-entropy of each replica, in nats."""
        for layer, order in enumerate(self.orders):
            x = self.affine(layer, x)
            for step in order:
                x = self._step(step, layer, x, training)
        logits = self.affine(len(self.orders), x)
        replicas = len(logits)
        each = functional.cross_entropy(logits.flatten(0, 1), y.repeat(replicas), reduction="none")
        return each.view(replicas, -1).mean(1)

    @torch.no_grad()
    def test_loss(self, x, y) -> torch.Tensor:
        """Return the loss of each replica in inference mode."""
        return self.loss(x, y, training=False)


def decaying(steps: int):
    """Return the rate as a function of the step: down from 0.1 in a line, at least 0.01."""
    return lambda step: torch.tensor(max(0.1 * (1 - step / steps), 0.01))


def constant(rates):
    """Return the rates of the replicas as a function of the step."""
    column = torch.tensor(rates).view(-1, 1, 1)
    return lambda step: column


def train(net, data, rate, steps: int, after=None, stop=None) -> torch.Tensor:
    """Take steps of plain gradient descent; return the losses before each, (steps, replicas).

    after(step) is called when step steps are done; stop(losses) may end the run early.
    """
    found = []
    for step in range(steps):
        now, losses = rate(step), net.loss(*next(data), training=True)
        gradients = torch.autograd.grad(losses.sum(), net.params, allow_unused=True)
        with torch.no_grad():
            for param, gradient in zip(net.params, gradients, strict=True):
                if gradient is not None:
                    param.addcmul_(now, gradient, value=-1)
        found.append(losses.detach())
        if after:
            after(step + 1)
        if stop and stop(found):
            break
    return torch.stack(found)


def best_test_loss(net, data, rates, steps: int, test, prepare=None) -> float:
    """Return the lowest test loss along training over the rates, one replica a rate.

    prepare() is called before each of the 18 tests, which are spread quadratically.
    """
    when = {max(1, round(steps * (k / 18) ** 2)) for k in range(1, 19)}
    seen = []

    def look(step: int) -> None:
        if step in when:
            if prepare:
                prepare()
            seen.append(net.test_loss(*test))

    train(net, data, constant(rates), steps, after=look)
    return torch.stack(seen).nan_to_num(nan=float("inf")).min().item()
