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


def d1(seed: int, data) -> dict[str, float]:
    """Return the first mini-batch loss and the mean of the last 25 for the four readings."""
    readings = ("rand", "listing", "randn", "randn_f")
    layers = zip(*(both_layers(reading, seed) for reading in readings), strict=True)
    net = Net([torch.cat(layer) for layer in layers], [("tanh",)])
    losses = train(net, feed(seed, data, "d1"), decaying(STEPS), STEPS)
    first, end = losses[0].tolist(), losses[-25:].mean(0).tolist()
    found = {f"first_{reading}": value for reading, value in zip(readings, first, strict=True)}
    return found | {f"end_{reading}": value for reading, value in zip(readings, end, strict=True)}


def d4(seed: int, data) -> dict[str, float]:
    """Return the share of saturated units under a reading less that with scaled weights."""
    images, _ = subset(data["train_x"], data["train_y"], 1000, stream(seed, "d4"))
    x = to_float(images)
    share, lower = {}, {}
    for reading in ("listing", "rand", "scaled"):
        means = torch.tanh(x @ both_layers(reading, seed)[0][0]).mean(0)
        share[reading] = (means > 0.99).float().mean().item()
        lower[reading] = (means > 0.9).float().mean().item()
    return {
        "listing": share["listing"] - share["scaled"],
        "rand": share["rand"] - share["scaled"],
        **{f"share_{reading}": value for reading, value in share.items()},
        **{f"share_above_0.9_{reading}": value for reading, value in lower.items()},
    }


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
