"""Internal covariate shift by two measures: twenty layers, layer by layer, and every comparison."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpubn.report.figures.courses import (
    Line,
    draw_lines,
    edge_note,
    ends,
    plain_ticks,
    scale,
    select,
)
from gpubn.report.figures.style import (
    INITS,
    band,
    by_seed,
    config_of,
    dataset_label,
    geometric,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.report.figures.sweep_plots import GUESS, PLACEMENTS
from gpubn.report.words import ACTIVATIONS

TABLES = ("diagnostics", "diagnostics_deep")
CLAIMS = ("B15",)

LOWER, UPPER = (2, 10), (12, 20)
COMPARED = 5
"""The layer of five whose drift and shift are compared."""
MATTERS = 0.1
DRIFT, SHIFT = "drift_mean", "gradient_shift"


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """By layer in the deep network; progress; log ratios of none over batchnorm."""
    five, deep = tables["diagnostics"], tables["diagnostics_deep"]
    c, d = config_of(five), config_of(deep)
    middle = int(sorted(set(deep.loc[deep["metric"] == SHIFT, "step"]))[1])
    he = select(deep, {"init": "he"})
    by_layer = {
        "shift of the gradient": select(he, {"metric": SHIFT, "step": middle}),
        "drift of the output": select(he, {"metric": DRIFT, "step": int(deep["step"].max())}),
    }
    compared = _compared(five, he, middle)
    values = np.concatenate([part.seeds for part in compared if part.seeds is not None])
    figure, axes = new_figure(
        2,
        2,
        width=7.8,
        height=6.8,
        title=titled(five, "Internal covariate shift by two measures"),
        legend=keys(PLACEMENTS, list(PLACEMENTS), markers=True),
        caption=f"""
            Dataset: {dataset_label(five)}. {d["model.depth"]} ReLU layers (He weights but where
            said) and {c["model.depth"]} layers (Glorot) of {c["model.width"]} units,
            {d["optim.steps"]} and {c["optim.steps"]} steps of batch {c["optim.batch"]}. Shift: |g'
            - g| / |g|, g a layer's gradient, g' the same once all layers below took this step.
            Drift: move of the units' means since the measurement before, in standard deviations.
            Top: geometric mean of n = {seed_count(deep)} seeds (5 layers: {seed_count(five)});
            bands: 95% t-interval. Right below: filled marks decide. Dots: seeds; marks and bars:
            mean and its 95% t-interval; dashes: the least that matters.
            {edge_note(pd.DataFrame({"metric": "", "value": values}), (), ("right", "left"))}
            {verdicts}
        """,
    )
    for ax, (name, rows) in zip(axes[0], by_layer.items(), strict=True):
        _draw_layers(ax, rows)
        ax.set_title(f"{d['model.depth']} layers: {name}, step {rows['step'].max()}")
        ax.set_ylabel(f"{name} ({'relative' if name.startswith('shift') else 'std'})")
    lines = []
    for activation in dict.fromkeys(five["activation"]):
        name = f"{c['model.depth']} {ACTIVATIONS[activation]}"
        lines += _progresses(select(five, {"activation": activation}), name)
    for init in dict.fromkeys(deep["init"]):
        name = f"{d['model.depth']} ReLU,\n{INITS[init][0]}"
        lines += _progresses(select(deep, {"init": init}), name)
    draw_lines(axes[1, 0], lines[:-1], origin=0)
    axes[1, 0].set_xlabel("progress: log(loss of a guess / last mini-batch loss)")
    draw_lines(axes[1, 1], compared, marks=(-MATTERS, MATTERS), origin=0)
    axes[1, 1].set_xlabel("no batchnorm over batchnorm (log ratio)")
    return figure


def _draw_layers(ax: Axes, rows: pd.DataFrame) -> None:
    scale(ax, log=True)
    for norm, (_, color, line, marker) in PLACEMENTS.items():
        layers, values = by_seed(select(rows, {"norm": norm}), "layer")
        interval = geometric(values)
        band(ax, list(layers), interval, color=color, line=line)
        ax.plot(list(layers), interval.mean, marker, color=color, markersize=3)
    ax.set_ylim(*ends(rows["value"].to_numpy(dtype=np.float64), log=True))
    if (limits := ax.get_ylim())[1] < 100 * limits[0]:
        plain_ticks(ax.yaxis, *limits)
    ax.set_xlabel("layer")
    ax.set_xticks([1, *range(5, int(rows["layer"].max()) + 1, 5)])


def _progress(rows: pd.DataFrame, norm: str) -> np.ndarray:
    _, losses = by_seed(select(rows, {"metric": "batch_loss", "norm": norm}), "step")
    return np.log(GUESS / losses[-1])


def _progresses(rows: pd.DataFrame, name: str) -> list[Line]:
    lines = [
        Line(name if norm == "before" else "", _progress(rows, norm), PLACEMENTS[norm])
        for norm in PLACEMENTS
    ]
    return [*lines, Line("")]


def _compared(five: pd.DataFrame, he: pd.DataFrame, middle: int) -> list[Line]:
    """Log ratios of none over batchnorm; filled those that decide."""
    lines = []
    for activation, decides in (("relu", True), ("tanh", False)):
        course = select(five, {"activation": activation})
        name = f"{course['depth'].iloc[0]} {ACTIVATIONS[activation]}"
        of_layer = select(course, {"layer": COMPARED})
        drift = _log_ratio(select(of_layer, {"metric": DRIFT}), "mean")
        shift = _log_ratio(select(of_layer, {"metric": SHIFT}), "median")
        with np.errstate(all="ignore"):  # a loss above a guess' has no progress to divide by
            progress = np.log(_progress(course, "before") / _progress(course, "none"))
        style = PLACEMENTS["before"]
        lines += [
            Line(f"{name}, drift\nover progress", drift + progress, style, filled=decides),
            Line(f"{name}, drift", drift, style, filled=False),
            Line(f"{name}, shift", shift, style, filled=decides),
        ]
    name = f"{he['depth'].iloc[0]} ReLU"
    drifts = select(he, {"metric": DRIFT, "step": int(he["step"].max())})
    lines.append(Line(f"{name}, drift", _log_ratio(drifts, "mean"), PLACEMENTS["before"]))
    shifts = select(he, {"metric": SHIFT, "step": middle})
    for (low, high), norm in ((LOWER, "before"), (LOWER, "after"), (UPPER, "before")):
        of_half = _log_ratio(shifts[shifts["layer"].between(low, high)], "median", norm)
        lines.append(Line(f"{name}, shift\nlayers {low} to {high}", of_half, PLACEMENTS[norm]))
    return lines


def _log_ratio(rows: pd.DataFrame, how: str, norm: str = "before") -> np.ndarray:
    """Log ratio of the mean or median of each seed's rows, none over a placement."""
    of_seeds = rows.groupby(["norm", "seed"])["value"].agg(lambda v: getattr(np, how)(v.to_numpy()))
    none, normed = (of_seeds[n].to_numpy(dtype=np.float64) for n in ("none", norm))
    return np.log(none / normed)
