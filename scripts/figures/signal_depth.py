"""Activations, signal and weight gradients of {c[model.depth]} ReLU layers, by layer.

{signal}. {geometric} Above each panel: factor a layer (towards the input for signal and gradients)
of a line fitted to the logarithm, weights {looks.INITS[small][0]}, with its interval.

A unit upstream gradient enters at the top. Bands are mostly narrower than the line. Theory: He et
al. 2015; with batchnorm Yang et al. 2019, its slope alone, pinned at layer {middle}. As published:
normalised per example, with a wrong gradient that enters a layer early.
"""

from typing import Any

import numpy as np
import pandas as pd

from gpubn import theory
from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import by, select, values
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure
from gpubn.report.statistics import mean_interval

FITTED = {"activation_var": (1, 20), "signal_var": (1, 19), "weight_grad_var": (2, 17)}
"""The layers through which the factor a layer is fitted, away from what happens at the ends."""


@figure(__doc__, tables=("signal_propagation",), claims=("A5", "A6", "A8", "B16"), size=(7.8, 6.4))
@Panels(
    rows={
        "activation_var": "variance of\nactivations",
        "signal_var": "variance of the\nsignal dL/dh",
        "weight_grad_var": "variance of weight\ngradients dL/dW",
    },
    columns={
        ("none", "corrected"): "no batchnorm",
        ("before", "corrected"): "batchnorm before ReLU",
        ("after", "corrected"): "batchnorm after ReLU",
        ("after", "published"): "after ReLU, as published",
    },
    x="layer (0 is the input)",
)
@Legend(looks.INITS, "init", marker=False, theory=True)
@Slide(((0, 0), (2, 0), (2, 2)))
def draw(sheet: Sheet) -> None:
    table, c = sheet.table, sheet.config
    depth = c["model.depth"]
    sheet.said["middle"] = depth // 2
    for metric, (norm, arithmetic), ax in sheet.panels():
        for init, look in sheet.present("init", looks.INITS).items():
            rows = select(table, norm=norm, arithmetic=arithmetic, init=init)
            at, of_seeds = by(rows, "layer", metric=metric)
            mean = marks.geometric(of_seeds)
            marks.band(ax, at, mean, look)
            factor, anchor, level = _theory(metric, norm, rows, c)
            known = arithmetic == "corrected" and (norm == "none" or init == "small")
            if known:
                pinned = mean.mean[list(at).index(anchor)] if level is None else level
                sign = 1 if metric == "activation_var" else -1
                x = at[at > 0] if metric == "activation_var" else at
                ax.plot(x, pinned * factor ** (sign * (x - anchor)), **style.THEORY)
            if init == "small":
                said = _fitted(at, of_seeds, metric) + f"\ntheory {factor:.3g}" * known
                ax.set_title(f"{ax.get_title()}\n{said}".strip(), fontsize=6.8)
        ax.set_yscale("log")
        ax.set_xticks(range(0, depth + 1, 5))
        ax.set_xlim(-0.5, depth + 0.5)
        if metric == "activation_var" and norm != "none":
            ax.set_ylim(0.1, 2)
            scales.log_ticks(ax, (0.1, 0.3, 1))


def _theory(
    metric: str, norm: str, rows: pd.DataFrame, c: dict[str, Any]
) -> tuple[float, int, float | None]:
    """Factor a layer (backwards but for activations), and a layer with its level if that is known.

    With batchnorm theory fixes the slope of signal and gradients alone.
    """
    depth, width, examples = c["model.depth"], c["model.width"], c["data.examples"]
    if norm != "none":
        if metric == "activation_var":
            return 1.0, 0, theory.BATCHNORM_RELU_VAR if norm == "before" else 1.0
        return theory.batchnorm_relu_gradient_growth(examples), depth // 2, None
    weight_var = float(values(select(rows, metric="weight_var")).mean())
    gain = theory.relu_gain(width, weight_var)
    if metric == "activation_var":
        return gain, 0, theory.RELU_VARIANCE_SHARE
    if metric == "signal_var":
        return gain, depth, 1.0
    return 1.0, 0, theory.relu_weight_grad_var(width, weight_var, depth, examples)


def _fitted(at: np.ndarray, of_seeds: np.ndarray, metric: str) -> str:
    """The factor a layer of a line through the logarithm, and its interval."""
    low, high = FITTED[metric]
    inside = (at >= low) & (at <= high)
    slopes = np.asarray(np.polyfit(at[inside], np.log10(of_seeds[inside]), 1)[0])
    if metric != "activation_var":
        slopes = -slopes
    mean, least, most = (f"{10 ** float(part):.3g}" for part in mean_interval(slopes))
    return f"× {mean} [{least}, {most}]"
