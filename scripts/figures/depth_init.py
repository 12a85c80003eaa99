"""He's initialisation against Glorot's, for ReLU and tanh, by depth and batchnorm."""

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
    offsets,
    ratio_axis,
    ratio_ends,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("depth_grid",)
CLAIMS = ("D14",)

# The claims' ledger decides these: the claimed initialisation and the other one; what matters; and
# the depths whose mean decides, without batchnorm.
CLAIMED = {"relu": ("he", "glorot"), "tanh": ("glorot", "he")}
MATTERS = 0.05
DECIDING = (5, 10, 20)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an activation, one line a place of batchnorm, one dot a seed."""
    table = tables["depth_grid"]
    c = config_of(table)
    rates = ", ".join(sorted(table["rate"].unique(), key=float))
    deciding = ", ".join(map(str, DECIDING))
    figure, axes = new_figure(
        1,
        len(CLAIMED),
        width=7.2,
        height=4.0,
        title=titled(table, "Training loss under the other initialisation over the claimed one"),
        legend=legend(PLACEMENTS, list(PLACEMENTS), matters=f"±{MATTERS:g}"),
        legend_columns=4,
        caption=f"""
            Dataset: {dataset_label(table)}; hidden layers of {c["model.width"]} units, n =
            {seed_count(table)} seeds. Up: logarithm of the ratio of two losses of the same seed,
            each the mean of the last {c["every"]} of {c["optim.steps"]} mini-batches of
            {c["optim.batch"]}, at the best of the constant rates {rates}; above 0 the claimed
            initialisation is better. Shaded: mean over {deciding} layers, which decides where there
            is no batchnorm. {MARKS} {diverged_note(table)} {verdicts}
        """,
    )
    found = {}
    for activation, (claimed, other) in CLAIMED.items():
        for norm in PLACEMENTS:
            rows = table[(table["activation"] == activation) & (table["norm"] == norm)]
            depths, right = at_best_rate(rows[rows["init"] == claimed], "depth", "batch_loss")
            wrong = at_best_rate(rows[rows["init"] == other], "depth", "batch_loss")[1]
            found[activation, norm] = log_ratio(wrong, right)
    ends = ratio_ends([*found.values()], MATTERS)
    at = np.arange(len(depths))
    for ax, (activation, (claimed, other)) in zip(axes[0], CLAIMED.items(), strict=True):
        ax.axvspan(len(at) - 0.5, len(at) + 0.5, color=SHADE, linewidth=0, zorder=0)
        for shift, (norm, style) in zip(offsets(3, 0.4), PLACEMENTS.items(), strict=True):
            ratio = found[activation, norm]
            mean = ratio[np.isin(depths, DECIDING)].mean(axis=0, keepdims=True)
            draw_seeds(ax, at + shift, ratio, style, ends=ends, aside=0.09)
            draw_seeds(ax, at[-1:] + 1 + shift, mean, style, ends=ends, aside=0.09)
        ratio_axis(ax, ends, MATTERS)
        ax.set_xticks(range(len(at) + 1), [*(f"{depth:g}" for depth in depths), "mean"])
        ax.set_xlim(-0.5, len(at) + 0.5)
        ax.grid(axis="x", visible=False)
        ax.set_title(f"{ACTIVATIONS[activation]}: {INITS[other][0]} over {INITS[claimed][0]}")
        ax.set_xlabel("hidden layers (not to scale)")
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    axes[0, 0].set_ylabel("log ratio of losses")
    return figure
