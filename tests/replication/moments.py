"""B2 and B12: where the statistics of batch normalization come from."""

import math
from functools import partial

import torch
from mnist import batches, stream, subset, to_float
from nets import EPS, BatchNorm, Net, best_test_loss, copies, decaying, glorot, train

BATCH = 32


def b2(seed: int, data) -> dict[str, float]:
    """Return the log ratio of the errors of moving and population statistics, and test losses.

    "still" is the same ratio after 1000 more steps at rate 0.
    """
    images, labels = subset(data["train_x"], data["train_y"], 10_000, stream(seed, "b2", "train"))
    test = subset(data["test_x"], data["test_y"], 2048, stream(seed, "b2", "test"))
    test = to_float(test[0]), test[1]
    norm = partial(BatchNorm, weight=0.01, unbiased=False)
    net = Net(glorot([784, 128, 10], stream(seed, "b2", "init")), [("norm", "tanh")], norm)
    everything = to_float(images)
    found: dict[str, float] = {}

    def look(step: int) -> None:
        if step in (1000, 5000):
            name = "moving" if step == 1000 else "settled"
            found.update(compare_moments(net, name, everything, test, stream(seed, "b2", step)))

    feed = batches(images, labels, BATCH, stream(seed, "b2", "order"))
    train(net, feed, decaying(5000), 5000, after=look)
    train(net, feed, lambda step: torch.tensor(0.0), 1000)  # what is left when nothing moves
    return found | compare_moments(net, "still", everything, test, stream(seed, "b2", "still"))


@torch.no_grad()
def compare_moments(net: Net, name: str, everything, test, generator) -> dict[str, float]:
    """Return the errors of both estimates against the whole training set, and test losses."""
    z = net.affine(0, everything)[0]
    ref_mean, ref_var = z.mean(0), z.var(0, correction=0)
    norm = net.norms[0]
    moving = norm.mean[0, 0].clone(), norm.var[0, 0].clone()
    population = one_pass(z, generator)

    def error(mean, var) -> float:
        e_mean = ((mean - ref_mean) / ref_var.sqrt()).square().mean()
        e_var = (var / ref_var - 1).square().mean()
        return (e_mean + e_var).sqrt().item()

    def loss(mean, var) -> float:
        x = (net.affine(0, test[0]) - mean) * torch.rsqrt(var + EPS)
        x = torch.tanh(x * norm.gamma + norm.beta)
        logits = net.affine(1, x)[0]
        return torch.nn.functional.cross_entropy(logits, test[1]).item()

    corrected = moving[0], moving[1] * BATCH / (BATCH - 1)
    return {
        name: math.log(error(*moving) / error(*population)),
        f"{name}_corrected": math.log(error(*corrected) / error(*population)),
        f"{name}_error_moving": error(*moving),
        f"{name}_error_population": error(*population),
        f"{name}_loss_moving": loss(*moving),
        f"{name}_loss_population": loss(*population),
    }


def one_pass(z: torch.Tensor, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of batch means and of unbiased batch variances over one shuffled pass."""
    order = torch.randperm(len(z), generator=generator)
    whole = len(z) // BATCH
    groups = z[order[: whole * BATCH]].view(whole, BATCH, -1)
    return groups.mean(1).mean(0), groups.var(1, correction=0).mean(0) * BATCH / (BATCH - 1)


RATES = (0.1, 0.3, 1.0, 3.0)


def b12(seed: int, data) -> dict[str, float]:
    """Return log ratios of best test losses: whole batch over groups of 16, and none over it."""
    images, labels = subset(data["train_x"], data["train_y"], 512, stream(seed, "b12", "train"))
    test = subset(data["test_x"], data["test_y"], 2000, stream(seed, "b12", "test"))
    test = to_float(test[0]), test[1]
    everything = to_float(images)
    weights = copies(glorot([784, 64, 10], stream(seed, "b12", "init")), len(RATES))

    def best(order, batch: int, group=None) -> float:
        net = Net(weights, [order], partial(BatchNorm, group=group))

        @torch.no_grad()
        def population() -> None:
            z, norm = net.affine(0, everything), net.norms[0]
            norm.mean = z.mean(1, keepdim=True)
            norm.var = z.var(1, correction=0, keepdim=True)

        feed = batches(images, labels, batch, stream(seed, "b12", "order", batch))
        prepare = population if "norm" in order else None
        return math.log(best_test_loss(net, feed, RATES, 150, test, prepare))

    before = ("norm", "relu")
    full, full_grouped = best(before, 512), best(before, 512, 16)
    batch, batch_grouped = best(before, 128), best(before, 128, 16)
    none = best(("relu",), 128)
    return {
        "noise": full - full_grouped,
        "noise_batch": batch - batch_grouped,
        "whole": none - batch,
        "whole_grouped": none - batch_grouped,
        "loss_none": math.exp(none),
        "loss_batch": math.exp(batch),
    }
