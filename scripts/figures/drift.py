"""Document D: how far the distributions of a hidden layer drift while it trains."""

import numpy as np

from gpubn.report.figures import courses, forest, marks, sheets, style
from gpubn.report.figures.selection import by, present, select

TABLES = ("mnist_init",)
CLAIMS = ("D7",)

METRICS = {"preactivation_drift_mean": "goes into tanh", "drift_mean": "the next layer sees"}
MATTERS = 0.1


def draw(sheet: sheets.Sheet) -> None:
    table = sheet.table
    inits = present(table, "init", ("glorot", "rand_small"))
    shown = select(table, init=inits, metric=[*METRICS])
    text = f"""Drift of pre- and post-activations while training

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training}, {sheet.falling_rate}. From
        one of {shown["step"].nunique() + 1} evenly spaced measurements to the next, on 1,000
        training images: root mean square over units of the change of their mean, over their root
        mean variance before. Lines: geometric mean of n = {sheet.seeds} seeds; bands: 95%
        t-interval, mostly narrower than the line. Right: Glorot, log ratio of the means over the
        steps, none over batchnorm; dots: seeds; marks and bars: mean and its 95% t-interval;
        dashes: the least that matters. {marks.edge_note(shown, list(METRICS))}
    """
    legend = style.keys(style.TREATMENTS)
    axes = sheet.grid((len(METRICS), len(inits) + 1), (7.8, 4.6), text, legend)
    rows = [
        courses.CourseRow(
            f"drift of what\n{label} (std)",
            [({"metric": metric, "norm": norm}, look) for norm, look in style.TREATMENTS.items()],
            log=True,
        )
        for metric, label in METRICS.items()
    ]
    columns = {f"weights {style.INITS[init][0]}": {"init": init} for init in inits}
    courses.draw_courses(axes[:, :-1], shown, rows, columns)
    for ax, (metric, label) in zip(axes[:, -1], METRICS.items(), strict=True):
        of_metric = select(shown, init="glorot", metric=metric)
        none, *normed = (
            by(of_metric, "step", norm=norm)[1].mean(axis=0) for norm in style.TREATMENTS
        )
        lines = [
            forest.Line(style.NORMS[norm][0], np.log(none / drift), style.NORMS[norm])
            for norm, drift in zip(("before", "after"), normed, strict=True)
        ]
        forest.draw_forest(ax, lines, bounds=(MATTERS,), origin=0)
        ax.set_title(f"what {label}", fontsize=7, pad=2)
        ax.set_xlabel("none over batchnorm (log ratio)")
