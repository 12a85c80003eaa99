"""Training with beta starting at 0 or at 1: loss curves, and the paired log ratio at the end."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    FAINT,
    ORANGE,
    Style,
    band,
    by_seed,
    config_of,
    dataset_label,
    geometric,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    GUESS,
    MARKS,
    by_level,
    diverged_note,
    draw_seeds,
    finite_range,
    log_ratio,
    ratio_axis,
    ratio_ends,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("initial_beta",)
CLAIMS = ("B6",)

BETAS: dict[str, Style] = {
    "0.0": ("beta starts at 0", BLUE, "-", "o"),
    "1.0": ("beta starts at 1", ORANGE, "--", "s"),
}
TICKS = (0.2, 0.5, 1, 2, 5)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a depth, one column an activation; the last column holds the log ratios."""
    table = tables["initial_beta"]
    c = config_of(table)
    table = table[table["norm"] == "before"]
    depths = sorted(table["depth"].unique(), key=int)
    figure, axes = new_figure(
        len(depths),
        len(ACTIVATIONS) + 1,
        width=7.4,
        height=4.8,
        title=titled(table, "Training with beta starting at 0 and at 1"),
        legend=keys(BETAS, list(BETAS)),
        caption=f"""
            Dataset: {dataset_label(table)}; batchnorm before the activation, gamma starting at 1,
            hidden layers of {c["model.width"]} units, {c["optim.steps"]} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]} falling linearly to {c["optim.min_rate"]},
            n = {seed_count(table)} seeds. Curves: mini-batch loss, mean of {c["every"]} steps (step
            0: the first batch); geometric mean and its 95% t-interval; dotted: loss of a guess.
            Last column: logarithm of the last such loss with beta from 1 over that with beta from
            0, the same seed; above 0, starting at 1 costs. {MARKS} {diverged_note(table)}
            {verdicts}
        """,
    )
    low, high = finite_range(table.loc[table["metric"] == "batch_loss", "value"])
    ratios = {depth: _ratios(table[table["depth"] == depth]) for depth in depths}
    ends = ratio_ends([*ratios.values()])
    for row, depth in enumerate(depths):
        of_depth = table[table["depth"] == depth]
        for column, (activation, name) in enumerate(ACTIVATIONS.items()):
            ax = axes[row, column]
            _draw_curves(ax, of_depth[of_depth["activation"] == activation])
            ax.set_ylim(low, high)
            if row == 0:
                ax.set_title(name)
            if column:
                ax.set_yticklabels([])
            else:
                layers = "hidden layer" if depth == "1" else "hidden layers"
                ax.set_ylabel(f"{depth} {layers}\n\nmini-batch loss (nats)")
        ax, x = axes[row, -1], np.arange(len(ACTIVATIONS))
        draw_seeds(ax, x, ratios[depth], ("", BLACK, "", "D"), ends=ends, aside=0.2)
        ratio_axis(ax, ends)
        ax.set_xticks(x, list(ACTIVATIONS.values()))
        ax.set_xlim(-0.5, len(x) - 0.5)
        ax.set_ylabel("log ratio of losses")
    axes[0, -1].set_title("beta 1 over beta 0")
    for ax in axes[-1, :-1]:
        ax.set_xlabel("step")
    return figure


def _ratios(part: pd.DataFrame) -> np.ndarray:
    """Log ratio of the last losses with beta from 1 to those from 0, (activations, seeds)."""
    found = []
    for activation in ACTIVATIONS:
        losses = by_level(part[part["activation"] == activation], "beta", "batch_loss")[1]
        found.append(log_ratio(losses[1], losses[0]))
    return np.stack(found)


def _draw_curves(ax: Axes, part: pd.DataFrame) -> None:
    losses = part[part["metric"] == "batch_loss"]
    for beta, (_, color, line, _) in BETAS.items():
        steps, values = by_seed(losses[losses["beta"] == beta], "step")
        band(ax, list(steps), geometric(values), color=color, line=line)
    ax.axhline(GUESS, color=FAINT, linestyle=":", linewidth=1.1, zorder=1)
    ax.set_yscale("log")
    ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    ax.minorticks_off()
