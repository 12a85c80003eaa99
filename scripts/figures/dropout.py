"""Dropout with batchnorm: best test loss, harm beyond that without, and the shift of variance."""

from typing import Any

import numpy as np

from gpubn import theory
from gpubn.report.figures import scales, sheets, style, sweeps
from gpubn.report.figures.selection import matching, present, select

TABLES = ("dropout",)
CLAIMS = ("B13",)

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


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    rates, orders = sheet.levels("rate"), present(table, "dropout_at", ORDERS)
    text = f"""Test loss, harm and shift of variance, by dropout rate and order

        Dataset: {sheet.dataset}; {c["data.train_examples"]:,} training images drawn for each of n =
        {sheet.seeds} seeds, {sheet.hidden_layers} {sheet.activation} units, {sheet.weights}
        weights. Top: lowest test loss within {c["optim.steps"]} steps of batch {c["optim.batch"]}
        at the best of the constant rates {" and ".join(rates)}. Second: log ratio of that with
        dropout to that without, less the same without batchnorm, seed by seed; above 0 batchnorm
        makes dropout worse; shaded: what decides (before the activation alone in the second and
        third column). Below: variance at inference over that in training, after training at rate
        {rates[0]}; faint: before it; theory: Li et al. 2019. {sweeps.MARKS}
        {sweeps.diverged_note(table)}
    """
    legend = [*sweeps.legend(matters=f"±{MATTERS:g}"), style.key("theory", **DASHES)]
    axes = sheet.grid((4, len(orders)), (7.2, 8.0), text, legend, legend_columns=3)
    best = sweeps.by_arm(
        table, "dropout_at", lambda rows: sweeps.at_best_rate(rows, "dropout", "best_test_loss")[1]
    )
    added = sweeps.each(best, lambda loss: sweeps.log_ratio(loss[1:], loss[0]))
    harm = sweeps.over(added, sweeps.difference)
    losses_ends, ends = scales.finite_range(best), scales.ratio_ends(harm, MATTERS)
    ratios = select(table, metric=RATIO, rate=rates[0])
    levels = np.array([float(level) for level in sheet.levels("dropout")])
    how: dict[str, Any] = {"width": 0.45, "aside": 0.1}
    at = np.arange(len(levels))
    after = [theory.dropout_variance_ratio(1 - level) for level in levels]
    predicted = {"before": 1 - levels, "after": after}
    for (losses, harms, first, last), order in zip(axes.T, orders, strict=True):
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
                ax.plot(at, ratio, **{**DASHES, "color": style.PLACEMENTS[norm][1]})
        for ax in (losses, harms, first, last):
            scales.category_axis(ax, levels)
    labels = ["best test loss\n(nats)", "harm beyond none's\n(log ratio)"]
    labels += [f"variance into {which}\nbatchnorm (ratio)" for which in ("first", "last")]
    titles = [ORDERS[order] for order in orders]
    scales.label_grid(axes, titles=titles, x="share of units dropped", y=labels)
