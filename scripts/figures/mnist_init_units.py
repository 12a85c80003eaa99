"""Document D: bar charts of each hidden unit's mean activation, without batchnorm."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import (
    BLUE,
    INITS,
    MNIST_INITS,
    config_of,
    dataset_label,
    new_figure,
    number,
    seed_count,
    titled,
)
from gpubn.stats import mean_interval

TABLES = ("mnist_init",)
CLAIMS = ("D4",)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Before (top) and after (bottom) training; one column an initialisation."""
    table = tables["mnist_init"]
    c = config_of(table)
    plain = table[table["norm"] == "none"]
    units = plain[plain["metric"].str.startswith("unit_mean[")]
    last = int(units["step"].max())
    figure, axes = new_figure(
        2,
        len(MNIST_INITS),
        width=7.8,
        height=3.6,
        title=titled(table, "Mean activation of each unit, without batchnorm"),
        caption=f"""
            Dataset: {dataset_label(table)}. Mean activation of each of the {c["model.width"]}
            {c["model.activation"]} units over 1,000 training images, no batchnorm: one network
            (seed {int(units["seed"].min())}), before training and after {last:,} steps. Above
            each chart: share of units with a mean above 0.99, its mean over n =
            {seed_count(plain)} seeds and its 95% t-interval. Document D shows such a
            chart for its first initialisation, most bars at 1, and one for the scaled weights.
            {verdicts}
        """,
    )
    for column, init in enumerate(MNIST_INITS):
        for row, step in enumerate((0, last)):
            ax = axes[row, column]
            here = (plain["init"] == init) & (plain["step"] == step)
            bars = units[(units["init"] == init) & (units["step"] == step)]
            order = bars["metric"].str.extract(r"\[(\d+)\]")[0].astype(int).to_numpy()
            ax.bar(order, bars["value"].to_numpy(), width=1.0, color=BLUE, linewidth=0)
            share = plain.loc[here & (plain["metric"] == "pinned_share"), "value"]
            mean, low, high = mean_interval(share.to_numpy(dtype=np.float64))
            ax.set_title(
                f"{INITS[init][0]}\n{_percent(mean)}% [{_percent(low)}, {_percent(high)}] at 1",
                fontsize=6.4,
            )
            ax.set_ylim(-1.05, 1.05)
            ax.set_xticks([0, 64, 127])
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel(f"{'before' if row == 0 else 'after'} training\nmean activation")
            if row:
                ax.set_xlabel("unit")
    return figure


def _percent(share: np.ndarray) -> str:
    percent = 100 * float(share)
    return "<0.01" if 0 < percent < 0.01 else number(percent)
