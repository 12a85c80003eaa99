"""Percentiles of the activations, saturated and dead shares, by layer.

{dataset}; {network}, {weights} weights, {training}; the first and the last hidden layer alone.
Activations: median and, dotted, 15th and 85th percentile over images and units. Shares: of (image,
unit) pairs without a slope; of units without one on any image. {lines}

Measured on {IMAGES:,} training images with their statistics. No slope: |tanh| > {SATURATED},
logistic within {NEAR:.3g} of 0 or 1, ReLU exactly 0. y axes are shared by each row; lines may
overlap. The table has all layers.
"""

from typing import Any

from gpubn.experiments import array_statistics
from gpubn.experiments.probes import base
from gpubn.report.figures import courses, looks, scales, style
from gpubn.report.figures.selection import matching, select, values
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, by_activation, figure

IMAGES, SATURATED, NEAR = (
    base.EXAMPLES,
    array_statistics.SATURATED,
    (1 - array_statistics.SATURATED) / 2,
)
"""What the probes looked at."""

PERCENTILES: dict[str, dict[str, Any]] = {
    "activation_percentile[85]": {"linestyle": ":", "marker": "^"},
    "activation_percentile[50]": {"linestyle": "-", "marker": "o"},
    "activation_percentile[15]": {"linestyle": ":", "marker": "v"},
}
SHARES = {"saturated_share": "saturated\nshare", "dead_share": "dead\nshare"}


def _rows(sheet: Sheet) -> Labels:
    layers = courses.first_and_last(sheet)
    return {**{layer: f"layer {layer}:\nactivation" for layer in layers}, **SHARES}


@figure(__doc__, tables=("diagnostics",), size=(7.2, 7.0))
@Panels(rows=_rows, columns=by_activation, x="step", share="row")
@Legend(courses.layer_legend)
@Slide(((1, 0), (1, 1), (1, 2)))
def draw(sheet: Sheet) -> None:
    shown = select(sheet.table, metric=[*PERCENTILES, *SHARES])
    layers = courses.first_and_last(sheet)
    for row, activation, ax in sheet.panels():
        of_panel = matching(shown, activation=activation)
        scales.scale(ax, log=False)
        scales.step_axis(ax, shown)
        if row in SHARES:
            of_row = select(shown, metric=row, layer=layers)
            courses.draw_first_and_last(ax, matching(of_panel, metric=row), layers)
            ax.set_ylim(-0.03, scales.ends(values(of_row))[1])
            continue
        of_row = select(shown, metric=[*PERCENTILES], layer=row)
        for norm, look in looks.PLACEMENTS.items():
            for metric, line in PERCENTILES.items():
                curve = matching(of_panel, metric=metric, layer=row, norm=norm)
                courses.draw_course(ax, curve, look, **line)
        ax.set_ylim(*scales.ends(values(of_row)))
        ax.axhline(0, color=style.FAINT, linewidth=0.6, zorder=1)
