"""Document A: what its claims about 20 layers compare, seed by seed, beside what would matter."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpubn.report.figures.courses import Line, draw_lines, select
from gpubn.report.figures.style import GREEN, INITS, RED, Style, config_of, new_figure, seed_count

TABLES = ("signal_propagation",)
CLAIMS = ("A5", "A6", "A8", "A10", "A12")

FITTED = (2, 17)
"""The layers through which the growth a layer is fitted, away from what happens at the ends."""
GRADIENT = "weight_grad_var"
LISTED: Style = ("as listed", RED, "-", "s")
MENDED: Style = ("batchnorm itself", GREEN, "-", "D")
Where = Mapping[str, object]


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Zeros, gradients by layer, order of ReLU and batchnorm, offsets, with over without."""
    table = tables["signal_propagation"]
    c = config_of(table)
    depth = c["model.depth"]
    figure, axes = new_figure(
        2,
        3,
        width=7.8,
        height=4.0,
        title=f"What document A's claims about {depth} layers compare, seed by seed",
        caption=f"""
            {depth} ReLU layers of {c["model.width"]} units at initialisation,
            {c["data.examples"]:,} standard normal examples, the same upstream gradient for all,
            {c["dtype"]}. Dots: n = {seed_count(table)} seeds, differences and ratios of the same
            seed's networks; marks and bars: mean and its 95% t-interval; dashes: the smallest
            difference that matters. Growth: of a line through the logarithm, layers {FITTED[0]} to
            {FITTED[1]}. Weights N(0, 0.01²) where nothing is said. Offset: root mean square of the
            means, in the batch's standard deviations. {verdicts}
        """,
    )
    small = {"init": "small", "arithmetic": "corrected"}
    plain = {**small, "norm": "none", "layer": depth}
    zeros = {"exactly 0": "zero_share", "below 0.01": "small_share"}
    lines = [Line(name, _seeds(table, m, plain), INITS["small"]) for name, m in zeros.items()]
    draw_lines(axes[0, 0], lines, marks=(0.9,))
    axes[0, 0].set_xlim(0, 1.05)
    axes[0, 0].set_title("A5: activations that are zero")
    axes[0, 0].set_xlabel(f"share at layer {depth}, no batchnorm")

    offsets = {
        "units,\nas listed": ("unit_offset", "published", LISTED),
        "examples,\nas listed": ("example_offset", "published", LISTED),
        "units, as\nbatchnorm": ("unit_offset", "corrected", MENDED),
    }
    at = {"init": "small", "norm": "after", "layer": depth}
    lines = [
        Line(name, _seeds(table, metric, {**at, "arithmetic": arithmetic}), style)
        for name, (metric, arithmetic, style) in offsets.items()
    ]
    draw_lines(axes[0, 1], lines, marks=(0.05,))
    axes[0, 1].set_title("A10: what is centred")
    axes[0, 1].set_xlabel(f"offset at layer {depth} (std)")

    mixing = _seeds(table, "mixing_share", {**at, "arithmetic": "published"})
    draw_lines(axes[0, 2], [Line("of other\nexamples", mixing, LISTED)])
    axes[0, 2].set_xlim(0, 1.05)
    axes[0, 2].set_title("A10: rows read as examples")
    axes[0, 2].set_xlabel("share of a row's new value")

    panels: dict[str, tuple[str, tuple[float, ...], list[Line]]] = {
        f"A6: layer {depth} over layer 2": ("gradients, no batchnorm (decades)", (-1, 1), []),
        "A8: after ReLU over before": ("growth a layer (log ratio)", (-0.05, 0.05), []),
        "A12: batchnorm over none": ("gradients of layer 2 (decades)", (3,), []),
    }
    for init in ("small", "glorot"):
        where = {"init": init, "arithmetic": "corrected"}
        last, first = (
            np.log10(_seeds(table, GRADIENT, {**where, "norm": "none", "layer": layer}))
            for layer in (depth, 2)
        )
        normed = np.log10(_seeds(table, GRADIENT, {**where, "norm": "after", "layer": 2}))
        growths = [_growth(table, {**where, "norm": norm}) for norm in ("after", "before")]
        found = (last - first, growths[0] - growths[1], normed - first)
        for (_, _, of_panel), values in zip(panels.values(), found, strict=True):
            of_panel.append(Line(INITS[init][0].replace(" normal", ""), values, INITS[init]))
    for ax, (title, (label, marks, lines)) in zip(axes[1], panels.items(), strict=True):
        draw_lines(ax, lines, marks=marks, origin=0)
        ax.set_title(title)
        ax.set_xlabel(label)
    return figure


def _seeds(table: pd.DataFrame, metric: str, where: Where) -> np.ndarray:
    rows = select(table, {**where, "metric": metric}).sort_values("seed")
    return rows["value"].to_numpy(dtype=np.float64)


def _growth(table: pd.DataFrame, where: Where) -> np.ndarray:
    """Natural logarithm of the growth of the gradients' variance a layer going back, a seed."""
    layers = range(FITTED[0], FITTED[1] + 1)
    values = [np.log(_seeds(table, GRADIENT, {**where, "layer": layer})) for layer in layers]
    return np.asarray(-np.polyfit(layers, values, 1)[0])
