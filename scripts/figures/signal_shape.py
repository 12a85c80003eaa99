"""How normal activations and gradients of {c[model.depth]} ReLU layers are, and how many are zero.

{signal}, weights {init}. {lines} Kolmogorov distance from the normal of the same mean and variance;
dashes: what matters. Small: below a hundredth of the standard deviation at the top.

The distance is the largest difference of the two distribution functions. Left, theory: the ReLU of
a centred normal. At the top the upstream gradient enters, and signals are those of the layers'
outputs. Layer 0 is the input. Bands are mostly narrower than the line.
"""

import functools

from gpubn import theory
from gpubn.report.figures import looks, marks, scales, style
from gpubn.report.figures.selection import present, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

NORMAL, ROUGHLY, NEARLY_ALL = 0.02, 0.05, 0.9
"""What matters: from when on values are not normal, not roughly normal, and nearly all zero."""


@figure(__doc__, tables=("signal_shape",), claims=("A13", "A14", "A15"), size=(7.8, 3.6))
@Panels(
    columns={
        "activation_distance": "activations,\nno batchnorm",
        "weight_grad_distance": "weight gradients",
        "zeros": "gradients that are zero,\nno batchnorm",
    },
    x="layer",
)
@Legend(
    [
        *style.keys((looks.NORMS["none"], *looks.RELU_PLACES.values())),
        *style.keys(looks.ZEROS),
        style.theory_key(),
    ]
)
@Slide(((0, 0), (0, 1), (0, 2)))
def draw(sheet: Sheet) -> None:
    table = select(sheet.table, arithmetic="corrected")
    depth = sheet.config["model.depth"]
    init = present(table, "init", ("small", *looks.INITS))[0]
    sheet.said["init"] = looks.INITS[init][0]
    table = select(table, init=init)
    none = select(table, norm="none")
    shapes = {"none": looks.NORMS["none"], **looks.RELU_PLACES}
    activations, gradients, zeros = sheet.axes[0]
    curve = functools.partial(marks.curve, index="layer", marks_every=5)
    curve(activations, none, style=shapes["none"], metric="activation_distance")
    activations.plot([0.5, 1.5], [theory.RELU_NORMAL_DISTANCE] * 2, **style.THEORY)
    for norm in present(table, "norm", shapes):
        rows = select(table, norm=norm)
        curve(gradients, rows, style=shapes[norm], metric="weight_grad_distance")
    for metric, look in looks.ZEROS.items():
        curve(zeros, none, style=look, metric=metric)
    for ax, bound in zip(sheet.axes[0], (NORMAL, ROUGHLY, NEARLY_ALL), strict=True):
        scales.bounds(ax, bound)
        ax.set_xlim(-0.5, depth + 0.5)
        ax.set_xticks(range(0, depth + 1, 5))
        ax.set_ylim(bottom=0)
    activations.set_ylabel("distance from normal")
    gradients.set_ylabel("distance from normal")
    zeros.set_ylabel("share")
    zeros.set_ylim(-0.04, 1.04)
