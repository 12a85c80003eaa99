"""Document D: the first mini-batch loss under every initialisation against that of a guess."""

import functools

from gpubn.report.figures import forest, marks, scales, sheets, style
from gpubn.report.figures.selection import seeds, select
from gpubn.report.published import FIRST_LOSS

TABLES = ("mnist_init",)
CLAIMS = ("D1", "D6")

MATTERS = 0.05


def draw(sheet: sheets.Sheet) -> None:
    table, published = sheet.table, sheet.is_published_data
    losses = select(table, metric="batch_loss", step=0)
    low, high = FIRST_LOSS
    grey = style.key("published", color=style.FAINT, linewidth=5, alpha=0.4)
    stars = f"Grey, stars: the {low:g} to {high:g} of document D's one run; thin bars: 95% interval"
    stars += " of one of our runs, of the logarithm."
    text = f"""Loss of the first mini-batch, by initialisation and batchnorm

        Dataset: {sheet.dataset}. One hidden layer of {sheet.config["model.width"]}
        {sheet.config["model.activation"]} units, biases 0, first batch of
        {sheet.config["optim.batch"]} images, before any update. Dots: n = {sheet.seeds} seeds;
        marks and bars: mean (left: geometric) and its 95% t-interval. {stars * published} Right:
        less ln 10; dashes: the smallest difference that matters.
        {marks.edge_note(losses, ("batch_loss",), ("right", "left"))}
    """
    legend = [
        *style.keys(style.TREATMENTS, line=False),
        style.key("a guess, ln 10", color=style.FAINT, linewidth=0.8),
        *([grey] * published),
    ]
    axes = sheet.grid((1, 2), (7.6, 5.0), text, legend)

    def line(init: str, norm: str, less: float = 0.0) -> forest.Line:
        stated = published and not less and norm == "none" and init in style.FIRST_INIT
        of_seeds = seeds(losses, init=init, norm=norm) - less
        return forest.Line("", of_seeds, style.NORMS[norm], FIRST_LOSS if stated else None)

    everything, near = axes[0]
    forest.draw_forest(everything, forest.by_init(losses, line), log=True, origin=scales.GUESS)
    if published:
        everything.axvspan(low, high, color=style.FAINT, alpha=0.3, linewidth=0, zorder=0)
    everything.set_xlabel("loss of the first mini-batch (nats)")
    scales.plain_ticks(everything.xaxis)
    near_guess = functools.partial(line, less=scales.GUESS)
    lines = forest.by_init(losses, near_guess, ("rand_small", "glorot"))
    forest.draw_forest(near, lines, bounds=(-MATTERS, MATTERS), origin=0)
    near.set_xlabel("loss of the first mini-batch less ln 10 (nats)")
