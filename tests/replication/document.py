"""D1, D4 and D11: the numbers that the document itself reports."""

import torch
from mnist import batches, stream, subset, to_float
from nets import ListedNorm, Net, decaying, glorot, train

SIZES = (784, 128, 10)
STEPS = 1500


def feed(seed: int, data, name: str):
    """Return batches of 32 of the 60,000 images."""
    return batches(data["train_x"], data["train_y"], 32, stream(seed, name, "order"))


def layer_weights(reading: str, fan_in: int, fan_out: int, generator) -> torch.Tensor:
    """Return one (1, in, out) matrix as a reading of the document draws it."""
    draw = torch.randn if reading.startswith("randn") else torch.rand
    weights = draw(1, fan_in, fan_out, generator=generator)
    if reading in ("listing", "randn_f"):
        return weights / fan_in**0.5
    return weights * 0.01 if reading == "scaled" else weights


def both_layers(reading: str, seed: int) -> list[torch.Tensor]:
    """Return the weights of the two layers under a reading."""
    generator = stream(seed, "document", reading)
    return [layer_weights(reading, *pair, generator) for pair in (SIZES[:2], SIZES[1:])]


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
    images, _ = subset(data["train_x"], data["train_y"], 1000, stream(seed, "d4"))
    x = to_float(images)
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
    test = to_float(data["test_x"]), data["test_y"]
    weights = glorot(SIZES, stream(seed, "d11", "init"))
    found = {}
    for name, order in (("after", ("tanh", "norm")), ("before", ("norm", "tanh"))):
        net = Net(weights, [order], ListedNorm)
        losses = train(net, feed(seed, data, "d11"), decaying(STEPS), STEPS)
        found[f"{name}_batch"] = losses[-25:].mean().item()
        found[f"{name}_test"] = net.test_loss(*test).item()
    return found
