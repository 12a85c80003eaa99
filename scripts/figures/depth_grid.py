"""Training loss, and what batchnorm gains, by depth and initialisation.

{dataset}; {network}. Loss of the last {c[every]} of {training}, each seed at the best of the
{rate}. Gain: log ratio of the losses, none over batchnorm; above 0 batchnorm helps; Δ: gain at
{DEPTHS[1]} and at {DEPTHS[2]} layers less gain at {DEPTHS[0]}. {dots}

Means of losses are geometric; gains compare the same seed's. The depths are not to scale.
{diverged}
"""

from typing import Any

import numpy as np

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.selection import present, select
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.words import ACTIVATIONS

# The claims' ledger decides these: what matters (A7, B11, D12), and which depths D12 compares.
MATTERS, DEPTHS = 0.1, (1, 10, 20)
SHOWN = ("glorot", "he", "small", "rand_fan_in")


def _rows(sheet: Sheet) -> Labels:
    """The loss under each activation, and below it the gain."""
    labels = {}
    for name in present(sheet.table, "activation", ACTIVATIONS):
        labels[name, "loss"] = f"{ACTIVATIONS[name]}\n\nloss (nats)"
        labels[name, "gain"] = "gain\n(log ratio)"
    return labels


@figure(
    __doc__,
    tables=("depth_grid",),
    claims=("A7", "B7", "B11", "D12", "D14"),
    from_small=True,
    size=(7.4, 8.0),
)
@Panels(
    rows=_rows,
    columns=facet("init", {init: looks.INITS[init] for init in SHOWN}),
    heights=lambda sheet: [1.35, 1] * (len(sheet.rows) // 2),
    x="hidden layers",
    share="row",
)
@Legend(sweeps.entries(guess=True, matters=f"±{MATTERS:g}"))
@Slide(((0, 0), (2, 0), (4, 0)))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    losses = sweeps.by_arm(
        table,
        ["activation", "init"],
        lambda rows: sweeps.at_best_rate(rows, "depth", "batch_loss")[1],
    )
    gains = sweeps.over(losses)
    for depth in DEPTHS:
        select(table, depth=str(depth))
    depths = sheet.levels("depth")
    few, *many = (depths.index(str(depth)) for depth in DEPTHS)
    grown = sweeps.each(gains, lambda gain: gain[many] - gain[[few]])
    ends, gain_ends = scales.loss_ends(losses), scales.ratio_ends([gains, grown], MATTERS)
    at, behind = np.arange(len(depths)), len(depths) + np.arange(len(many))
    how: dict[str, Any] = {"width": 0.44, "aside": 0.1}
    for (activation, what), init, ax in sheet.panels():
        scales.category_axis(ax, [*depths, *(f"Δ{depth}" for depth in DEPTHS[1:])])
        if what == "loss":
            sweeps.draw_arms(ax, at, losses[activation, init], **how, ends=ends, log=True)
            scales.loss_axis(ax, ends)
            ax.set_xticks(at, depths)
            ax.tick_params(labelbottom=False)
            continue
        for norm, gain in gains[activation, init].items():
            sweeps.draw_arms(ax, at, {norm: gain}, **how, ends=gain_ends)
            more = {norm: grown[activation, init][norm]}
            sweeps.draw_arms(ax, behind, more, **how, ends=gain_ends, dots=False)
        for place in behind:
            sweeps.shade(ax, place, 0.5, 0.5)
        scales.ratio_axis(ax, gain_ends, MATTERS)
