"""Document D: loss curves under every reading of its initialisations, and how they end."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import Line, draw_lines, ends, select
from gpubn.report.figures.style import (
    FAINT,
    INITS,
    MNIST_INITS,
    NORMS,
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
from gpubn.report.published import (
    FINAL_LOSS_FIRST_INIT,
    FINAL_LOSS_SCALED,
    FINAL_TRAIN_LOSS_BATCHNORM,
    FIRST_LOSS,
    digits_range,
    ideal_first_loss,
)

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D2", "D3", "D11")

TREATMENTS = ("none", "before", "after")
FIRST_INIT = MNIST_INITS[:4]
STATED = {
    **{(init, "none"): digits_range(FINAL_LOSS_FIRST_INIT) for init in FIRST_INIT},
    ("rand_small", "none"): digits_range(FINAL_LOSS_SCALED),
    ("glorot", "after"): digits_range(FINAL_TRAIN_LOSS_BATCHNORM),
}
"""Final losses that document D prints, and of which network."""
STAR = Line2D([], [], color="k", marker="*", linestyle="", label="published value")
TICKS = (0.05, 0.2, 0.5, 1, 2, 5, 10, 20)
TWICE = float(np.log(2))


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """One panel an initialisation, one curve a run; then final losses, and what is compared."""
    table = tables["mnist_init"]
    c = config_of(table)
    losses = table[table["metric"] == "batch_loss"]
    published = is_published_data(table)
    figure, axes = new_figure(
        3,
        3,
        width=7.6,
        height=7.6,
        title=titled(table, "Training loss, by initialisation and batchnorm"),
        legend=[
            *keys(NORMS, TREATMENTS),
            Line2D([], [], color=FAINT, linestyle="--", label="-log(1/10)"),
            *([STAR] * published),
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, batch {c["optim.batch"]}, SGD, rate {c["optim.rate"]}
            falling linearly to {c["optim.min_rate"]}, batchnorm as in document D's listing. Curves:
            mini-batch loss, mean of {c["every"]} steps (step 0: the first batch), thin of each of n
            = {seed_count(table)} seeds, thick their geometric mean. Bottom: the last of these;
            ratios of the same seed's. Dots: seeds; marks and bars: mean and its 95% t-interval;
            {
            "stars: what document D prints of one run; thin bars: 95% interval of one of ours;"
            * published
        } dashes: the smallest effect that matters. {verdicts}
        """,
    )
    last = int(losses["step"].max())
    for ax, init in zip(axes[:2].flat, MNIST_INITS, strict=True):
        for norm in TREATMENTS:
            _, color, line, _ = NORMS[norm]
            steps, values = by_seed(select(losses, {"init": init, "norm": norm}), "step")
            x = np.asarray(steps, dtype=np.float64)
            ax.plot(x, values, color=color, linewidth=0.4, alpha=0.4)
            ax.plot(x, geometric(values).mean, color=color, linestyle=line, linewidth=1.2)
        ax.axhline(ideal_first_loss(10), color=FAINT, linestyle="--", linewidth=0.8)
        if published and init in FIRST_INIT:
            _star(ax, 0, FIRST_LOSS)
        for norm in TREATMENTS * published:
            if stated := STATED.get((init, norm)):
                _star(ax, last, stated)
        ax.set_yscale("log")
        ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        ax.minorticks_off()
        ax.set_ylim(*ends(losses["value"].to_numpy(dtype=np.float64), log=True))
        ax.set_title(INITS[init][0])
        ax.set_xlabel("step")
    for ax in axes[:2, 0]:
        ax.set_ylabel("mini-batch loss (nats)")

    def final(init: str, norm: str = "none", metric: str = "batch_loss") -> np.ndarray:
        rows = select(table, {"init": init, "norm": norm, "metric": metric, "step": last})
        return rows.sort_values("seed")["value"].to_numpy(dtype=np.float64)

    ended, ratios, sooner = axes[2]
    lines = [
        Line(INITS[init][0], final(init, norm), NORMS[norm], stated if published else None)
        for (init, norm), stated in STATED.items()
    ]
    draw_lines(ended, lines)
    ended.set_xlabel("last mini-batch losses (nats)")
    top, low = digits_range(FINAL_LOSS_FIRST_INIT), digits_range(FINAL_LOSS_SCALED)
    stated = (float(np.log(top[0] / low[1])), float(np.log(top[1] / low[0])))
    lines = [
        Line(
            INITS[init][0],
            np.log(final(init) / final("rand_small")),
            NORMS["none"],
            stated if published else None,
        )
        for init in FIRST_INIT
    ]
    draw_lines(ratios, lines, marks=(TWICE,), origin=0)
    ratios.set_xlabel(f"D2: last losses, over those of\n{INITS['rand_small'][0]} (log ratio)")
    lines = []
    for loss in ("0.5", "1"):
        scaled, glorot = (
            np.minimum(final(init, metric=f"steps_to_loss[{loss}]"), last)
            for init in ("rand_small", "glorot")
        )
        lines.append(Line(f"loss {loss}", np.log(scaled / glorot), NORMS["none"]))
    draw_lines(sooner, lines, marks=(TWICE,), origin=0)
    sooner.set_xlabel(f"D3: steps to a loss, {INITS['rand_small'][0]}\nover Glorot (log ratio)")
    return figure


def _star(ax: Axes, x: float, stated: tuple[float, float]) -> None:
    y = sum(stated) / 2
    ax.plot([x], [y], "*", color="k", markersize=8, markeredgewidth=0.3, clip_on=False, zorder=6)
