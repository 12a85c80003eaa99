"""Document A's histograms as it draws them: one run, raw values, bins from the least to the most.

Forward and backward pass are those of its listing, with its upstream gradient; the listing is
described in `signal_propagation`. Layers are numbered 1 ... L; layer 0 is the input.
"""

from collections.abc import Sequence

import numpy as np

from gpubn.backend import Array, Backend
from gpubn.config import Config
from gpubn.experiments.base import Context, Experiment, Tick, measure_seeds
from gpubn.experiments.deep.network import (
    GROUP,
    KEYS,
    draw_network,
    hidden_layer,
    propagate_back,
    propagate_forward,
)
from gpubn.experiments.deep.signal_propagation import (
    PUBLISHED_UPSTREAM,
    published_norm,
    published_norm_backward,
)
from gpubn.rows import Observation

BINS = 50


def run_cell(config: Config, context: Context) -> list[Observation]:
    """Propagate every seed of the cell once, forward and back; record every layer's histograms."""
    groups = measure_seeds(config, context, _measure_group, group=GROUP)
    return [row for rows in groups for row in rows]


def _measure_group(
    config: Config, backend: Backend, seeds: Sequence[int], tick: Tick
) -> list[Observation]:
    rows: list[Observation] = []

    def record(quantity: str, layer: int, values: Array) -> None:
        for seed, of_seed in zip(seeds, backend.to_host(values), strict=True):
            for metric, value in histogram_of(of_seed).items():
                rows.append(Observation(seed, None, layer, f"{quantity}_{metric}", value))

    placement = config.norm.placement
    x, weights, upstream = draw_network(config, backend, seeds)
    hidden = hidden_layer(placement, config.model.activation, published_norm)
    layers = list(propagate_forward(x, weights, hidden))
    record("activation", 0, x)
    for number, layer in enumerate(layers, start=1):
        record("activation", number, layer.hidden.h)
        tick(len(seeds))
    upstream = upstream * PUBLISHED_UPSTREAM[placement]
    last = _last_layer(config)
    gradients = propagate_back(upstream, layers[:last], published_norm_backward)
    for number, (dweight, _) in zip(range(last, 0, -1), gradients, strict=True):
        record("weight_grad", number, dweight)
        tick(len(seeds))
    return rows


def histogram_of(values: np.ndarray) -> dict[str, float]:
    """Return variance, both ends, and the share of each of `BINS` even bins between these.

    Without two finite ends there are no bins.
    """
    low, high = float(values.min()), float(values.max())
    found = {"var": float(values.var()), "low": low, "high": high}
    if np.isfinite([low, high]).all():
        counts, _ = np.histogram(values, BINS, range=(low, high))
        found |= {
            f"hist[{place}]": float(count / values.size) for place, count in enumerate(counts)
        }
    return found


def _last_layer(config: Config) -> int:
    """The layer at which the upstream gradient enters: one early, as in the listing."""
    return config.model.depth - 1


SIGNAL_RUN = Experiment(
    name="signal_run",
    datasets=("gaussian",),
    axes={"norm": "norm.name"},
    keys=KEYS,
    run=run_cell,
    work=lambda config: config.seeds * (config.model.depth + _last_layer(config)),
    exact=True,
)
