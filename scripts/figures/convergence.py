"""Steps to a mini-batch loss of {USABLE:g} nats by learning rate, in five networks.

{dataset}; {training} at a constant rate. Top: steps until the mean loss of {c[every]} mini-batches
in training is at most {USABLE:g} nats; never counts as {c[optim.steps]}. Bottom: log ratio of
steps, none over others; dashes: {MATTERS:g} times. {dots}

The same seed's trainings are compared, each at its own best rate; above 0 the network without
batchnorm needs more steps. With batchnorm the noise of a batch is in the loss. Noise, which puts
the shift of the inputs back, is a random shift and scale of every unit in every step. Logarithmic
axes, means are geometric.
"""

import numpy as np

from gpubn.report.figures import forest, looks, scales, style, sweeps
from gpubn.report.figures.scales import USABLE
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure
from gpubn.report.words import NETWORKS

MATTERS = 1.1
"""Times: the smallest gain in steps that matters; the claims' ledger decides."""


@figure(
    __doc__,
    tables=("convergence",),
    claims=("B8", "B18", "D22"),
    from_small=True,
    size=(8, 4.4),
)
@Panels(
    rows={"steps": f"steps to {USABLE:g} nats", "gain": ""},
    columns=facet(
        "network", {name: words.replace(", ", ",\n") for name, words in NETWORKS.items()}
    ),
    heights=(2.4, 1),
    x={"steps": "learning rate", "gain": "log ratio"},
    share="row",
)
@Legend(looks.ARMS, column="norm")
@Slide(((0, 1), (0, 2), (0, 4)))
def draw(sheet: Sheet) -> None:
    steps = sheet.config["optim.steps"]
    never = 1.35 * steps
    reached = sweeps.by_arm(
        sheet.table,
        "network",
        lambda rows: sweeps.by_level(rows, "rate", f"steps_to_loss[{USABLE:g}]"),
        arms=looks.ARMS,
    )
    fewest = sweeps.each(reached, lambda swept: np.fmin(swept[1].min(axis=0), steps))
    gains = sweeps.over(fewest)
    matters = float(np.log(MATTERS))
    ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000) if tick < 0.8 * steps]
    for (upper, lower), network in zip(sheet.axes.T, sheet.columns, strict=True):
        styles = {name: looks.ARMS[name] for name in reached[network]}
        for norm, (rates, of_rates) in reached[network].items():
            sweeps.draw_arms(
                upper, np.log10(rates), {norm: of_rates},
                width=0.14, ends=(0, never), log=True, styles=styles, dots=False,
            )  # fmt: skip
        upper.axhline(steps, color=style.FAINT, linewidth=0.4)
        scales.decade_axis(upper, rates)
        scales.log_ticks(upper, ticks)
        upper.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
        upper.set_ylim(20, 1.2 * never)
        lines = [forest.Line("", seeds, looks.ARMS[norm]) for norm, seeds in gains[network].items()]
        forest.draw_forest(lower, lines, bounds=(-matters, matters), origin=0)
