"""B8 and B10: how soon and over which range of initial weights a network learns."""

import math

import torch
from mnist import batches, stream
from nets import Net, constant, copies, decaying, glorot, train

WINDOW, LEVEL, USABLE = 25, 0.5, 1.15
RATES = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0)
LOG_FACTORS = torch.linspace(-3, 3, 13)


def feed(seed: int, data, name: str):
    """Return batches of 32 of the 60,000 images in an order that depends on the seed alone."""
    return batches(data["train_x"], data["train_y"], 32, stream(seed, name, "order"))


def steps_to_level(losses: torch.Tensor, never: int) -> torch.Tensor:
    """Return, for each replica, the steps until the mean of the last 25 losses is at most 0.5."""
    means = losses.unfold(0, WINDOW, 1).mean(2)
    reached = means <= LEVEL
    first = reached.float().argmax(0) + WINDOW
    return torch.where(reached.any(0), first, never)


def b8(seed: int, data) -> dict[str, float]:
    """Return log ratios of the steps without to the steps with batch normalization."""
    weights = glorot([784, 128, 10], stream(seed, "b8", "init"))

    def there(losses) -> bool:
        return len(losses) >= WINDOW and torch.stack(losses[-WINDOW:]).mean() <= LEVEL

    def steps(order) -> float:
        losses = train(Net(weights, [order]), feed(seed, data, "b8"), decaying(1500), 1500,
                       stop=there)  # fmt: skip
        return steps_to_level(losses, 1500).item()

    none = steps(("tanh",))
    before, after = steps(("norm", "tanh")), steps(("tanh", "norm"))
    found = {
        "same_rate": math.log(none / before),
        "same_rate_after": math.log(none / after),
        "same_rate_steps_none": none,
        "same_rate_steps_before": before,
        "same_rate_steps_after": after,
    }
    for activation in ("relu", "tanh"):
        found.update(best_steps(seed, data, activation))
    return found


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
    """Return the length of the range below 1.15, the loss being linear between the factors."""
    finite = losses.nan_to_num(nan=math.inf).tolist()
    width = 0.0
    for k in range(len(finite) - 1):
        low, high = sorted(finite[k : k + 2])
        gap = (log_factors[k + 1] - log_factors[k]).item()
        if high < USABLE:
            width += gap
        elif low < USABLE:
            width += gap * (USABLE - low) / (high - low)
    return width


def b10(seed: int, data) -> dict[str, float]:
    """Return how many decades wider the usable range is with batch normalization."""
    factors = (10.0**LOG_FACTORS).view(-1, 1, 1)
    first, second, last = copies(glorot([784, 64, 64, 10], stream(seed, "b10")), len(factors))
    weights = [first * factors, second * factors, last]
    found = {}
    for activation in ("tanh", "relu"):
        width = {}
        for name, order in (("none", (activation,)), ("before", ("norm", activation))):
            net = Net(weights, [order, order])
            losses = train(net, feed(seed, data, "b10"), decaying(400), 400)
            ends = losses[-WINDOW:].mean(0)
            width[name] = usable_width(LOG_FACTORS, ends)
            found[f"{activation}_width_{name}"] = width[name]
            found[f"{activation}_low_end_usable_{name}"] = float(ends[0] < USABLE)
            found[f"{activation}_high_end_usable_{name}"] = float(ends[-1] < USABLE)
        found[activation] = width["before"] - width["none"]
    return found
