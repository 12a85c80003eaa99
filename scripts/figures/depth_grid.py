"""Does it train? Final loss by depth, batchnorm, activation and initialisation, and the gain."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import (
    INITS,
    config_of,
    dataset_label,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    SHADE,
    at_best_rate,
    diverged_note,
    draw_seeds,
    legend,
    log_ratio,
    loss_axis,
    loss_ends,
    offsets,
    ratio_axis,
    ratio_ends,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("A7", "B7", "B11", "D12", "D14")

COLUMNS = ("glorot", "he", "small", "rand_fan_in")
# The claims' ledger decides these: what matters (A7, B11, D12), and which depths D12 compares.
MATTERS, DEPTHS = 0.1, (1, 10)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Two rows an activation, loss and gain; one column an initialisation."""
    table = tables["depth_grid"]
    c = config_of(table)
    columns = [init for init in COLUMNS if init in set(table["init"])]
    rates = ", ".join(sorted(table["rate"].unique(), key=float))
    figure, axes = new_figure(
        2 * len(ACTIVATIONS),
        len(columns),
        width=7.4,
        height=8.4,
        title=titled(table, "Training loss, and what batchnorm gains, by depth and initialisation"),
        legend=legend(PLACEMENTS, list(PLACEMENTS), guess=True, matters=f"±{MATTERS:g}"),
        legend_columns=3,
        caption=f"""
            Dataset: {dataset_label(table)}; hidden layers of {c["model.width"]} units, depth not to
            scale. Upper panels: loss of the last {c["every"]} of {c["optim.steps"]} mini-batches of
            {c["optim.batch"]}, for each seed at the best of the constant rates {rates}, n =
            {seed_count(table)} seeds, means geometric. Lower panels: logarithm of the loss without
            batchnorm over that with it, seed by seed; above 0 batchnorm helps; Δ: gain at
            {DEPTHS[1]} layers less gain at {DEPTHS[0]}. {MARKS} {diverged_note(table)} {verdicts}
        """,
    )
    axes[0, 0].get_gridspec().set_height_ratios([1.35, 1] * len(ACTIVATIONS))
    cells = {
        (activation, init, norm): at_best_rate(rows, "depth", "batch_loss")
        for (activation, init, norm), rows in table.groupby(["activation", "init", "norm"])
    }
    losses = {key: values for key, (_, values) in cells.items()}
    gains = {
        (activation, init, norm): log_ratio(losses[activation, init, "none"], of_norm)
        for (activation, init, norm), of_norm in losses.items()
        if norm != "none"
    }
    depths = cells["relu", columns[0], "none"][0]
    few, many = (np.flatnonzero(depths == depth) for depth in DEPTHS)
    grown = {key: gain[many] - gain[few] for key, gain in gains.items()}
    ends = loss_ends([*losses.values()])
    gain_ends = ratio_ends([*gains.values(), *grown.values()], MATTERS)
    for row, (activation, name) in enumerate(ACTIVATIONS.items()):
        for column, init in enumerate(columns):
            upper, lower = axes[2 * row : 2 * row + 2, column]
            for shift, (norm, style) in zip(offsets(3, 0.44), PLACEMENTS.items(), strict=True):
                at = np.arange(len(depths)) + shift
                found = losses[activation, init, norm]
                draw_seeds(upper, at, found, style, ends=ends, log=True, aside=0.1)
                if norm != "none":
                    for places, of in ((at, gains), (at[-1:] + 1, grown)):
                        found = of[activation, init, norm]
                        draw_seeds(lower, places, found, style, ends=gain_ends, aside=0.1)
            place = len(depths)
            lower.axvspan(place - 0.5, place + 0.5, color=SHADE, linewidth=0, zorder=0)
            loss_axis(upper, ends)
            ratio_axis(lower, gain_ends, MATTERS)
            for ax in (upper, lower):
                ax.set_xlim(-0.5, place + 0.5)
                ax.grid(axis="x", visible=False)
                if column:
                    ax.set_yticklabels([])
            upper.set_xticks(range(place), [""] * place)
            lower.set_xticks(range(place + 1), [*(f"{depth:g}" for depth in depths), "Δ"])
            if row == 0:
                upper.set_title(INITS[init][0])
        axes[2 * row, 0].set_ylabel(f"{name}\n\nloss (nats)")
        axes[2 * row + 1, 0].set_ylabel("gain\n(log ratio)")
    for ax in axes[-1]:
        ax.set_xlabel("hidden layers")
    return figure
