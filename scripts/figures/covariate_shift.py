"""Internal covariate shift by two measures.

{dataset}; {c[model.depth]} and {diagnostics_deep[c][model.depth]} layers of {c[model.width]} units.
Top lines: geometric mean of {diagnostics_deep[n]}; bands: 95% t-interval. Bottom: progress, and log
ratio of drift and shift (of the layers named), filled where it decides; dots: seeds ({n} of
{c[model.depth]} layers); marks, bars: mean, 95% t-interval; dashes: what matters.

{diagnostics_deep[c][model.depth]} ReLU layers have He weights but where said and train for
{diagnostics_deep[training]}; {c[model.depth]} layers have {weights} weights and train for
{training}. Shift: |g' - g| / |g|, g a layer's gradient, g' the same once all layers below took this
step. Drift: move of the units' means since the measurement before, in standard deviations.
Progress: logarithm of the loss of a guess over the last mini-batch loss. Log ratios: no batchnorm
over batchnorm, so that above 0 batchnorm reduces the shift.
"""

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import at_end, by, distinct, present, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.words import ACTIVATIONS

LOWER, UPPER = (2, 10), (12, 20)
COMPARED = 5
"""The layer of five whose drift and shift are compared."""
MATTERS = 0.1
DRIFT, SHIFT = "drift_mean", "gradient_shift"


@figure(__doc__, tables=("diagnostics", "diagnostics_deep"), claims=("B15",), size=(7.8, 6.4))
@Panels(
    rows=2,
    columns=2,
    x=(
        "progress: log(loss of a guess / last mini-batch loss)",
        "no batchnorm over batchnorm (log ratio)",
    ),
)
@Legend(style.keys(looks.PLACEMENTS))
@Slide(
    ((0, 0), (1, 1)),
    source="{dataset}, {n} ({c[model.depth]} layers), {diagnostics_deep[n]}, 95% t-intervals",
)
def draw(sheet: Sheet) -> None:
    five, deep = sheet.tables.values()
    c, d = sheet.config, sheet["diagnostics_deep"].config
    he = select(deep, init="he")
    steps = sorted(set(select(deep, metric=SHIFT)["step"]))
    shifts, drifts = select(he, metric=SHIFT, step=steps[1]), at_end(he, metric=DRIFT)
    by_layer = {
        ("shift of the gradient", "relative"): shifts,
        ("drift of the output", "std"): drifts,
    }
    for ax, ((name, unit), rows) in zip(sheet.axes[0], by_layer.items(), strict=True):
        scales.scale(ax, log=True)
        for norm in present(rows, "norm", looks.PLACEMENTS):
            look = looks.PLACEMENTS[norm]
            marks.curve(ax, rows, "layer", look, log=True, marks_every=1, norm=norm)
        low, high = scales.ends(values(rows), log=True)
        ax.set_ylim(low, high)
        if high < 100 * low:
            scales.plain_ticks(ax.yaxis)
        ax.set_xticks([1, *range(5, int(rows["layer"].max()) + 1, 5)])
        ax.set_title(f"{d['model.depth']} layers: {name}, step {rows['step'].max()}")
        ax.set(xlabel="layer", ylabel=f"{name} ({unit})")
    progress = {}
    for activation in dict.fromkeys(five["activation"]):
        name = f"{c['model.depth']} {ACTIVATIONS[activation]}"
        progress[name] = _progresses(select(five, activation=activation))
    for init in dict.fromkeys(deep["init"]):
        name = f"{d['model.depth']} ReLU,\n{looks.INITS[init][0]}"
        progress[name] = _progresses(select(deep, init=init))
    forest.draw_forest(sheet.axes[1, 0], forest.grouped(progress), origin=0)
    lines = _compared(five, shifts, drifts)
    forest.draw_forest(sheet.axes[1, 1], lines, bounds=(-MATTERS, MATTERS), origin=0)


def _progress(rows: pd.DataFrame, norm: str) -> np.ndarray:
    return np.log(scales.GUESS / by(rows, "step", metric="batch_loss", norm=norm)[1][-1])


def _progresses(rows: pd.DataFrame) -> list[forest.Line]:
    norms = present(rows, "norm", looks.PLACEMENTS)
    return [forest.Line("", _progress(rows, norm), looks.PLACEMENTS[norm]) for norm in norms]


def _compared(five: pd.DataFrame, shifts: pd.DataFrame, drifts: pd.DataFrame) -> list[forest.Line]:
    """Log ratios of none over batchnorm; filled those that decide."""
    lines, look = [], looks.PLACEMENTS["before"]
    for activation, decides in (("relu", True), ("tanh", False)):
        course = select(five, activation=activation)
        name = f"{course['depth'].iloc[0]} {ACTIVATIONS[activation]}"
        drift = _log_ratio(select(course, layer=COMPARED, metric=DRIFT), "mean")
        shift = _log_ratio(select(course, layer=COMPARED, metric=SHIFT), "median")
        with np.errstate(all="ignore"):  # a loss above a guess' has no progress to divide by
            progress = np.log(_progress(course, "before") / _progress(course, "none"))
        lines += [
            forest.Line(f"{name}, drift\nover progress", drift + progress, look, filled=decides),
            forest.Line(f"{name}, drift", drift, look, filled=False),
            forest.Line(f"{name}, shift", shift, look, filled=decides),
        ]
    name = f"{shifts['depth'].iloc[0]} ReLU"
    lines.append(forest.Line(f"{name}, drift", _log_ratio(drifts, "mean"), look))
    for (low, high), norm in ((LOWER, "before"), (LOWER, "after"), (UPPER, "before")):
        of_half = _log_ratio(shifts[shifts["layer"].between(low, high)], "median", norm)
        label = f"{name}, shift {low}–{high}"
        lines.append(forest.Line(label, of_half, looks.PLACEMENTS[norm]))
    return lines


def _log_ratio(rows: pd.DataFrame, how: str, norm: str = "before") -> np.ndarray:
    """Log ratio of the mean or median of each seed's rows, none over a placement."""
    none, normed = (
        distinct(select(rows, norm=name), "seed", "step", "layer")
        .groupby("seed")["value"]
        .agg(lambda v: getattr(np, how)(v.to_numpy()))
        .to_numpy(dtype=np.float64)
        for name in ("none", norm)
    )
    return np.log(none / normed)
