"""Which statistics to use at inference: test loss and accuracy by kind, by step and by batch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from gpubn.report.figures.courses import (
    draw_course,
    edge_note,
    ends,
    of_metrics,
    place,
    plain_ticks,
    scale,
    select,
    tints,
)
from gpubn.report.figures.style import (
    BLACK,
    GREEN,
    PINK,
    Style,
    config_of,
    dataset_label,
    keys,
    new_figure,
    seed_count,
    titled,
)

TABLES = ("inference",)
CLAIMS = ("B5", "D10")

PLACES = {"before": "batchnorm before tanh", "after": "batchnorm after tanh"}
QUANTITIES = {
    "test_loss": ("test loss (nats)", True),
    "test_accuracy": ("test accuracy", False),
}
LINES = ("-", "--", "-.", ":", "-")


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Loss and accuracy by step; in the end by the number of images evaluated together."""
    table = tables["inference"]
    c = config_of(table)
    styles = _styles(table)
    shown = of_metrics(table, [m for m in table["metric"].unique() if ":" in m])
    logs = [m for m in shown["metric"].unique() if not m.startswith("test_accuracy")]
    figure, axes = new_figure(
        2,
        4,
        width=8.2,
        height=5.6,
        title=titled(table, "Inference by kind of statistics"),
        legend=keys(styles, list(styles), markers=True),
        legend_columns=5,
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch {c["optim.batch"]} on
            {c["data.train_examples"]:,} images a seed at most. Statistics on the test images: those
            of n evaluated together; moving averages of the training batches with weight a, from
            mean 0 and variance 1; population: one pass over the training images as the weights
            stand; never updated. Bottom: after the last step, by n; horizontal: the other kinds.
            Lines: mean (logarithmic axes: geometric) of n = {seed_count(table)} seeds; bands, bars:
            95% t-interval. {edge_note(shown, logs)} {verdicts}
        """,
    )
    for i, (quantity, (label, log)) in enumerate(QUANTITIES.items()):
        for k, (norm, heading) in enumerate(PLACES.items()):
            ax, first = axes[0, 2 * i + k], axes[0, 2 * i]
            _prepare(ax, first, label, log, heading)
            rows = select(table, {"norm": norm})
            for kind, style in styles.items():
                draw_course(ax, rows[rows["metric"] == f"{quantity}:{kind}"], style, log=log)
            ax.set_ylim(*_ends(shown, quantity, log))
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel("step")
    last = table[table["step"] == table["step"].max()]
    for i, (quantity, (label, log)) in enumerate(QUANTITIES.items()):
        for k, (norm, heading) in enumerate(PLACES.items()):
            ax = axes[1, 2 * i + k]
            _prepare(ax, axes[1, 2 * i], label, log, f"{heading}, in the end")
            _draw_by_batch(ax, select(last, {"norm": norm}), quantity, styles, log)
            ax.set_ylim(*_ends(last, quantity, log))
    for ax in axes[:, 0]:
        plain_ticks(ax.yaxis, *ax.get_ylim())
    return figure


def _prepare(ax: Axes, first: Axes, label: str, log: bool, heading: str) -> None:
    if ax is first:
        ax.set_ylabel(label)
    else:
        ax.sharey(first)
        ax.tick_params(labelleft=False)
    scale(ax, log)
    ax.set_title(heading, fontsize=7)


def _draw_by_batch(
    ax: Axes, rows: pd.DataFrame, quantity: str, styles: dict[str, Style], log: bool
) -> None:
    for kind, (_, color, line, _) in styles.items():
        value = rows[rows["metric"] == f"{quantity}:{kind}"]["value"].to_numpy(dtype=np.float64)
        if not kind.startswith("batch") and len(value):
            _, mean, _, _ = place(ax, np.array([1.0]), value[None], color, log=log)
            ax.axhline(mean[0], color=color, linestyle=line, linewidth=0.9)
    sizes = _sizes(rows)
    by_size = (rows[rows["metric"] == f"{quantity}:batch[{n}]"]["value"] for n in sizes)
    values = np.stack([of_size.to_numpy(dtype=np.float64) for of_size in by_size])
    x, mean, low, high = place(ax, np.array(sizes, float), values, GREEN, log=log)
    ax.errorbar(
        x, mean, yerr=(mean - low, high - mean), color=GREEN, marker="o", markersize=3,
        capsize=1.5, zorder=5,
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n}" for n in sizes], fontsize=6.5)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("n, images evaluated together")


def _ends(rows: pd.DataFrame, quantity: str, log: bool) -> tuple[float, float]:
    values = rows.loc[rows["metric"].str.startswith(f"{quantity}:"), "value"]
    return ends(values.to_numpy(dtype=np.float64), log=log)


def _sizes(table: pd.DataFrame) -> list[int]:
    found = table["metric"].str.extract(r"^test_loss:batch\[(\d+)\]$")[0].dropna()
    return sorted({int(n) for n in found})


def _styles(table: pd.DataFrame) -> dict[str, Style]:
    """The look of each kind: greens for batches, oranges for moving averages, darker for more."""
    sizes = _sizes(table)
    chosen = [n for n in sizes if n in (1, 2, 8, 32) or n == sizes[-1]]
    found = table["metric"].str.extract(r":moving\[(.*)\]$")[0].dropna()
    momenta = sorted({float(a) for a in found})
    batch = zip(chosen, tints("Greens", len(chosen)), LINES, "osD^v", strict=False)
    moving = zip(momenta, tints("Oranges", len(momenta)), LINES, "osD^v", strict=False)
    return {
        **{f"batch[{n}]": (f"{n} test image{'s' * (n > 1)}", c, ln, m) for n, c, ln, m in batch},
        **{f"moving[{a:g}]": (f"moving, a = {a:g}", c, ln, m) for a, c, ln, m in moving},
        "population": ("population", BLACK, "-", "P"),
        "never": ("never updated", PINK, "-", "X"),
    }
