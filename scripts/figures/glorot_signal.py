"""Variance by layer with Glorot weights, and with multiples of them.

{c[model.depth]} layers at initialisation, {c[data.examples]} standard normal examples,
{c[dtype]}. Left two: tanh, {WIDTH} units a layer; geometric mean of {n}, bands: 95% t-interval.
Right: from layer 1 to layer {c[model.depth]}, by a line. {dots} Dashes: a factor of two.

A standard normal upstream gradient enters at the last layer. Theory is that of wide layers: Poole
et al. 2016 for activations, Schoenholz et al. 2017 for gradients. By turns: {WIDTH} and
{WIDE} units.
"""

import numpy as np
import pandas as pd

from gpubn import theory
from gpubn.report.figures import forest, looks, marks, style
from gpubn.report.figures.selection import by, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

WIDTH, WIDE = "128", "512"
MATTERS = float(np.log10(2))
WAYS = {"activation_var": "activations", "signal_var": "gradients"}
LAYERS = {
    "tanh": {WIDTH: "tanh, all\nlayers alike", WIDE: "tanh,\nby turns"},
    "linear": {WIDTH: "linear, all\nlayers alike", WIDE: "linear,\nby turns"},
}
SCALES = ("0.5", "1.0", "2.0", "4.0")


def _looks() -> dict[str, style.Style]:
    return {
        scale: (f"Glorot × {float(scale):g}", *look)
        for scale, look in zip(SCALES, looks.SERIES, strict=False)
    }


@figure(__doc__, tables=("glorot_signal",), claims=("D19",), size=(7.8, 3.5))
@Panels(
    columns={
        "activation_var": "variance of activations",
        "signal_var": "variance of gradients dL/dh",
        "": "decades, Glorot × 1",
    },
    x=("layer", "layer", "layer 10 over layer 1 (decades)"),
)
@Legend(
    [*style.keys(_looks(), marker=False), *style.keys(looks.WAYS, line=False)],
    theory=True,
)
def draw(sheet: Sheet) -> None:
    table, depth = sheet.table, sheet.config["model.depth"]
    for metric, ax in zip(WAYS, sheet.axes[0], strict=False):
        rows = select(table, metric=metric, activation="tanh", features=WIDTH)
        rows = rows[rows["layer"] > 0]
        for scale, look in sheet.present("scale", _looks()).items():
            layers, _ = marks.curve(ax, rows, "layer", look, log=True, scale=scale)
            predicted = [_predicted(metric, int(layer), depth, float(scale)) for layer in layers]
            ax.plot(layers, predicted, **style.THEORY, zorder=5)
        ax.set_yscale("log")
    lines = []
    for activation, of_features in LAYERS.items():
        for features, label in of_features.items():
            rows = select(table, scale="1.0", activation=activation, features=features)
            slopes = [_decades(rows, metric, look) for metric, look in looks.WAYS.items()]
            lines += forest.grouped({label: slopes})
    forest.draw_forest(sheet.axes[0, 2], lines, bounds=(-MATTERS, MATTERS), origin=0)


def _predicted(metric: str, layer: int, depth: int, scale: float) -> float:
    if metric == "activation_var":
        return theory.glorot_tanh_square(layer, scale)
    return theory.glorot_tanh_signal(layer, depth, scale)


def _decades(rows: pd.DataFrame, metric: str, look: style.Style) -> forest.Line:
    """Decades between the first layer and the last, by a line through the logarithms."""
    layers, of_seeds = by(rows[rows["layer"] > 0], "layer", metric=metric)
    slopes = np.polyfit(layers, np.log10(of_seeds), 1)[0]
    return forest.Line("", slopes * (layers[-1] - layers[0]), look)
