"""B2, B8, B10, B12, B13 and B28: what batch normalization does to training and at inference."""

import math
from functools import partial

import torch
from data import batches, feed, stream, subset
from nets import (
    EPS,
    BatchNorm,
    ListedNorm,
    Net,
    best_test_loss,
    constant,
    copies,
    decaying,
    glorot,
    he,
    train,
)

BATCH = 32


def b2(seed: int, data) -> dict[str, float]:
    """Return the log ratio of the errors of moving and population statistics, and test losses.

    "still" is the same ratio after 1000 more steps at rate 0.
    """
    images, labels = subset(data, "train", 10_000, stream(seed, "b2", "train"))
    test = subset(data, "test", 2048, stream(seed, "b2", "test"))
    norm = partial(BatchNorm, weight=0.01, unbiased=False)
    net = Net(glorot([784, 128, 10], stream(seed, "b2", "init")), [("norm", "tanh")], norm)
    found: dict[str, float] = {}

    def look(step: int) -> None:
        if step in (1000, 5000):
            name = "moving" if step == 1000 else "settled"
            found.update(compare_moments(net, name, images, test, stream(seed, "b2", step)))

    order = batches(images, labels, BATCH, stream(seed, "b2", "order"))
    train(net, order, decaying(5000), 5000, after=look)
    train(net, order, lambda step: torch.tensor(0.0), 1000)  # what is left when nothing moves
    return found | compare_moments(net, "still", images, test, stream(seed, "b2", "still"))


@torch.no_grad()
def compare_moments(net: Net, name: str, everything, test, generator) -> dict[str, float]:
    """Return the errors of both estimates against the whole training set, and test losses."""
    z = net.affine(0, everything)[0]
    ref_mean, ref_var = z.mean(0), z.var(0, correction=0)
    norm = net.norms[0]
    moving = norm.mean[0, 0].clone(), norm.var[0, 0].clone()
    # The mean of batch means and of unbiased batch variances over one shuffled pass.
    order = torch.randperm(len(z), generator=generator)
    groups = z[order[: len(z) // BATCH * BATCH]].view(len(z) // BATCH, BATCH, -1)
    unbiased = groups.var(1, correction=0).mean(0) * BATCH / (BATCH - 1)
    population = groups.mean(1).mean(0), unbiased

    def error(mean, var) -> float:
        e_mean = ((mean - ref_mean) / ref_var.sqrt()).square().mean()
        e_var = (var / ref_var - 1).square().mean()
        return (e_mean + e_var).sqrt().item()

    def loss(mean, var) -> float:
        x = (net.affine(0, test[0]) - mean) * torch.rsqrt(var + EPS)
        x = torch.tanh(x * norm.gamma + norm.beta)
        return torch.nn.functional.cross_entropy(net.affine(1, x)[0], test[1]).item()

    corrected = moving[0], moving[1] * BATCH / (BATCH - 1)
    return {
        name: math.log(error(*moving) / error(*population)),
        f"{name}_corrected": math.log(error(*corrected) / error(*population)),
        f"{name}_error_moving": error(*moving),
        f"{name}_error_population": error(*population),
        f"{name}_loss_moving": loss(*moving),
        f"{name}_loss_population": loss(*population),
    }


class BestLoss:
    """Logarithms of best test losses on a seed's 512 images: `BestLoss(seed, data)(order, 128)`."""

    def __init__(self, seed: int, data) -> None:
        self.seed = seed
        self.images, self.labels = subset(data, "train", 512, stream(seed, "b12", "train"))
        self.test = subset(data, "test", 2000, stream(seed, "b12", "test"))
        self.rates = (0.1, 0.3, 1.0, 3.0)
        weights = glorot([784, 64, 10], stream(seed, "b12", "init"))
        self.weights = copies(weights, len(self.rates))

    def __call__(self, order, batch: int, group=None) -> float:
        net = Net(self.weights, [order], partial(BatchNorm, group=group))

        @torch.no_grad()
        def population() -> None:
            z, norm = net.affine(0, self.images), net.norms[0]
            norm.mean = z.mean(1, keepdim=True)
            norm.var = z.var(1, correction=0, keepdim=True)

        stirred = stream(self.seed, "b12", "order", batch)
        shuffled = batches(self.images, self.labels, batch, stirred)
        prepare = population if "norm" in order else None
        return math.log(best_test_loss(net, shuffled, self.rates, 150, self.test, prepare))


def b12(seed: int, data) -> dict[str, float]:
    """Return log ratios of best test losses: whole batch over groups of 16."""
    best, before = BestLoss(seed, data), ("norm", "relu")
    return {
        "noise": best(before, 512) - best(before, 512, 16),
        "noise_batch": best(before, 128) - best(before, 128, 16),
    }


def b28(seed: int, data) -> dict[str, float]:
    """Return log ratios of best test losses, none over whole batch, and those of batches of 128."""
    best, before, none = BestLoss(seed, data), ("norm", "relu"), ("relu",)
    with_it, without = best(before, 128), best(none, 128)
    return {
        "whole": without - with_it,
        "whole_512": best(none, 512) - best(before, 512),
        "loss_none": math.exp(without),
        "loss_batch": math.exp(with_it),
    }


AFTER, BEFORE, PLAIN, END = ("relu", "norm"), ("norm", "relu"), ("relu",), ("relu", "drop")
ARMS = {
    "none": [PLAIN, PLAIN],
    "none_drop": [END, END],
    "none_drop_last": [PLAIN, END],
    "after": [AFTER, AFTER],
    "before": [BEFORE, BEFORE],
    "direct_after": [("relu", "drop", "norm")] * 2,
    "direct_before": [("drop", "norm", "relu")] * 2,
    "end_before": [("norm", "relu", "drop")] * 2,
    "last_before": [BEFORE, ("norm", "relu", "drop")],
}
# with both: batch normalization alone, dropout alone
CASES = {
    "direct_after": ("after", "none_drop"),
    "direct_before": ("before", "none_drop"),
    "end_before": ("before", "none_drop"),
    "last_before": ("before", "none_drop_last"),
}


def b13(seed: int, data) -> dict[str, float]:
    """Return what dropout costs with batch normalization less what it costs without, in logs."""
    train_set = subset(data, "train", 1024, stream(seed, "b13", "train"))
    test = subset(data, "test", 2000, stream(seed, "b13", "test"))
    rates = (0.1, 0.3)
    weights = copies(he([784, 64, 64, 10], stream(seed, "b13", "init")), len(rates))
    logs = {}
    for name, orders in ARMS.items():
        net = Net(weights, orders, dropout_stream=stream(seed, "b13", "drop", name))
        shuffled = batches(*train_set, 32, stream(seed, "b13", "order"))
        logs[name] = math.log(best_test_loss(net, shuffled, rates, 1000, test))
    found = {
        both: (logs[both] - logs[norm]) - (logs[drop] - logs["none"])
        for both, (norm, drop) in CASES.items()
    }
    return found | {f"loss_{name}": math.exp(value) for name, value in logs.items()}


WINDOW, LEVEL = 25, 0.5
RATES = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0)


def steps_to_level(losses: torch.Tensor, never: int) -> torch.Tensor:
    """Return, for each replica, the steps until the mean of the last 25 losses is at most 0.5."""
    means = losses.unfold(0, WINDOW, 1).mean(2)
    reached = means <= LEVEL
    first = reached.float().argmax(0) + WINDOW
    return torch.where(reached.any(0), first, never)


def b8(seed: int, data) -> dict[str, float]:
    """Return log ratios of the steps without to the steps with batch normalization."""
    weights = glorot([784, 128, 10], stream(seed, "b8", "init"))
    orders = {"none": ("tanh",), "before": ("norm", "tanh"), "after": ("tanh", "norm")}

    def there(losses) -> bool:
        return len(losses) >= WINDOW and torch.stack(losses[-WINDOW:]).mean() <= LEVEL

    steps = {}
    for name, order in orders.items():
        net = Net(weights, [order], ListedNorm)
        losses = train(net, feed(seed, data, "b8"), decaying(1500), 1500, stop=there)
        steps[name] = steps_to_level(losses, 1500).item()
    found = {
        "same_rate": math.log(steps["none"] / steps["before"]),
        "same_rate_after": math.log(steps["none"] / steps["after"]),
    }
    found |= {f"same_rate_steps_{name}": value for name, value in steps.items()}
    return found | best_steps(seed, data, "relu") | best_steps(seed, data, "tanh")


def best_steps(seed: int, data, activation: str) -> dict[str, float]:
    """Return the log ratio of the least steps over the rates, and the steps and rates."""
    weights = copies(glorot([784, 64, 64, 10], stream(seed, "b8", "best")), len(RATES))
    found = {}
    for name, order in (("none", (activation,)), ("before", ("norm", activation))):
        net = Net(weights, [order, order])
        losses = train(net, feed(seed, data, "b8 best"), constant(RATES), 300)
        steps = steps_to_level(losses, 300)
        found[f"best_{activation}_steps_{name}"] = steps.min().item()
        found[f"best_{activation}_rate_{name}"] = RATES[int(steps.argmin())]
    ratio = found[f"best_{activation}_steps_none"] / found[f"best_{activation}_steps_before"]
    return {f"best_{activation}": math.log(ratio), **found}


def usable_width(log_factors: torch.Tensor, losses: torch.Tensor) -> float:
    """Return the decades of losses below a limit, holes left out, the mean over four limits.

    The loss is linear between the factors; one above ten times the limit counts as that.
    """
    widths = []
    for limit in (0.4, 0.5, 0.7, 1.0):
        capped = losses.nan_to_num(nan=math.inf).clamp(max=10 * limit)
        low, high = torch.minimum(capped[:-1], capped[1:]), torch.maximum(capped[:-1], capped[1:])
        share = ((limit - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
        widths.append((log_factors.diff() * share).sum().item())
    return sum(widths) / len(widths)


def b10(seed: int, data) -> dict[str, float]:
    """Return how many decades more are usable with batch normalization."""
    log_factors = torch.linspace(-3, 3, 13)
    factors = (10.0**log_factors).view(-1, 1, 1)
    first, second, last = copies(glorot([784, 64, 64, 10], stream(seed, "b10")), len(factors))
    weights = [first * factors, second * factors, last]
    found = {}
    for act in ("tanh", "relu"):
        width = {}
        for name, order in (("none", (act,)), ("before", ("norm", act)), ("after", (act, "norm"))):
            net = Net(weights, [order, order])
            losses = train(net, feed(seed, data, "b10"), decaying(400), 400)
            width[name] = usable_width(log_factors, losses[-WINDOW:].mean(0))
            found[f"{act}_width_{name}"] = width[name]
        for name, key in (("before", act), ("after", f"{act}_behind")):
            found[key] = width[name] - width["none"]
    return found
