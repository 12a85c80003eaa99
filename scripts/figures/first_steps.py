"""The first steps of training, and plateaus, by the first weights.

{dataset}; {network}, {training}, no batchnorm. Top: mini-batch loss, mean of {c[every]} steps, thin
each seed's, thick their geometric mean. Bottom: over what they were before training, geometric mean
and 95% t-interval of {n}; right: plateaus. {dots} Dashes: what matters, at the step that decides.

Logits: root mean square of an example's less their mean. A plateau: {STRETCH} values in a row
within {STILL:.0%}, followed by a fall of more than twice that.
"""

import numpy as np

from gpubn.report.claims.reduce import STRETCH, reduced
from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

STARTS = {name: looks.INITS[name] for name in ("rand", "rand_fan_in", "randn", "glorot")}
FIRST = (1, 2, 5, 10, 25, 50, 100)
SIZES = {"weight_norm": "norm of the output weights", "logit_spread": "spread of the logits"}
MATTERS = float(np.exp(-0.5))
DECIDES, STILL = 25, 0.02
GUESS = style.key("loss of a guess, ln 10", color=style.FAINT, linestyle=":")


@figure(__doc__, tables=("starts",), claims=("D21",), size=(7.8, 5.4))
@Panels(rows=2, columns=4)
@Legend(style.keys(STARTS, marker=False), more=[GUESS])
@Slide(((0, 0), (1, 0), (1, 1)))
def draw(sheet: Sheet) -> None:
    table = select(sheet.table, norm="none")
    losses, plateaus = select(table, metric="batch_loss"), []
    for ax, (init, look) in zip(sheet.axes[0], STARTS.items(), strict=True):
        steps, of_seeds = by(losses, "step", init=init)
        ax.plot(steps, of_seeds, color=look[1], linewidth=0.4, alpha=0.5)
        ax.plot(steps, marks.geometric(of_seeds).mean, color=look[1], linewidth=1.3)
        scales.log_ticks(ax, (0.2, 0.5, 1, 2, 5, 10, 20))
        scales.guess_line(ax)
        scales.step_axis(ax, losses)
        ax.set_ylim(*scales.ends(losses["value"].to_numpy(), log=True))
        ax.set(title=look[0], xlabel="step")
        later = steps > 0
        enough = later.sum() >= STRETCH
        found = (
            reduced("plateaus", steps[later], of_seeds[later], threshold=STILL) if enough else None
        )
        plateaus.append(forest.Line(look[0], found, look))
    sheet.axes[0, 0].set_ylabel("mini-batch loss (nats)")
    for ax, (metric, label) in zip(sheet.axes[1, :2], SIZES.items(), strict=True):
        rows = select(table, metric=metric, step=(0, *FIRST))
        if metric == "weight_norm":
            rows = select(rows, layer=rows["layer"].max())
        for init, look in STARTS.items():
            steps, of_seeds = by(rows, "step", init=init)
            ratios = of_seeds[1:] / of_seeds[0]
            marks.points(ax, steps[1:], marks.geometric(ratios), look)
        ax.axhline(1, color=style.FAINT, linewidth=0.8)
        scales.log_ticks(ax, (1, 5, 25, 100), along="x")
        scales.log_ticks(ax, (0.1, 0.2, 0.5, 1, 2, 5))
        ax.set_ylim(0.1, 6)
        ax.plot([DECIDES] * 2, [0.1, MATTERS], **style.BOUND)
        ax.set(title=label, xlabel="step", ylabel="over that before training")
    forest.draw_forest(sheet.join(1, slice(2, 4)), plateaus, bounds=(0.5,))
    sheet.joined[0].set(title="plateaus of a curve", xlabel="plateaus")
