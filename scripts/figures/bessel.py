"""Document D: does the unbiased variance train better? Losses by batch size, paired by seed."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import present, select

TABLES = ("bessel",)
CLAIMS = ("D9",)

STYLES: dict[str, style.Style] = {
    "0": ("biased, 1/N", style.BLUE, "-", "o"),
    "1": ("unbiased, 1/(N-1)", style.ORANGE, "--", "s"),
}
METRICS = {
    "batch_loss": "mini-batch loss",
    "train_loss": "training loss, inference",
    "test_loss": "test loss, inference",
}


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    text = f"""Biased and unbiased variance in training, by batch size

        Dataset: {sheet.dataset}; {sheet.hidden_layers} {sheet.activation} units, batchnorm
        {c["norm.placement"]} these, {c["optim.steps"]} steps at each batch size N,
        {sheet.falling_rate}, n = {sheet.seeds} seeds. In training the variance divides by N or by
        N-1; the moving average follows the unbiased one in either case. Top: loss at the end
        (mini-batch: mean of the last {c["every"]}). Bottom: logarithm of the loss with the unbiased
        variance over that with the biased one, the same seed; below 0 the unbiased one is better.
        {sweeps.MARKS} {sweeps.diverged_note(table)}
    """
    axes = sheet.grid((2, len(METRICS)), (7.2, 5.0), text, style.keys(STYLES))
    losses = {
        metric: {
            k: sweeps.by_level(select(table, correction=k), "batch", metric)[1]
            for k in present(table, "correction", STYLES)
        }
        for metric in METRICS
    }
    ratios = [ratio["0"] for ratio in sweeps.over(losses, base="1").values()]
    limits = scales.finite_range(losses)
    ratio_limits = scales.ratio_ends(ratios)
    sizes = [float(size) for size in sheet.levels("batch")]
    at = np.arange(len(sizes))
    for ax in axes.flat:
        ax.sharey(axes[0, 0] if ax in axes[0] else axes[1, 0])
    for (upper, lower), arms, ratio in zip(axes.T, losses.values(), ratios, strict=True):
        sweeps.draw_arms(upper, at, arms, styles=STYLES, width=0.4, ends=limits, aside=0.16)
        look = ("", style.BLACK, "", "D")
        sweeps.draw_seeds(lower, at, ratio, look, ends=ratio_limits, aside=0.16)
        upper.set_ylim(*limits)
        scales.ratio_axis(lower, ratio_limits)
        for ax in (upper, lower):
            scales.category_axis(ax, sizes)
            ax.tick_params(labelleft=ax in axes[:, 0])
    labels = ["loss at the end (nats)", "log ratio,\nunbiased over biased"]
    titles = list(METRICS.values())
    scales.label_grid(axes, titles=titles, x="batch size N", y=labels, shared=False)
