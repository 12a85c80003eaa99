"""Inference by kind of statistics.

{dataset}; {network}, {training}. Statistics: of m test images evaluated together; moving averages
of weight a; population, one pass over the training images; never updated. Bottom: at the end, by m;
horizontal: the other kinds. {lines}

At most {c[data.train_examples]:,} training images a seed. The moving averages follow the training
batches from mean 0 and variance 1; the population's statistics are taken as the weights stand.
Means on logarithmic axes are geometric; bars: 95% t-interval.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from gpubn.report.figures import courses, looks, marks, scales, style
from gpubn.report.figures.selection import at_end, matching, present, seeds, select, values
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure

QUANTITIES = {"test_loss": ("test loss (nats)", True), "test_accuracy": ("test accuracy", False)}
EXAMPLES = (1, 2, 8, 32)
"""Test images evaluated together that have a curve; so have most of them."""


def _columns(sheet: Sheet) -> Labels:
    norms = present(sheet.table, "norm", ("before", "after"))
    return {(q, norm): f"batchnorm {norm} tanh" for q in QUANTITIES for norm in norms}


@figure(__doc__, tables=("inference",), claims=("B5", "D10"), size=(8.2, 5.2))
@Panels(
    rows=("step", "m"), columns=_columns, x={"step": "step", "m": "m, images evaluated together"}
)
@Legend(lambda sheet: style.keys(_styles(sheet.table)))
@Slide(((0, 0), (0, 2), (1, 2)))
def draw(sheet: Sheet) -> None:
    table, styles = sheet.table, _styles(sheet.table)
    shown = table[table["metric"].str.contains(":")]
    last = at_end(table)
    firsts: dict[tuple[str, str], Axes] = {}
    for row, (quantity, norm), ax in sheet.panels():
        label, log = QUANTITIES[quantity]
        courses.share_row(ax, firsts.setdefault((row, quantity), ax), label)
        scales.scale(ax, log)
        rows = shown if row == "step" else last
        if row == "step":
            for kind, look in styles.items():
                of_kind = matching(rows, norm=norm, metric=f"{quantity}:{kind}")
                courses.draw_course(ax, of_kind, look, log=log)
            ax.set_xscale("log")
        else:
            _draw_by_batch(ax, select(rows, norm=norm), quantity, styles, log)
        ax.xaxis.set_minor_formatter(NullFormatter())
        of_quantity = rows[rows["metric"].str.startswith(f"{quantity}:")]
        ax.set_ylim(*scales.ends(values(of_quantity), log=log))
        if log:
            scales.plain_ticks(ax.yaxis)


def _draw_by_batch(
    ax: Axes, rows: pd.DataFrame, quantity: str, styles: looks.Looks, log: bool
) -> None:
    held = set(rows["metric"])
    for kind, (_, color, line, _) in styles.items():
        if not kind.startswith("batch") and (metric := f"{quantity}:{kind}") in held:
            of_kind = seeds(rows, metric=metric)[None]
            _, interval = marks.place(ax, np.array([1.0]), of_kind, color, log=log)
            ax.axhline(interval.mean[0], color=color, linestyle=line, linewidth=0.9)
    sizes = _numbers(rows, r"^test_loss:batch\[(\d+)\]$")
    of_sizes = np.stack([seeds(rows, metric=f"{quantity}:batch[{n:g}]") for n in sizes])
    x, interval = marks.place(ax, np.array(sizes), of_sizes, style.GREEN, log=log)
    marks.points(ax, x, interval, ("", style.GREEN, "-", "o"), zorder=5)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n:g}" for n in sizes], fontsize=6.5)


def _numbers(table: pd.DataFrame, pattern: str) -> list[float]:
    """The numbers that a pattern finds in the names of the metrics, in order."""
    return sorted({float(n) for n in table["metric"].str.extract(pattern)[0].dropna()})


def _styles(table: pd.DataFrame) -> looks.Looks:
    """The look of each kind: greens for batches, oranges for moving averages, darker for more."""
    sizes = _numbers(table, r"^test_loss:batch\[(\d+)\]$")
    sizes = [n for n in sizes if n in EXAMPLES or n == sizes[-1]]
    momenta = _numbers(table, r":moving\[(.*)\]$")
    batch = zip(sizes, style.tints("Greens", len(sizes)), looks.SERIES, strict=False)
    moving = zip(momenta, style.tints("Oranges", len(momenta)), looks.SERIES, strict=False)
    images = {n: f"{n:g} test image{'s' * (n > 1)}" for n in sizes}
    return {
        **{f"batch[{n:g}]": (images[n], color, *look[1:]) for n, color, look in batch},
        **{f"moving[{a:g}]": (f"moving, a = {a:g}", c, *look[1:]) for a, c, look in moving},
        **{kind: looks.STATISTICS[kind] for kind in ("population", "never")},
    }
