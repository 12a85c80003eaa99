"""Training with beta starting at 0 or at 1: loss curves, and the paired difference at the end."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.plotting import (
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
from gpubn.sweep_plots import (
    DIFFERENCES,
    GUESS,
    by_level,
    difference_axis,
    diverged_note,
    draw_differences,
    finite_range,
    paired_differences,
)
from gpubn.words import ACTIVATIONS

TABLES = ("initial_beta",)
CLAIMS = ("B6",)

BETAS: dict[str, Style] = {
    "0.0": ("beta starts at 0", BLUE, "-", "o"),
    "1.0": ("beta starts at 1", ORANGE, "--", "s"),
}
DIFFERENCE: Style = ("beta from 1 less from 0", BLACK, "", "D")
TICKS = (0.2, 0.5, 1, 2, 5)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One row a depth, one column an activation; the last column holds the differences."""
    table = tables["initial_beta"]
    c = config_of(table)
    depths = sorted(table["depth"].unique(), key=int)
    figure, axes = new_figure(
        len(depths),
        len(ACTIVATIONS) + 1,
        width=7.4,
        height=4.9,
        title=titled(table, "Training with beta starting at 0 and at 1"),
        legend=keys(BETAS, list(BETAS)),
        caption=f"""
            Dataset: {dataset_label(table)}. Batchnorm before the activation, gamma starting at 1,
            hidden layers of {c["model.width"]} units, {c["optim.steps"]} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]} falling linearly to {c["optim.min_rate"]}.
            First three columns: mini-batch training loss, the mean of {c["every"]} steps (step 0:
            the first batch); lines: geometric mean of n = {seed_count(table)} seeds; bands: 95%
            t-interval; dotted: -log(1/10), the loss of a guess. Last column: final training
            loss in inference mode with beta from 1 less that from 0, the same seed; below 0,
            starting at 1 has the lower loss. {DIFFERENCES}
            {diverged_note(table)} {verdicts}
        """,
    )
    low, high = finite_range(table.loc[table["metric"] == "batch_loss", "value"])
    differences = {depth: _differences(table[table["depth"] == depth]) for depth in depths}
    edge = finite_range(pd.Series(np.abs([*differences.values()]).ravel()))[1] or 1.0
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
                ax.set_ylabel(f"{depth} {layers}\n\ntraining loss (nats)")
        ax, x = axes[row, -1], np.arange(len(ACTIVATIONS))
        draw_differences(ax, x, differences[depth], DIFFERENCE, edge=edge)
        difference_axis(ax, edge)
        ax.set_xticks(x, list(ACTIVATIONS.values()))
        ax.set_xlim(-0.5, len(x) - 0.5)
        ax.set_ylabel("difference (nats)")
    axes[0, -1].set_title(DIFFERENCE[0])
    for ax in axes[-1, :-1]:
        ax.set_xlabel("step")
    return figure


def _differences(part: pd.DataFrame) -> np.ndarray:
    """Final training loss with beta from 1 less from 0, (activations, seeds)."""
    found = []
    for activation in ACTIVATIONS:
        rows = part[part["activation"] == activation]
        _, losses = by_level(rows, "beta", "train_loss")
        found.append(paired_differences(losses[1], losses[0]))
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
