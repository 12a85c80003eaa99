"""What document A's claims about {c[model.depth]} layers compare, seed by seed.

{signal}, weights {looks.INITS[small][0]} where nothing is said. Differences and ratios of the same
seed's networks. {dots} Dashes: the smallest difference that matters.

The upstream gradient is the same for all. Growth: of a line through the logarithm, layers
{FITTED[0]} to {FITTED[1]}. Offset: root mean square of the means, in the batch's standard
deviations.
"""

from typing import Any

import numpy as np
import pandas as pd

from gpubn.report.figures import forest, looks
from gpubn.report.figures.selection import present, seeds, select
from gpubn.report.figures.sheets import Panels, Sheet, Slide, figure

FITTED = (2, 17)
"""The layers through which the growth a layer is fitted, away from what happens at the ends."""
COMPARED: dict[str, tuple[str, tuple[float, ...]]] = {
    "A6: layer {} over layer 2": ("gradients, no batchnorm (decades)", (-1, 1)),
    "A8: after ReLU over before": ("growth a layer (log ratio)", (-0.05, 0.05)),
    "A12: batchnorm over none": ("gradients of layer 2 (decades)", (3,)),
}


@figure(
    __doc__,
    tables=("signal_propagation",),
    claims=("A5", "A6", "A8", "A10", "A12"),
    size=(7.8, 3.8),
)
@Panels(rows=2, columns=3)
@Slide(((1, 0), (1, 1), (1, 2)))
def draw(sheet: Sheet) -> None:
    table, depth = sheet.table, sheet.config["model.depth"]
    zeros, centred, mixed = sheet.axes[0]
    small = select(table, init="small", layer=depth)
    plain = select(small, arithmetic="corrected", norm="none")
    lines = [
        forest.Line(name, seeds(plain, metric=metric), looks.INITS["small"])
        for name, metric in (("exactly 0", "zero_share"), ("below 0.01", "small_share"))
    ]
    title, label = "A5: activations that are zero", f"share at layer {depth}, no batchnorm"
    forest.draw_forest(zeros, lines, bounds=(0.9,), xlim=(0, 1.05), title=title, xlabel=label)

    normed = select(small, norm="after")
    listed, mended = (select(normed, arithmetic=a) for a in ("published", "corrected"))
    as_listed, as_batchnorm = looks.LISTING["listed"], looks.LISTING["mended"]
    lines = [
        forest.Line("units,\nas listed", seeds(listed, metric="unit_offset"), as_listed),
        forest.Line("examples,\nas listed", seeds(listed, metric="example_offset"), as_listed),
        forest.Line("units, as\nbatchnorm", seeds(mended, metric="unit_offset"), as_batchnorm),
    ]
    title, label = "A10: what is centred", f"offset at layer {depth} (std)"
    forest.draw_forest(centred, lines, bounds=(0.05,), title=title, xlabel=label)

    mixing = seeds(listed, metric="mixing_share")
    lines = [forest.Line("of other\nexamples", mixing, as_listed)]
    title, label = "A10: rows read as examples", "share of a row's new value"
    forest.draw_forest(mixed, lines, xlim=(0, 1.05), title=title, xlabel=label)

    gradients = select(table, arithmetic="corrected", metric="weight_grad_var")
    inits = present(gradients, "init", ("small", "glorot"))
    compared = {init: _compared(select(gradients, init=init), depth) for init in inits}
    for i, (ax, (title, (label, bounds))) in enumerate(
        zip(sheet.axes[1], COMPARED.items(), strict=True)
    ):
        lines = [
            forest.Line(looks.INITS[init][0].replace(" normal", ""), of_init[i], looks.INITS[init])
            for init, of_init in compared.items()
        ]
        labels: dict[str, Any] = {"title": title.format(depth), "xlabel": label}
        forest.draw_forest(ax, lines, bounds=bounds, origin=0, **labels)


def _compared(gradients: pd.DataFrame, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three comparisons of one initialisation, a value a seed."""

    def of_layer(layer: int, norm: str) -> np.ndarray:
        return seeds(gradients, norm=norm, layer=layer)

    def growth(norm: str) -> np.ndarray:
        layers = range(FITTED[0], FITTED[1] + 1)
        logs = [np.log(of_layer(layer, norm)) for layer in layers]
        return np.asarray(-np.polyfit(layers, logs, 1)[0])

    last, first = (np.log10(of_layer(layer, "none")) for layer in (depth, 2))
    return (
        last - first,
        growth("after") - growth("before"),
        np.log10(of_layer(2, "after")) - first,
    )
