"""Document D: does the unbiased variance train better? Losses by batch size, paired by seed."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    ORANGE,
    Style,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    MARKS,
    by_level,
    category_axis,
    diverged_note,
    draw_seeds,
    finite_range,
    hidden_layers,
    log_ratio,
    offsets,
    ratio_axis,
    ratio_ends,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("bessel",)
CLAIMS = ("D9",)

STYLES: dict[str, Style] = {
    "0": ("biased, 1/N", BLUE, "-", "o"),
    "1": ("unbiased, 1/(N-1)", ORANGE, "--", "s"),
}
METRICS = {
    "batch_loss": "mini-batch loss",
    "train_loss": "training loss, inference",
    "test_loss": "test loss, inference",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Final losses (top) and their paired log ratios (bottom), by batch size."""
    table = tables["bessel"]
    c = config_of(table)
    figure, axes = new_figure(
        2,
        len(METRICS),
        width=7.2,
        height=5.0,
        title=titled(table, "Biased and unbiased variance in training, by batch size"),
        legend=keys(STYLES, list(STYLES), markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}; {hidden_layers(c)}
            {ACTIVATIONS[c["model.activation"]]} units, batchnorm {c["norm.placement"]} these,
            {c["optim.steps"]} steps at each batch size N, rate {c["optim.rate"]:g} falling linearly
            to {c["optim.min_rate"]:g}, n = {seed_count(table)} seeds. In training the variance
            divides by N or by N-1; the moving average follows the unbiased one in either case. Top:
            loss at the end (mini-batch: mean of the last {c["every"]}). Bottom: logarithm of the
            loss with the unbiased variance over that with the biased one, the same seed; below 0
            the unbiased one is better. {MARKS} {diverged_note(table)} {verdicts}
        """,
    )
    found = {
        (metric, k): by_level(table[table["correction"] == k], "batch", metric)
        for metric in METRICS
        for k in STYLES
    }
    ratios = [log_ratio(found[metric, "1"][1], found[metric, "0"][1]) for metric in METRICS]
    low, high = finite_range(np.concatenate([losses.ravel() for _, losses in found.values()]))
    ends = ratio_ends(ratios)
    for ax in axes.flat:
        ax.sharey(axes[0, 0] if ax in axes[0] else axes[1, 0])
    for (upper, lower), (metric, label), ratio in zip(axes.T, METRICS.items(), ratios, strict=True):
        for shift, (k, style) in zip(offsets(2, 0.4), STYLES.items(), strict=True):
            sizes, losses = found[metric, k]
            at = np.arange(len(sizes)) + shift
            draw_seeds(upper, at, losses, style, ends=(low, high), aside=0.16)
        at = np.arange(len(sizes))
        draw_seeds(lower, at, ratio, ("", BLACK, "", "D"), ends=ends, aside=0.16)
        upper.set_ylim(low, high)
        ratio_axis(lower, ends)
        upper.set_title(label)
        lower.set_xlabel("batch size N")
        for ax in (upper, lower):
            category_axis(ax, sizes)
            ax.tick_params(labelleft=ax in axes[:, 0])
    axes[0, 0].set_ylabel("loss at the end (nats)")
    axes[1, 0].set_ylabel("log ratio,\nunbiased over biased")
    return figure
