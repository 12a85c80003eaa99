"""Loss of the first mini-batch, by initialisation and batchnorm.

{dataset}; {network}, biases 0, first batch of {c[optim.batch]} images, before any update. {dots}
{stars} Right: less ln 10; dashes: the smallest difference that matters.

Means on the left are geometric. Published, grey and as stars: the {LOW:g} to {HIGH:g} of document
D's one run; the thin bars are of the logarithm.
"""

import functools

from gpubn.report.figures import forest, looks, scales, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure
from gpubn.report.published import FIRST_LOSS

MATTERS = 0.05
LOW, HIGH = FIRST_LOSS


GUESS = style.key("a guess, ln 10", color=style.FAINT, linewidth=0.8)


@figure(__doc__, tables=("mnist_init",), claims=("D1", "D6"), size=(7.6, 4.6))
@Panels(
    columns=2,
    x=("loss of the first mini-batch (nats)", "loss of the first mini-batch less ln 10 (nats)"),
)
@Legend(looks.TREATMENTS, more=[GUESS], line=False, published=True)
def draw(sheet: Sheet) -> None:
    published = sheet.is_published_data
    losses = select(sheet.table, metric="batch_loss", step=0)

    def line(init: str, norm: str, less: float = 0.0) -> forest.Line:
        stated = published and not less and norm == "none" and init in looks.FIRST_INIT
        of_seeds = seeds(losses, init=init, norm=norm) - less
        return forest.Line("", of_seeds, looks.NORMS[norm], FIRST_LOSS if stated else None)

    everything, near = sheet.axes[0]
    forest.draw_forest(everything, forest.by_init(losses, line), log=True, origin=scales.GUESS)
    if published:
        everything.axvspan(LOW, HIGH, color=style.FAINT, alpha=0.3, linewidth=0, zorder=0)
    scales.plain_ticks(everything.xaxis)
    near_guess = functools.partial(line, less=scales.GUESS)
    lines = forest.by_init(losses, near_guess, ("rand_small", "glorot"))
    forest.draw_forest(near, lines, bounds=(-MATTERS, MATTERS), origin=0)
