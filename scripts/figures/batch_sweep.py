"""Does the noise of the batch's statistics regularise? Best test loss by size of ghost batch."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.style import config_of, dataset_label, new_figure, seed_count, titled
from gpubn.report.figures.sweep_plots import (
    MARKS,
    PLACEMENTS,
    SHADE,
    at_best_rate,
    diverged_note,
    draw_seeds,
    finite_range,
    hidden_layers,
    legend,
    log_ratio,
    ratio_axis,
    ratio_ends,
    weights,
)
from gpubn.report.words import ACTIVATIONS

TABLES = ("batch_sweep",)
CLAIMS = ("B12",)

# The claims' ledger decides these: what matters, and which arms are compared, by size of batch.
MATTERS = 0.02
DECIDING = {512: ("ghost_16",), 128: ("ghost_16", "none")}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One column a size of batch; best test loss above, below it the paired log ratios."""
    table = tables["batch_sweep"]
    c = config_of(table)
    rates = ", ".join(sorted(table["rate"].unique(), key=float))
    batches = sorted({int(batch) for batch in table["batch"]}, reverse=True)
    sizes = sorted(int(norm[6:]) for norm in table["norm"].unique() if norm.startswith("ghost_"))
    arms = [*(f"ghost_{size}" for size in sizes), "before", "none"]
    figure, axes = new_figure(
        2,
        len(batches),
        width=7.2,
        height=5.4,
        title=titled(table, "Best test loss by how many examples are normalised together"),
        legend=legend(PLACEMENTS, ["before", "none"], matters=f"±{MATTERS:g}"),
        caption=f"""
            Dataset: {dataset_label(table)}; {c["data.train_examples"]:,} training images drawn for
            each of n = {seed_count(table)} seeds, {hidden_layers(c)}
            {ACTIVATIONS[c["model.activation"]]} units, {weights(c)} weights. Top: lowest test loss
            within {c["optim.steps"]} steps at the best of the constant rates {rates}; batchnorm
            uses the statistics of the training images. Bottom: logarithm of the ratio of two such
            losses of the same seed; above 0 noise, or batchnorm as a whole, regularises. Shaded:
            what decides. {MARKS} {diverged_note(table)} {verdicts}
        """,
    )
    best = {
        norm: dict(zip(*at_best_rate(rows, "batch", "best_test_loss"), strict=True))
        for norm, rows in table.groupby("norm")
    }
    ratios = {
        (norm, batch): log_ratio(best["none"][batch], best["before"][batch])
        if norm == "none"
        else log_ratio(best["before"][batch], best[norm][batch])
        for norm in arms
        if norm != "before"
        for batch in batches
    }
    ends = finite_range(np.concatenate([loss for of in best.values() for loss in of.values()]))
    spread = ratio_ends([*ratios.values()], MATTERS)
    for column, batch in enumerate(batches):
        upper, lower = axes[:, column]
        for i, norm in enumerate(arms):
            style, at = PLACEMENTS["none" if norm == "none" else "before"], np.array([float(i)])
            draw_seeds(upper, at, best[norm][batch][None], style, ends=ends, aside=0.16)
            if norm != "before":
                draw_seeds(lower, at, ratios[norm, batch][None], style, ends=spread, aside=0.16)
            if norm in DECIDING.get(batch, ()):
                lower.axvspan(i - 0.4, i + 0.4, color=SHADE, linewidth=0, zorder=0)
        upper.set_ylim(*ends)
        ratio_axis(lower, spread, MATTERS)
        places = [i for i, norm in enumerate(arms) if norm != "before"]
        labels = [*(f"whole\nover {size}" for size in sizes), "none over\nwhole"]
        upper.set_xticks(range(len(arms)), [*map(str, sizes), "whole\nbatch", "none"])
        lower.set_xticks(places, labels)
        for ax in (upper, lower):
            ax.set_xlim(-0.5, len(arms) - 0.5)
            ax.grid(axis="x", visible=False)
            if column:
                ax.set_yticklabels([])
        everything = ", all training images" * (batch == c["data.train_examples"])
        upper.set_title(f"batches of {batch}{everything}")
        upper.set_xlabel("examples normalised together")
    axes[0, 0].set_ylabel("best test loss (nats)")
    axes[1, 0].set_ylabel("log ratio of losses")
    return figure
