"""B8 and B10: how soon and over which range of initial weights a network learns."""

import math

import torch
from mnist import batches, stream
from nets import ListedNorm, Net, constant, copies, decaying, glorot, train

WINDOW, LEVEL = 25, 0.5
RATES = (0.01, 0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0)
LOG_FACTORS = torch.linspace(-3, 3, 13)
LIMITS = (0.4, 0.5, 0.7, 1.0)


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
        net = Net(weights, [order], ListedNorm)
        losses = train(net, feed(seed, data, "b8"), decaying(1500), 1500, stop=there)
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
    """Return the decades of losses below a limit, holes left out, the mean over `LIMITS`.

    The loss is linear between the factors; one above ten times the limit counts as that.
    """
    widths = []
    for limit in LIMITS:
        capped = losses.nan_to_num(nan=math.inf).clamp(max=10 * limit)
        low, high = torch.minimum(capped[:-1], capped[1:]), torch.maximum(capped[:-1], capped[1:])
        share = ((limit - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
        widths.append((log_factors.diff() * share).sum().item())
    return sum(widths) / len(widths)


def b10(seed: int, data) -> dict[str, float]:
    """Return how many decades more are usable with batch normalization."""
    factors = (10.0**LOG_FACTORS).view(-1, 1, 1)
    first, second, last = copies(glorot([784, 64, 64, 10], stream(seed, "b10")), len(factors))
    weights = [first * factors, second * factors, last]
    found = {}
    for act in ("tanh", "relu"):
        width = {}
        for name, order in (("none", (act,)), ("before", ("norm", act)), ("after", (act, "norm"))):
            net = Net(weights, [order, order])
            losses = train(net, feed(seed, data, "b10"), decaying(400), 400)
            width[name] = usable_width(LOG_FACTORS, losses[-WINDOW:].mean(0))
            found[f"{act}_width_{name}"] = width[name]
        for name, key in (("before", act), ("after", f"{act}_behind")):
            found[key] = width[name] - width["none"]
    return found
