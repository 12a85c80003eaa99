"""Training with beta starting at 0 and at 1.

{dataset}; {network}, batchnorm before the activation, {training}, {rate}. Curves: mini-batch loss,
geometric mean of {n}; bands: 95% t-interval; dotted: loss of a guess. Last column: log ratio of a
seed's losses at the end; above 0 starting at 1 costs. {dots}

Gamma starts at 1. The loss is the mean of {c[every]} steps, at step 0 that of the first batch.
{diverged}
"""

import numpy as np

from gpubn.report.figures import looks, marks, scales, style, sweeps
from gpubn.report.figures.selection import by, present, select, values
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure
from gpubn.report.words import ACTIVATIONS

TICKS = (0.2, 0.5, 1, 2, 5)


def _rows(sheet: Sheet) -> Labels:
    return {
        depth: f"{depth} hidden layer{'s' * (depth != '1')}\n\nmini-batch loss (nats)"
        for depth in sheet.levels("depth")
    }


def _columns(sheet: Sheet) -> Labels:
    held = present(sheet.table, "activation", ACTIVATIONS)
    return {**{name: ACTIVATIONS[name] for name in held}, "ratio": "beta 1 over beta 0"}


@figure(__doc__, tables=("initial_beta",), claims=("B6",), size=(7.4, 4.4))
@Panels(rows=_rows, columns=_columns)
@Legend(style.keys(looks.BETAS, marker=False))
@Slide(((0, 0), (1, 0), (1, 3)))
def draw(sheet: Sheet) -> None:
    table = select(sheet.table, norm="before")
    losses = select(table, metric="batch_loss")
    ratios: dict[str, list[np.ndarray]] = {depth: [] for depth in sheet.rows}
    for depth, activation, ax in sheet.panels():
        if activation == "ratio":
            continue
        rows = select(losses, depth=depth, activation=activation)
        for beta in present(rows, "beta", looks.BETAS):
            marks.curve(ax, rows, "step", looks.BETAS[beta], log=True, beta=beta)
        scales.guess_line(ax)
        scales.log_ticks(ax, TICKS)
        ax.set_ylim(*scales.finite_range(values(losses)))
        ax.tick_params(labelleft=activation == sheet.columns[0])
        if depth == sheet.rows[-1]:
            ax.set_xlabel("step")
        last = rows[rows["step"] == rows["step"].max()]
        from_0, from_1 = (by(last, "step", beta=beta)[1][0] for beta in looks.BETAS)
        ratios[depth].append(sweeps.log_ratio(from_1, from_0))
    of_depths = {depth: np.stack(of_depth) for depth, of_depth in ratios.items()}
    ends, at = scales.ratio_ends(of_depths), np.arange(len(sheet.columns) - 1)
    for ax, of_depth in zip(sheet.axes[:, -1], of_depths.values(), strict=True):
        sweeps.draw_seeds(ax, at, of_depth, looks.ONE, ends=ends, aside=0.2)
        scales.ratio_axis(ax, ends)
        scales.category_axis(ax, [ACTIVATIONS[name] for name in sheet.columns[:-1]])
        ax.set_ylabel("log ratio of losses")
