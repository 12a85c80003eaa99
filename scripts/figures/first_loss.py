"""Document D: the first mini-batch loss under every initialisation against that of a guess."""

import functools

from matplotlib.lines import Line2D

from gpubn.report.figures.forest import ForestLine, by_init, draw_forest
from gpubn.report.figures.marks import edge_note
from gpubn.report.figures.scales import GUESS, plain_ticks
from gpubn.report.figures.selection import seeds, select
from gpubn.report.figures.sheet import Sheet
from gpubn.report.figures.style import FAINT, FIRST_INIT, NORMS, TREATMENTS, keys
from gpubn.report.published import FIRST_LOSS

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D6")

MATTERS = 0.05


def draw(sheet: Sheet) -> None:
    """Every initialisation and treatment; then those near a guess, less what a guess has."""
    table, published = sheet.table, sheet.is_published_data
    losses = select(table, metric="batch_loss", step=0)
    low, high = FIRST_LOSS
    grey = Line2D([], [], color=FAINT, linewidth=5, alpha=0.4, label="published")
    stars = f"Grey, stars: the {low:g} to {high:g} of document D's one run; thin bars: 95% interval"
    stars += " of one of our runs, of the logarithm."
    text = f"""Loss of the first mini-batch, by initialisation and batchnorm

        Dataset: {sheet.dataset}. One hidden layer of {sheet.config["model.width"]}
        {sheet.config["model.activation"]} units, biases 0, first batch of
        {sheet.config["optim.batch"]} images, before any update. Dots: n = {sheet.seeds} seeds;
        marks and bars: mean (left: geometric) and its 95% t-interval. {stars * published} Right:
        less ln 10; dashes: the smallest difference that matters.
        {edge_note(losses, ("batch_loss",), ("right", "left"))}
    """
    legend = [
        *keys(TREATMENTS, line=False),
        Line2D([], [], color=FAINT, linewidth=0.8, label="a guess, ln 10"),
        *([grey] * published),
    ]
    axes = sheet.grid((1, 2), (7.6, 5.0), text, legend)

    def line(init: str, norm: str, less: float = 0.0) -> ForestLine:
        stated = published and not less and norm == "none" and init in FIRST_INIT
        of_seeds = seeds(losses, init=init, norm=norm) - less
        return ForestLine("", of_seeds, NORMS[norm], FIRST_LOSS if stated else None)

    everything, near = axes[0]
    draw_forest(everything, by_init(losses, line), log=True, origin=GUESS)
    if published:
        everything.axvspan(low, high, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
    everything.set_xlabel("loss of the first mini-batch (nats)")
    plain_ticks(everything.xaxis)
    near_guess = functools.partial(line, less=GUESS)
    lines = by_init(losses, near_guess, ("rand_small", "glorot"))
    draw_forest(near, lines, bounds=(-MATTERS, MATTERS), origin=0)
    near.set_xlabel("loss of the first mini-batch less ln 10 (nats)")
