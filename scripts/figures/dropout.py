"""Test loss, harm and shift of variance, by dropout rate and order.

{dataset}, {c[data.train_examples]:,} training images a seed; {network}. Top: lowest test loss
within {training}, best of the {rate}. Harm: its log ratio, dropout to none, less that without
batchnorm. Below: variance at inference over that in training, faint before it. {dots}

{weights} weights. The training images are drawn anew for each seed. Above 0 batchnorm makes dropout
worse, seed by seed; shaded: what decides (before the activation alone in the second and third
column). The variance is that after training at {lowest}; theory: Li et al. 2019. {diverged}
"""

from typing import Any

import numpy as np

from gpubn import theory
from gpubn.report.figures import looks, scales, style, sweeps
from gpubn.report.figures.selection import at_lowest_rate, matching, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure

ORDERS = {
    "before_norm": "dropout right before batchnorm",
    "end": "at the end of each layer",
    "last": "at the end of the last layer alone",
}
# The claims' ledger decides these: what matters, and at which share of units dropped.
MATTERS, DECIDING = 0.05, 0.5
HIGHEST = 1.2
"""Where the axis of the ratio of variances ends."""
RATIO = "norm_input_variance_ratio"
DASHES = {**style.BOUND, "linewidth": 0.9}


@figure(__doc__, tables=("dropout",), claims=("B13",), size=(7.2, 7.6))
@Panels(
    rows={
        "loss": "best test loss\n(nats)",
        "harm": "harm beyond none's\n(log ratio)",
        "first": "variance into first\nbatchnorm (ratio)",
        "last": "variance into last\nbatchnorm (ratio)",
    },
    columns=facet("dropout_at", ORDERS),
    x="share of units dropped",
    share="row",
)
@Legend([*sweeps.entries(matters=f"±{MATTERS:g}"), style.key("theory", **DASHES)])
@Slide(((1, 0), (1, 1), (1, 2)))
def draw(sheet: Sheet) -> None:
    table, c = sheet.table, sheet.config
    sheet.said["lowest"] = sweeps.lowest_rate(table)
    best = sweeps.by_arm(
        table, "dropout_at", lambda rows: sweeps.at_best_rate(rows, "dropout", "best_test_loss")[1]
    )
    added = sweeps.each(best, lambda loss: sweeps.log_ratio(loss[1:], loss[0]))
    harm = sweeps.over(added, sweeps.difference)
    losses_ends, ends = scales.finite_range(best), scales.ratio_ends(harm, MATTERS)
    ratios = at_lowest_rate(select(table, metric=RATIO))
    levels = np.array([float(level) for level in sheet.levels("dropout")])
    how: dict[str, Any] = {"width": 0.45, "aside": 0.1}
    at = np.arange(len(levels))
    after = [theory.dropout_variance_ratio(1 - level) for level in levels]
    predicted = {"before": 1 - levels, "after": after}
    for (losses, harms, first, last), order in zip(sheet.axes.T, sheet.columns, strict=True):
        sweeps.draw_arms(losses, at, best[order], **how, ends=losses_ends)
        sweeps.draw_arms(harms, at[1:], harm[order], **how, ends=ends)
        for norm in harm[order]:
            rows = select(ratios, dropout_at=order, norm=norm)
            of_first, of_last = (matching(rows, layer=n) for n in (1, c["model.depth"]))
            before = matching(of_first, step=0)
            for ax, part, alpha in ((first, before, 0.4), (first, of_first, 1), (last, of_last, 1)):
                arms = {norm: sweeps.by_level(part, "dropout", RATIO)[1]}
                sweeps.draw_arms(ax, at, arms, **how, ends=(0, HIGHEST), alpha=alpha)
        losses.set_ylim(*losses_ends)
        for place in np.flatnonzero(levels == DECIDING):
            sweeps.shade(harms, place, left=0.35)
        scales.ratio_axis(harms, ends, MATTERS)
        for ax in (first, last):
            ax.axhline(1, color=style.FAINT, linewidth=0.8, zorder=1)
            ax.set_ylim(0, HIGHEST)
            for norm, ratio in predicted.items() if order == "before_norm" else ():
                ax.plot(at, ratio, **{**DASHES, "color": looks.PLACEMENTS[norm][1]})
        for ax in (losses, harms, first, last):
            scales.category_axis(ax, levels)
