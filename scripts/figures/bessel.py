"""Biased and unbiased variance in training, by batch size.

{dataset}; {network}, batchnorm {c[norm.placement]} these, {training} at each batch size N, {rate}.
Top: loss at the end. Bottom: log ratio of a seed's losses, unbiased over biased; below 0 the
unbiased variance is better. {dots}

In training the variance divides by N or by N-1; the moving average follows the unbiased one in
either case. The mini-batch loss is the mean of the last {c[every]}. {diverged}
"""

import numpy as np

from gpubn.report.figures import looks, scales, style, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure


@figure(__doc__, tables=("bessel",), claims=("D9",), size=(7.2, 4.6))
@Panels(
    rows={"loss": "loss at the end (nats)", "ratio": "log ratio,\nunbiased over biased"},
    columns={
        "batch_loss": "mini-batch loss",
        "train_loss": "training loss, inference",
        "test_loss": "test loss, inference",
    },
    x="batch size N",
    share="row",
)
@Legend(style.keys(looks.DIVISORS))
@Slide(((0, 0), (1, 0), (1, 2)))
def draw(sheet: Sheet) -> None:
    losses = {
        metric: {
            k: sweeps.by_level(select(sheet.table, correction=k), "batch", metric)[1]
            for k in present(sheet.table, "correction", looks.DIVISORS)
        }
        for metric in sheet.columns
    }
    ratios = [ratio["0"] for ratio in sweeps.over(losses, base="1").values()]
    limits = scales.finite_range(losses)
    ratio_limits = scales.ratio_ends(ratios)
    sizes = [float(size) for size in sheet.levels("batch")]
    at = np.arange(len(sizes))
    for (upper, lower), arms, ratio in zip(sheet.axes.T, losses.values(), ratios, strict=True):
        sweeps.draw_arms(upper, at, arms, styles=looks.DIVISORS, width=0.4, ends=limits, aside=0.16)
        sweeps.draw_seeds(lower, at, ratio, looks.ONE, ends=ratio_limits, aside=0.16)
        upper.set_ylim(*limits)
        scales.ratio_axis(lower, ratio_limits)
        for ax in (upper, lower):
            scales.category_axis(ax, sizes)
