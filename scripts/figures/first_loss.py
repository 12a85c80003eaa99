"""Document D: the first mini-batch loss under every initialisation against that of a guess."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpubn.report.figures.courses import Line, draw_lines, edge_note, plain_ticks, select
from gpubn.report.figures.style import (
    FAINT,
    INITS,
    MNIST_INITS,
    NORMS,
    config_of,
    dataset_label,
    is_published_data,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.published import FIRST_LOSS, ideal_first_loss

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D6")

TREATMENTS = ("none", "before", "after")
FIRST_INIT = MNIST_INITS[:4]
SMALL = ("rand_small", "glorot")
CLASSES = 10
MATTERS = 0.05


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Every initialisation and treatment; then those near a guess, less what a guess has."""
    table = tables["mnist_init"]
    c = config_of(table)
    losses = table[(table["metric"] == "batch_loss") & (table["step"] == 0)]
    published = is_published_data(table)
    low, high = FIRST_LOSS
    figure, axes = new_figure(
        1,
        2,
        width=7.6,
        height=5.0,
        title=titled(table, "Loss of the first mini-batch, by initialisation and batchnorm"),
        legend=[
            *(
                Line2D([], [], color=color, linestyle="", marker=m, markersize=4, label=label)
                for label, color, _, m in (NORMS[norm] for norm in TREATMENTS)
            ),
            Line2D([], [], color=FAINT, linewidth=0.8, label=f"a guess, ln {CLASSES}"),
            *([Line2D([], [], color=FAINT, linewidth=5, alpha=0.4, label="published")] * published),
        ],
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, biases 0, first batch of {
            c["optim.batch"]
        } images, before
            any update. Dots: n = {seed_count(table)} seeds; marks and bars: mean (left: geometric)
            and its 95% t-interval.
            {
            f"Grey, stars: the {low:g} to {high:g} of document D's one run; thin bars:"
            " 95% interval of one of our runs, of the logarithm." * published
        }
            Right: less ln {CLASSES}; dashes: the smallest difference that matters.
            {edge_note(losses, ("batch_loss",), ("right", "left"))} {verdicts}
        """,
    )
    everything, near = axes[0]
    lines = []
    for init in MNIST_INITS:
        stated = FIRST_LOSS if published and init in FIRST_INIT else None
        lines += _lines(losses, init, {"none": stated}, 0.0)
    draw_lines(everything, lines[:-1], log=True, origin=ideal_first_loss(CLASSES))
    if published:
        everything.axvspan(low, high, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
    everything.set_xlabel("loss of the first mini-batch (nats)")
    plain_ticks(everything.xaxis, *everything.get_xlim())
    lines = [line for init in SMALL for line in _lines(losses, init, {}, ideal_first_loss(CLASSES))]
    draw_lines(near, lines[:-1], marks=(-MATTERS, MATTERS), origin=0)
    near.set_xlabel(f"loss of the first mini-batch less ln {CLASSES} (nats)")
    return figure


def _lines(
    losses: pd.DataFrame, init: str, stated: dict[str, tuple[float, float] | None], less: float
) -> list[Line]:
    """One line a treatment, labelled at the middle one, and a gap."""
    lines = []
    for norm in TREATMENTS:
        seeds = select(losses, {"init": init, "norm": norm})["value"].to_numpy(dtype=np.float64)
        label = INITS[init][0] if norm == "before" else ""
        lines.append(Line(label, seeds - less, NORMS[norm], stated.get(norm)))
    return [*lines, Line("")]
