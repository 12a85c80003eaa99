"""Which statistics to use at inference: test loss and accuracy by kind, by step and by batch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from gpubn.report.figures import courses, marks, scales, sheets, style
from gpubn.report.figures.selection import at_end, matching, present, seeds, select, values

TABLES = ("inference",)
CLAIMS = ("B5", "D10")

QUANTITIES = {"test_loss": ("test loss (nats)", True), "test_accuracy": ("test accuracy", False)}
LOOKS = (("-", "o"), ("--", "s"), ("-.", "D"), (":", "^"), ("-", "v"))


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    norms = present(table, "norm", ("before", "after"))
    styles = _styles(table)
    shown = table[table["metric"].str.contains(":")]
    logs = [m for m in shown["metric"].unique() if not m.startswith("test_accuracy")]
    text = f"""Inference by kind of statistics

        Dataset: {sheet.dataset}. {sheet.one_layer}, {sheet.training} on
        {c["data.train_examples"]:,} images a seed at most. Statistics on the test images: those of
        n evaluated together; moving averages of the training batches with weight a, from mean 0 and
        variance 1; population: one pass over the training images as the weights stand; never
        updated. Bottom: after the last step, by n; horizontal: the other kinds. Lines: mean
        (logarithmic axes: geometric) of n = {sheet.seeds} seeds; bands, bars: 95% t-interval.
        {marks.edge_note(shown, logs)}
    """
    axes = sheet.grid((2, 2 * len(norms)), (8.2, 5.6), text, style.keys(styles), legend_columns=5)
    last = at_end(table)
    for i, (quantity, (label, log)) in enumerate(QUANTITIES.items()):
        for k, norm in enumerate(norms):
            of_norm = axes[:, len(norms) * i + k]
            for ax, first, rows, when in zip(
                of_norm, axes[:, len(norms) * i], (shown, last), ("", ", in the end"), strict=True
            ):
                courses.share_row(ax, first, label)
                scales.scale(ax, log)
                ax.set_title(f"batchnorm {norm} tanh{when}", fontsize=7)
                if rows is shown:
                    for kind, look in styles.items():
                        of_kind = matching(rows, norm=norm, metric=f"{quantity}:{kind}")
                        courses.draw_course(ax, of_kind, look, log=log)
                    ax.set(xscale="log", xlabel="step")
                else:
                    _draw_by_batch(ax, select(rows, norm=norm), quantity, styles, log)
                ax.xaxis.set_minor_formatter(NullFormatter())
                of_quantity = rows[rows["metric"].str.startswith(f"{quantity}:")]
                ax.set_ylim(*scales.ends(values(of_quantity), log=log))
    for ax in axes[:, 0]:
        scales.plain_ticks(ax.yaxis)


def _draw_by_batch(
    ax: Axes, rows: pd.DataFrame, quantity: str, styles: dict[str, style.Style], log: bool
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
    marks.points(
        ax, x, interval, color=style.GREEN, marker="o", markersize=3, capsize=1.5, zorder=5
    )
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n:g}" for n in sizes], fontsize=6.5)
    ax.set_xlabel("n, images evaluated together")


def _numbers(table: pd.DataFrame, pattern: str) -> list[float]:
    """The numbers that a pattern finds in the names of the metrics, in order."""
    return sorted({float(n) for n in table["metric"].str.extract(pattern)[0].dropna()})


def _styles(table: pd.DataFrame) -> dict[str, style.Style]:
    """The look of each kind: greens for batches, oranges for moving averages, darker for more."""
    sizes = _numbers(table, r"^test_loss:batch\[(\d+)\]$")
    sizes = [n for n in sizes if n in (1, 2, 8, 32) or n == sizes[-1]]
    momenta = _numbers(table, r":moving\[(.*)\]$")
    batch = zip(sizes, style.tints("Greens", len(sizes)), LOOKS, strict=False)
    moving = zip(momenta, style.tints("Oranges", len(momenta)), LOOKS, strict=False)
    return {
        **{f"batch[{n:g}]": (f"{n:g} test image{'s' * (n > 1)}", c, *look) for n, c, look in batch},
        **{f"moving[{a:g}]": (f"moving, a = {a:g}", c, *look) for a, c, look in moving},
        "population": ("population", style.BLACK, "-", "P"),
        "never": ("never updated", style.PINK, "-", "X"),
    }
