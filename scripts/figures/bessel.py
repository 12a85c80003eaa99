"""Document D: does the unbiased variance train better? Losses by batch size, paired by seed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.plotting import (
    BLUE,
    FAINT,
    ORANGE,
    Style,
    config_of,
    dataset_label,
    keys,
    new_figure,
    number,
    seed_count,
    titled,
)
from gpubn.stats import mean_interval
from gpubn.time_plots import edge_note, of_metrics, place

TABLES = ("bessel",)
CLAIMS = ("D9",)

STYLES: dict[str, Style] = {
    "0": ("biased, 1/N", BLUE, "-", "o"),
    "1": ("unbiased, 1/(N-1)", ORANGE, "--", "s"),
}
METRICS = {"train_loss": "training loss", "test_loss": "test loss"}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Final losses (top) and their paired differences (bottom), by batch size."""
    table = tables["bessel"]
    c = config_of(table)
    shown = of_metrics(table, list(METRICS))
    sizes = sorted({int(size) for size in table["batch"]})
    figure, axes = new_figure(
        2,
        len(METRICS),
        width=7.0,
        height=5.0,
        title=titled(table, "Biased and unbiased variance in training, by batch size"),
        legend=keys(STYLES, list(STYLES), markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, batchnorm before these, {c["optim.steps"]} steps at each
            batch size N, rate {c["optim.rate"]:g} falling linearly to {c["optim.min_rate"]:g}.
            The variance that normalises in training divides by N or by N-1; the moving average
            that inference uses follows the unbiased one in either case. Top: final loss in
            inference mode, dots: n = {seed_count(table)} seeds, marks and bars: their mean and
            its 95% t-interval. Bottom: loss with the unbiased variance less that with the
            biased one of the same seed, so below 0 the unbiased one is better;
            numbers: mean and interval.
            {edge_note(shown)} {verdicts}
        """,
    )
    for column, (metric, label) in enumerate(METRICS.items()):
        losses = {k: _by_size(shown, metric, k, sizes) for k in STYLES}
        for offset, (k, style) in zip((-0.09, 0.09), STYLES.items(), strict=True):
            _draw_marks(axes[0, column], losses[k], style, offset)
        with np.errstate(all="ignore"):
            difference = losses["1"] - losses["0"]
        _draw_marks(axes[1, column], difference, ("", FAINT, "-", "D"), 0)
        axes[1, column].axhline(0, color=FAINT, linestyle="--", linewidth=0.8)
        _print_intervals(axes[1, column], difference)
        axes[0, column].set_ylabel(f"final {label} (nats)")
        axes[1, column].set_ylabel(f"{label}:\nunbiased less biased (nats)")
        axes[1, column].set_xlabel("batch size N")
        for ax in axes[:, column]:
            ax.set_xticks(range(len(sizes)), [f"{size}" for size in sizes])
            ax.set_xlim(-0.5, len(sizes) - 0.5)
    return figure


def _by_size(table: pd.DataFrame, metric: str, correction: str, sizes: list[int]) -> np.ndarray:
    rows = table[(table["metric"] == metric) & (table["correction"] == correction)]
    wide = rows.assign(size=rows["batch"].astype(int)).pivot(
        index="size", columns="seed", values="value"
    )
    return wide.loc[sizes].to_numpy(dtype=np.float64)


def _print_intervals(ax: Axes, values: np.ndarray) -> None:
    """Mean and interval of each batch size as numbers, above what is drawn."""
    for x, interval in enumerate(zip(*mean_interval(values), strict=True)):
        mean, low, high = (number(float(part), 1) for part in interval)
        ax.text(
            x, 0.99, f"{mean}\n[{low},\n{high}]", transform=ax.get_xaxis_transform(), ha="center",
            va="top", fontsize=6.5,
        )  # fmt: skip
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.45 * (top - bottom))


def _draw_marks(ax: Axes, values: np.ndarray, style: Style, offset: float) -> None:
    _, color, _, marker = style
    x = np.arange(len(values)) + offset
    ax.plot(x + 0.05, values, ".", color=color, markersize=2, alpha=0.5)
    x, mean, low, high = place(ax, x, values, color, log=False)
    ax.errorbar(
        x, mean, yerr=(mean - low, high - mean), color=color, marker=marker, markersize=4,
        linestyle="", elinewidth=1.2, capsize=2,
    )  # fmt: skip
