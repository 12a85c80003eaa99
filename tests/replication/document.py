"""A6, A10, D1, D4 and D11: the numbers that the document itself reports."""

import torch
from data import feed, stream, subset
from nets import ListedNorm, Net, decaying, glorot, train

LAYERS, UNITS, EXAMPLES, STD = 20, 100, 1000, 0.01
SIZES = (784, 128, 10)
STEPS = 1500


def draw(seed: int) -> tuple[torch.Tensor, list[torch.Tensor], torch.Generator]:
    """Return the (features, examples) input, small weights and the stream they came from."""
    generator = stream(seed, "deep")
    x = torch.randn(UNITS, EXAMPLES, generator=generator, dtype=torch.float64)
    weights = [
        STD * torch.randn(UNITS, UNITS, generator=generator, dtype=torch.float64)
        for _ in range(LAYERS)
    ]
    return x, weights, generator


def a6(seed: int, data) -> dict[str, float]:
    """Return log10 of the gradient's variance at layer 20 over that at layer 2."""
    h, weights, generator = draw(seed)
    for w in weights:
        w.requires_grad_()
        h = torch.relu(w @ h)
    upstream = torch.randn(h.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad(h, weights, upstream)
    spread = [g.var().log10().item() for g in gradients]
    return {
        "ratio": spread[LAYERS - 1] - spread[1],
        "first_over_second_layer": spread[0] - spread[1],
    }


def a10(seed: int, data) -> dict[str, float]:
    """Return how far the listing's output is from mean 0, by either reading of its axes."""
    h, weights, _ = draw(seed)
    for w in weights:
        h = torch.relu(w @ h)
        h = (h - h.mean(0)) / h.std(0, correction=0)
    per_row = h.mean(1)
    diagonal = sum(w.diagonal().square().sum() for w in weights)
    total = sum(w.square().sum() for w in weights)
    return {
        "by_shapes": per_row.square().mean().sqrt().item(),
        "by_names": h.mean(0).square().mean().sqrt().item(),
        "by_shapes_own_std": (per_row / h.std(1)).square().mean().sqrt().item(),
        "off_diagonal": (1 - diagonal / total).item(),
    }


def both_layers(reading: str, seed: int) -> list[torch.Tensor]:
    """Return the (1, in, out) weights of the two layers as a reading of the document draws them."""
    generator = stream(seed, "document", reading)
    draw = torch.randn if reading.startswith("randn") else torch.rand
    layers = [draw(1, *pair, generator=generator) for pair in (SIZES[:2], SIZES[1:])]
    if reading in ("listing", "randn_f"):
        return [w / w.shape[1] ** 0.5 for w in layers]
    return [w * 0.01 for w in layers] if reading == "scaled" else layers


def plateaus(losses: torch.Tensor) -> int:
    """Count the stretches on which the loss stands still, and below which it later falls.

    Still: five means of 25 steps in a row lie within 2%. A fall: by more than 4%.
    """
    means = losses.unfold(0, 25, 25).mean(1)
    windows = means.unfold(0, 5, 1)
    still = windows.max(1).values < 1.02 * windows.min(1).values
    lowest_later = means.flip(0).cummin(0).values.flip(0)[: len(windows)]
    found = still & (lowest_later < 0.96 * windows.min(1).values)
    return int(found[0]) + int((found[1:] & ~found[:-1]).sum())


READINGS = ("listing", "rand", "randn", "randn_f")


def d1(seed: int, data) -> dict[str, float]:
    """Return, for the four readings, the log of the first loss, the last loss and the plateaus."""
    layers = zip(*(both_layers(reading, seed) for reading in READINGS), strict=True)
    net = Net([torch.cat(layer) for layer in layers], [("tanh",)])
    losses = train(net, feed(seed, data, "d1"), decaying(STEPS), STEPS)
    found = {}
    for reading, curve in zip(READINGS, losses.T, strict=True):
        found[f"end_{reading}"] = curve[-25:].mean().item()
        found[f"log_first_{reading}"] = curve[0].log().item()
        found[f"plateaus_{reading}"] = plateaus(curve)
    return found


def d4(seed: int, data) -> dict[str, float]:
    """Return the share of units at 1 under a reading less that with scaled weights."""
    x, _ = subset(data, "train", 1000, stream(seed, "d4"))
    means = {
        reading: torch.tanh(x @ both_layers(reading, seed)[0][0]).mean(0)
        for reading in ("listing", "rand", "randn", "scaled")
    }

    def more(reading: str, limit: float) -> float:
        share = {name: (mean > limit).float().mean().item() for name, mean in means.items()}
        return share[reading] - share["scaled"]

    return {
        "listing": more("listing", 0.99),
        "rand": more("rand", 0.99),
        "listing_eye": more("listing", 0.9),
        "randn": more("randn", 0.9),
    } | {f"mean_{reading}": mean.mean().item() for reading, mean in means.items()}


def d11(seed: int, data) -> dict[str, float]:
    """Return the last training loss and the test loss with the document's layer."""
    weights = glorot(SIZES, stream(seed, "d11", "init"))
    found = {}
    for name, order in (("after", ("tanh", "norm")), ("before", ("norm", "tanh"))):
        net = Net(weights, [order], ListedNorm)
        losses = train(net, feed(seed, data, "d11"), decaying(STEPS), STEPS)
        found[f"{name}_batch"] = losses[-25:].mean().item()
        found[f"{name}_test"] = net.test_loss(data["test_x"], data["test_y"]).item()
    return found
