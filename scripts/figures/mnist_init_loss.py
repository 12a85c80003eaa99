"""Training loss, by initialisation and batchnorm.

{dataset}; {network}, {training}, {rate}. Curves: mini-batch loss, mean of {c[every]} steps, thin
each seed's, thick their geometric mean. Bottom: at the end; ratios of the same seed's. {dots}
{stars} Dashes: what matters.

SGD, batchnorm as in document D's listing; the loss at step 0 is that of the first batch. Published:
of document D's one run.
"""

import numpy as np
from matplotlib.axes import Axes

from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import by, seeds, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.published import (
    FINAL_LOSS_FIRST_INIT,
    FINAL_LOSS_SCALED,
    FINAL_TRAIN_LOSS_BATCHNORM,
    FIRST_LOSS,
    digits_range,
)

STATED = {
    **{(init, "none"): digits_range(FINAL_LOSS_FIRST_INIT) for init in looks.FIRST_INIT},
    ("rand_small", "none"): digits_range(FINAL_LOSS_SCALED),
    ("glorot", "after"): digits_range(FINAL_TRAIN_LOSS_BATCHNORM),
}
"""Final losses that document D prints, and of which network."""
TICKS = (0.05, 0.2, 0.5, 1, 2, 5, 10, 20)
TWICE = float(np.log(2))
SCALED = looks.INITS["rand_small"][0]


GUESS = style.key("loss of a guess, ln 10", color=style.FAINT, linestyle="--")


@figure(__doc__, tables=("mnist_init",), claims=("D1", "D2", "D3", "D11"), size=(7.6, 7.2))
@Panels(rows=3, columns=3)
@Legend(looks.TREATMENTS, more=[GUESS], marker=False, published=True)
@Slide(((0, 2), (1, 1), (1, 2)))
def draw(sheet: Sheet) -> None:
    table, published = sheet.table, sheet.is_published_data
    losses = select(table, metric="batch_loss")
    last = int(losses["step"].max())
    for ax, init in zip(sheet.axes[:2].flat, looks.MNIST_INITS, strict=True):
        for norm, (_, color, line, _) in looks.TREATMENTS.items():
            steps, of_seeds = by(losses, "step", init=init, norm=norm)
            ax.plot(steps, of_seeds, color=color, linewidth=0.4, alpha=0.4)
            mean = marks.geometric(of_seeds).mean
            ax.plot(steps, mean, color=color, linestyle=line, linewidth=1.2)
        ax.axhline(scales.GUESS, color=style.FAINT, linestyle="--", linewidth=0.8)
        if published and init in looks.FIRST_INIT:
            _star(ax, 0, FIRST_LOSS)
        for norm in [norm for norm in looks.TREATMENTS if published and (init, norm) in STATED]:
            _star(ax, last, STATED[init, norm])
        scales.log_ticks(ax, TICKS)
        ax.set_ylim(*scales.ends(values(losses), log=True))
        ax.set(title=looks.INITS[init][0], xlabel="step")
    for ax in sheet.axes[:2, 0]:
        ax.set_ylabel("mini-batch loss (nats)")

    def final(init: str, norm: str = "none", metric: str = "batch_loss") -> np.ndarray:
        return seeds(table, metric=metric, step=last, init=init, norm=norm)

    ended, ratios, sooner = sheet.axes[2]
    lines = []
    for (init, norm), stated in STATED.items():
        printed = stated if published else None
        line = forest.Line(looks.INITS[init][0], final(init, norm), looks.NORMS[norm], printed)
        lines.append(line)
    forest.draw_forest(ended, lines)
    ended.set_xlabel("last mini-batch losses (nats)")
    top, low = digits_range(FINAL_LOSS_FIRST_INIT), digits_range(FINAL_LOSS_SCALED)
    stated = (float(np.log(top[0] / low[1])), float(np.log(top[1] / low[0])))
    compared = {init: np.log(final(init) / final("rand_small")) for init in looks.FIRST_INIT}
    lines = [
        forest.Line(looks.INITS[init][0], ratio, looks.NORMS["none"], stated if published else None)
        for init, ratio in compared.items()
    ]
    forest.draw_forest(ratios, lines, bounds=(TWICE,), origin=0)
    ratios.set_xlabel(f"D2: last losses, over those of\n{SCALED} (log ratio)")
    lines = []
    for loss in ("0.5", "1"):
        steps_scaled, steps_glorot = (
            np.minimum(final(init, metric=f"steps_to_loss[{loss}]"), last)
            for init in ("rand_small", "glorot")
        )
        ratio = np.log(steps_scaled / steps_glorot)
        lines.append(forest.Line(f"loss {loss}", ratio, looks.NORMS["none"]))
    forest.draw_forest(sooner, lines, bounds=(TWICE,), origin=0)
    sooner.set_xlabel(f"D3: steps to a loss, {SCALED}\nover Glorot (log ratio)")


def _star(ax: Axes, x: float, stated: tuple[float, float]) -> None:
    y = sum(stated) / 2
    ax.plot([x], [y], "*", color="k", markersize=8, markeredgewidth=0.3, clip_on=False, zorder=6)
