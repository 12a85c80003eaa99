"""Training with beta starting at 0 or at 1: loss curves, and the paired log ratio at the end."""

import numpy as np

from gpubn.report.figures import marks, scales, sheets, style, sweeps
from gpubn.report.figures.selection import by, present, select, values
from gpubn.report.words import ACTIVATIONS

TABLES = ("initial_beta",)
CLAIMS = ("B6",)

BETAS: dict[str, style.Style] = {
    "0.0": ("beta starts at 0", style.BLUE, "-", "o"),
    "1.0": ("beta starts at 1", style.ORANGE, "--", "s"),
}
TICKS = (0.2, 0.5, 1, 2, 5)


def draw(sheet: sheets.Sheet) -> None:
    table, c = select(sheet.table, norm="before"), sheet.config
    depths, activations = sheet.levels("depth"), present(table, "activation", ACTIVATIONS)
    text = f"""Training with beta starting at 0 and at 1

        Dataset: {sheet.dataset}; batchnorm before the activation, gamma starting at 1, hidden
        layers of {c["model.width"]} units, {sheet.training}, {sheet.falling_rate}, n =
        {sheet.seeds} seeds. Curves: mini-batch loss, mean of {c["every"]} steps (step 0: the first
        batch); geometric mean and its 95% t-interval; dotted: loss of a guess. Last column:
        logarithm of the last such loss with beta from 1 over that with beta from 0, the same seed;
        above 0, starting at 1 costs. {sweeps.MARKS} {sweeps.diverged_note(table)}
    """
    legend = style.keys(BETAS, marker=False)
    axes = sheet.grid((len(depths), len(activations) + 1), (7.4, 4.8), text, legend)
    losses = select(table, metric="batch_loss")
    names = [ACTIVATIONS[activation] for activation in activations]
    ratios = []
    for of_row, depth in zip(axes, depths, strict=True):
        for ax, activation in zip(of_row, activations, strict=False):
            rows = select(losses, depth=depth, activation=activation)
            for beta in present(rows, "beta", BETAS):
                steps, of_seeds = by(rows, "step", beta=beta)
                marks.band(ax, steps, marks.geometric(of_seeds), BETAS[beta])
            scales.guess_line(ax)
            scales.log_ticks(ax, TICKS)
            ax.set_ylim(*scales.finite_range(values(losses)))
            last = rows[rows["step"] == rows["step"].max()]
            from_0, from_1 = (by(last, "step", beta=beta)[1][0] for beta in BETAS)
            ratios.append(sweeps.log_ratio(from_1, from_0))
    of_depths = np.reshape(ratios, (len(depths), len(activations), -1))
    ends = scales.ratio_ends(of_depths)
    for ax, of_depth in zip(axes[:, -1], of_depths, strict=True):
        at, look = np.arange(len(names)), ("", style.BLACK, "", "D")
        sweeps.draw_seeds(ax, at, of_depth, look, ends=ends, aside=0.2)
        scales.ratio_axis(ax, ends)
        ax.set_xticks(at, names)
        ax.set(xlim=(-0.5, len(names) - 0.5), ylabel="log ratio of losses")
    axes[0, -1].set_title("beta 1 over beta 0")
    labels = [f"{d} hidden layer{'s' * (d != '1')}\n\nmini-batch loss (nats)" for d in depths]
    scales.label_grid(axes[:, :-1], titles=names, x="step", y=labels)
