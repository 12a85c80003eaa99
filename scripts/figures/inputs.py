"""Raw, centred, standardised and whitened inputs.

{dataset}; {c[model.width]} units a layer, {weights} weights, batch {c[optim.batch]}, constant rate.
Top: steps until the mean loss of {c[every]} mini-batches is at most {USABLE:g} nats, no batchnorm;
never: not within {c[optim.steps]}. Bottom: log ratio of steps and of test losses, raw over others;
dashes: what matters. {dots}

Each seed's trainings are compared, each at its own best rate; above 0 raw inputs need more steps,
or have a higher test loss, in inference mode. Never counts as {c[optim.steps]} steps. {ADDED} is
added to each variance.
"""

import numpy as np
import pandas as pd

from gpubn.data import inputs as transformations
from gpubn.report.figures import forest, looks, scales, style, sweeps
from gpubn.report.figures.scales import USABLE
from gpubn.report.figures.selection import present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure

ADDED = transformations.ADDED_VARIANCE
MATTERS = 1.1
"""Times: the smallest gain that matters; the claims' ledger decides."""
STEPS = f"steps_to_loss[{USABLE:g}]"
GAINS = {
    "steps, no batchnorm": ("none", STEPS),
    "steps, batchnorm": ("before", STEPS),
    "test loss, no batchnorm": ("none", "test_loss"),
    "test loss, batchnorm": ("before", "test_loss"),
}


@figure(__doc__, tables=("inputs",), claims=("C7",), size=(7.2, 6.2))
@Panels(
    rows={"steps": f"steps to {USABLE:g} nats", "gain": ""},
    columns=facet("network", {"mnist": "one hidden tanh layer", "three_relu": "three ReLU layers"}),
    heights=(1, 1.2),
    x={"steps": "learning rate", "gain": "log ratio, raw over others, each at its best rate"},
)
@Legend(looks.INPUTS)
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    budget = sheet.config["optim.steps"]
    never = 1.12 * budget
    for (upper, lower), network in zip(sheet.axes.T, sheet.columns, strict=True):
        table = select(sheet.table, network=network)
        none = select(table, norm="none")
        shown = sheet.present("inputs", looks.INPUTS)
        swept = {name: sweeps.by_level(select(none, inputs=name), "rate", STEPS) for name in shown}
        for name, (rates, steps) in swept.items():
            sweeps.draw_arms(
                upper, np.log10(rates), {name: steps},
                width=0.14, ends=(0, never), styles=looks.INPUTS,
            )  # fmt: skip
        upper.axhline(budget, color=style.FAINT, linewidth=0.4)
        scales.decade_axis(upper, np.array([float(rate) for rate in sheet.levels("rate")]))
        ticks = np.linspace(0, budget, 4)
        upper.set_yticks([*ticks, never], [*(f"{tick:.3g}" for tick in ticks), "never"])
        upper.set_ylim(0, 1.2 * budget)
        groups = {}
        for label, (norm, metric) in GAINS.items():
            rows = select(table, norm=norm)
            most = budget if metric == STEPS else np.inf
            raw = best(rows, "raw", metric, most)
            groups[label] = [
                forest.Line("", sweeps.log_ratio(raw, best(rows, name, metric, most)), look)
                for name, look in looks.INPUTS.items()
                if name != "raw" and name in shown
            ]
        limit = float(np.log(MATTERS))
        forest.draw_forest(lower, forest.grouped(groups), bounds=(-limit, limit), origin=0)
    for ax in sheet.axes[1][1:]:
        ax.set_yticklabels([])


def best(rows: pd.DataFrame, inputs: str, metric: str, most: float) -> np.ndarray:
    """Return the least over learning rates for each seed, at most so much."""
    present(rows, "inputs", (inputs,))
    _, of_rates = sweeps.by_level(select(rows, inputs=inputs), "rate", metric)
    return np.fmin(np.fmin.reduce(of_rates, axis=0), most)
