"""Steps to a mini-batch loss of {USABLE:g} nats, by learning rate.

{dataset}; {network}, {weights} weights, batch {c[optim.batch]}, constant rate. Top: steps until the
mean loss of {c[every]} mini-batches is at most {USABLE:g} nats; never: not within {c[optim.steps]}.
Bottom: log ratio of steps, none over batchnorm. {dots}

The gain compares the same seed's trainings, each at its own best rate; never counts as
{c[optim.steps]} steps. Above 0 batchnorm needs fewer.
"""

import numpy as np

from gpubn.report.figures import scales, style, sweeps
from gpubn.report.figures.scales import USABLE
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, by_activation, figure

MATTERS = 1.1
"""Times: the smallest gain in steps that matters; the claims' ledger decides."""


@figure(__doc__, tables=("rate_sweep",), claims=("B8",), size=(7.2, 4.5))
@Panels(
    rows={"steps": f"steps to {USABLE:g} nats", "gain": "gain"},
    columns=by_activation,
    heights=(3, 1),
    x={"steps": "learning rate (per step)", "gain": "gain at the best rate (log ratio of steps)"},
    share="row",
)
@Legend(sweeps.entries(matters=f"within {MATTERS:g} times"))
@Slide(((0, 0), (0, 1)))
def draw(sheet: Sheet) -> None:
    steps = sheet.config["optim.steps"]
    never = 1.12 * steps
    reached = sweeps.by_arm(
        sheet.table,
        "activation",
        lambda rows: sweeps.by_level(rows, "rate", f"steps_to_loss[{USABLE:g}]"),
    )
    fewest = sweeps.each(reached, lambda swept: np.fmin(swept[1].min(axis=0), steps))
    gains = sweeps.over(fewest)
    matters = float(np.log(MATTERS))
    ends = scales.ratio_ends(gains, matters)
    ticks = np.linspace(0, steps, 4)
    for (upper, lower), activation in zip(sheet.axes.T, sheet.columns, strict=True):
        for norm, (rates, of_rates) in reached[activation].items():
            places = np.log10(rates)
            sweeps.draw_arms(upper, places, {norm: of_rates}, width=0.12, ends=(0, never))
        upper.axhline(steps, color=style.FAINT, linewidth=0.4)
        scales.decade_axis(upper, rates)
        upper.set_yticks([*ticks, never], [*(f"{tick:.3g}" for tick in ticks), "never"])
        upper.set_ylim(0, 1.2 * steps)
        sweeps.draw_strips(lower, gains[activation], ends, matters)
