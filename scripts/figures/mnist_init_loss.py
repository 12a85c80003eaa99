"""Document D: loss curves under every reading of its initialisations, batchnorm or not."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.plotting import (
    FAINT,
    INITS,
    MNIST_INITS,
    NORMS,
    band,
    by_seed,
    config_of,
    dataset_label,
    geometric,
    is_published_data,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.published import (
    FINAL_LOSS_FIRST_INIT,
    FINAL_LOSS_SCALED,
    FINAL_TRAIN_LOSS_BATCHNORM,
    FIRST_LOSS,
    ideal_first_loss,
)

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D2", "D3", "D6")

FIRST_INIT = MNIST_INITS[:4]
CROSS = Line2D([], [], color="k", marker="x", linestyle="", label="published value")
TICKS = (0.01, 0.05, 0.2, 0.5, 1, 2, 5, 10, 20)


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an initialisation, one curve a treatment; crosses are published values."""
    table = tables["mnist_init"]
    c = config_of(table)
    losses = table[table["metric"] == "batch_loss"]
    figure, axes = new_figure(
        2,
        3,
        width=7.2,
        height=5.2,
        title=titled(table, "Training loss, by initialisation and batchnorm"),
        legend=[
            *keys(NORMS, list(NORMS)),
            Line2D([], [], color=FAINT, linestyle="--", label="-log(1/10)"),
            *([CROSS] if is_published_data(table) else []),
        ],
        legend_columns=4,
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, batch {c["optim.batch"]}, SGD, rate {c["optim.rate"]}
            falling linearly to {c["optim.min_rate"]}, batchnorm as in document D's listing
            (unbiased standard deviation, no eps). Mini-batch training loss, the mean of
            {c["every"]} steps (step 0: the first batch): geometric mean of n =
            {seed_count(table)} seeds with its 95% t-interval. Dashed: -log(1/10), the
            loss of a guess without preference. Crosses (MNIST alone): what document D states;
            first four panels: for its 'first initialisation', of which listing and text allow
            these four readings; Glorot: with batchnorm. Curves without γ β often lie under those
            with them. {verdicts}
        """,
    )
    lowest = min(0.12, 0.8 * float(losses["value"].min()))
    for ax, init in zip(axes.flat, MNIST_INITS, strict=True):
        for norm, (_, color, line, _) in NORMS.items():
            steps, values = by_seed(
                losses[(losses["init"] == init) & (losses["norm"] == norm)], "step"
            )
            band(ax, list(steps), geometric(values), color=color, line=line)
        last = int(losses["step"].max())
        ax.axhline(ideal_first_loss(10), color=FAINT, linestyle="--", linewidth=0.8)
        if not is_published_data(table):
            pass
        elif init in FIRST_INIT:
            for x, y in ((0, sum(FIRST_LOSS) / 2), (last, FINAL_LOSS_FIRST_INIT)):
                _cross(ax, x, y)
        elif init == "rand_small":
            _cross(ax, last, FINAL_LOSS_SCALED)
        else:
            _cross(ax, last, FINAL_TRAIN_LOSS_BATCHNORM)
        ax.set_yscale("log")
        ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        ax.minorticks_off()
        ax.set_ylim(lowest, 30)
        ax.set_title(INITS[init][0])
        ax.set_xlabel("step")
    for ax in axes[:, 0]:
        ax.set_ylabel("training loss (nats)")
    return figure


def _cross(ax: Axes, x: float, y: float) -> None:
    ax.plot([x], [y], "x", color="k", markersize=6, markeredgewidth=1.4, clip_on=False, zorder=6)
