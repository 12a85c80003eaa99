"""A6 and A10: twenty ReLU layers of 100 units with small weights, in float64."""

import torch
from mnist import stream

LAYERS, UNITS, EXAMPLES, STD = 20, 100, 1000, 0.01


def draw(seed: int) -> tuple[torch.Tensor, list[torch.Tensor], torch.Generator]:
    """Return the (features, examples) input, the weights and the stream they came from."""
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
