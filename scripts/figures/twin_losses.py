"""Document D's loss curves, of one run of ours and of all.

{dataset}; {network}, {training}, {rate}. Above: loss of every mini-batch in run {first}. Middle:
means of {c[every]} steps, {n}, their mean and 95% t-interval; left: all readings of the first
weights. Bottom: dots: seeds; marks, bars: mean, 95% t-interval; thin bars: 95% interval of one run.

Document D's text and listing differ on its first weights: {FIRST} is the reading that stays at the
loss of a guess. Batchnorm stands after tanh.
"""

import numpy as np
from matplotlib.axes import Axes

from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import by, first_run, seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.published import (
    FINAL_LOSS_FIRST_INIT,
    FINAL_LOSS_SCALED,
    FINAL_TEST_LOSS_BATCHNORM,
    FINAL_TRAIN_LOSS_BATCHNORM,
    FIRST_LOSS,
    digits_range,
)
from gpubn.report.statistics import mean_interval

FIRST = looks.INITS["rand"][0]
PICTURES = {
    ("rand", "none"): f"first weights:\n{FIRST}",
    ("rand_small", "none"): f"scaled weights:\n{looks.INITS['rand_small'][0]}",
    ("glorot", "none"): "Glorot normal\n",
    ("glorot", "after"): "Glorot normal,\nbatchnorm after tanh",
}
FINAL = {
    ("rand", "none"): digits_range(FINAL_LOSS_FIRST_INIT),
    ("rand_small", "none"): digits_range(FINAL_LOSS_SCALED),
    ("glorot", "after"): digits_range(FINAL_TRAIN_LOSS_BATCHNORM),
}
"""Final losses of mini-batches that document D prints."""
PRINTED = {
    "first weights, first loss": ("batch_loss", ("rand", "none"), 0, FIRST_LOSS),
    "first weights, last loss": ("batch_loss", ("rand", "none"), -1, FINAL["rand", "none"]),
    "scaled weights, last loss": (
        "batch_loss", ("rand_small", "none"), -1, FINAL["rand_small", "none"],
    ),
    "batchnorm, last loss": ("batch_loss", ("glorot", "after"), -1, FINAL["glorot", "after"]),
    "batchnorm, test loss": (
        "test_loss", ("glorot", "after"), -1, digits_range(FINAL_TEST_LOSS_BATCHNORM),
    ),
}  # fmt: skip
"""Name -> metric, network, step (-1 the last), printed range."""
LIMITS = {("run", "rand"): (2.0, 4.0), ("seeds", "rand"): (0.0, 7.0)}
"""Row, weights -> nats at which its axis ends, where that is not 0 and 3."""
TICKS = (0.1, 0.2, 0.3, 0.5, 1, 2, 4, 8)
READINGS = {init: looks.MNIST_INITS[init] for init in looks.FIRST_INIT}
GUESS = style.key("loss of a guess, ln 10", color=style.FAINT, linestyle=":")


@figure(
    __doc__,
    tables=("mnist_init", "mnist_run"),
    claims=("D1", "D2", "D3", "D11"),
    size=(7.8, 5.6),
)
@Panels(
    rows={
        "run": "one run\nmini-batch loss (nats)",
        "seeds": "all runs\nloss (nats)",
        "printed": "",
    },
    columns=PICTURES,
    heights=(1, 1, 0.8),
    x={"seeds": "step"},
)
@Legend(READINGS, more=[GUESS], marker=False, published=True)
@Slide(((0, 0), (0, 1), (0, 3)), source="{dataset}, one run of {n}; stars: document D's run")
def draw(sheet: Sheet) -> None:
    table, runs = sheet.table, first_run(sheet.tables["mnist_run"])
    sheet.said["first"] = int(runs["seed"].min())
    joined = sheet.join(2, slice(None))
    for row, picture, ax in sheet.panels():
        if row == "run":
            steps, loss = by(runs, "step", metric="batch_loss", init=picture[0], norm=picture[1])
            ax.plot(steps, loss, color=style.INK, linewidth=0.35)
        elif row == "seeds":
            _draw_seeds(ax, sheet, *picture)
        if row in ("run", "seeds"):
            _finish(ax, sheet, *picture)
            ax.set_ylim(*LIMITS.get((row, picture[0]), (0.0, 3.0)))
    lines = []
    for name, (metric, (init, norm), step, printed) in PRINTED.items():
        at = int(table["step"].max()) if step else 0
        of_seeds = seeds(table, metric=metric, init=init, norm=norm, step=at)
        stated = printed if sheet.is_published_data else None
        lines.append(forest.Line(name, of_seeds, looks.NORMS[norm], stated))
    forest.draw_forest(joined, lines, log=True)
    scales.log_ticks(joined, TICKS, along="x")
    joined.set_xlabel("loss (nats)")


def _draw_seeds(ax: Axes, sheet: Sheet, init: str, norm: str) -> None:
    losses = select(sheet.table, metric="batch_loss", norm=norm)
    if init in READINGS:
        for reading in sheet.present("init", READINGS):
            marks.curve(ax, losses, "step", READINGS[reading], init=reading)
        return
    steps, of_seeds = by(losses, "step", init=init)
    ax.plot(steps, of_seeds, color=style.FAINT, linewidth=0.4, alpha=0.6)
    marks.band(ax, steps, mean_interval(of_seeds), ("", style.INK, "-", ""))


def _finish(ax: Axes, sheet: Sheet, init: str, norm: str) -> None:
    last = int(sheet.table["step"].max())
    scales.guess_line(ax)
    scales.step_axis(ax, sheet.table)
    if not sheet.is_published_data:
        return
    stars = [(last, FINAL[init, norm])] if (init, norm) in FINAL else []
    stars += [(0, FIRST_LOSS)] if init in READINGS else []
    for step, printed in stars:
        at = float(np.mean(printed))
        ax.plot(step, at, "*", color="k", markersize=8, markeredgewidth=0.3, zorder=6)
