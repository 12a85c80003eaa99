"""Does batchnorm regularise? Test loss at equal training loss, by batch size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpubn.plotting import (
    FAINT,
    by_seed,
    config_of,
    dataset_label,
    geometric,
    keys,
    new_figure,
    seed_count,
    titled,
)
from gpubn.stats import mean_interval
from gpubn.sweep_plots import (
    PLACEMENTS,
    by_level,
    category_axis,
    draw_outcomes,
    finite_range,
    hidden_layers,
    offsets,
    outcomes,
)
from gpubn.words import ACTIVATIONS

TABLES = ("batch_sweep",)
CLAIMS = ("B12",)

TARGETS = (0.5, 0.2, 0.1)
NORMS = ("none", "before")


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Above: test loss where the training loss falls to a target. Below: the way there."""
    table = tables["batch_sweep"]
    c = config_of(table)
    figure, axes = new_figure(
        2,
        len(TARGETS),
        width=7.2,
        height=5.6,
        title=titled(table, "Test loss at equal training loss, by batch size"),
        legend=keys(PLACEMENTS, NORMS, markers=True),
        caption=f"""
            Dataset: {dataset_label(table)}, the first {c["data.train_examples"]:,} training images.
            {hidden_layers(c)} {ACTIVATIONS[c["model.activation"]]} units,
            {c["optim.steps"]} steps, rate {c["optim.rate"]}, constant; losses in inference mode.
            Above: test loss where the training loss first falls to the value in the title,
            interpolated between measurements {_gap(table)} steps apart, across the batch size;
            marks: mean of n = {seed_count(table)} seeds; bars: its 95%
            t-interval; hollow marks: mean of the seeds that come there, where not all do; triangles
            at the top: none does. Below, for three of the batch sizes: test loss against training
            loss through training, which runs to the right; thin lines: seeds; thick: their
            geometric mean at equal steps; dotted: the training losses compared above; dashed: equal
            losses. These axes end just above the largest first loss: seeds beyond are cut off.
            {verdicts}
        """,
    )
    low, top = finite_range(table.loc[table["metric"].str.startswith("test_loss_at"), "value"])
    ticks = [
        t
        for t in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, top)
        if low <= t < 0.95 * top
    ]
    for ax, target in zip(axes[0], TARGETS, strict=True):
        for shift, norm in zip(offsets(len(NORMS), 0.2), NORMS, strict=True):
            part = table[table["norm"] == norm]
            sizes, found = by_level(part, "batch", f"test_loss_at[{target:g}]")
            x = np.arange(len(sizes)) + shift
            summary = outcomes(found, mean_interval)
            draw_outcomes(ax, x, summary, PLACEMENTS[norm], ends=(low, top))
        ax.set_ylim(low, top)
        ax.set_yticks([*ticks, top], [*(f"{tick:g}" for tick in ticks), "not\nreached"])
        category_axis(ax, sizes)
        ax.set_title(f"at a training loss of {target:g}")
        ax.set_xlabel("batch size (images)")
    for ax, size in zip(axes[1], sizes[[0, len(sizes) // 2, -1]], strict=True):
        for norm in NORMS:
            rows = table[(table["norm"] == norm) & (table["batch"].astype(float) == size)]
            _draw_path(ax, rows, norm)
        for target in TARGETS:
            ax.axvline(target, color=FAINT, linestyle=":", linewidth=0.9, zorder=1)
        _set_path_axes(ax, table)
        ax.set_title(f"batch size {size:g}")
        ax.set_xlabel("training loss (nats)")
    for ax in axes[:, 0]:
        ax.set_ylabel("test loss (nats)")
    for ax in axes[:, 1:].flat:
        ax.set_yticklabels([])
    return figure


def _gap(table: pd.DataFrame) -> int:
    """Steps from one measurement to the next."""
    steps = table.loc[table["metric"] == "test_loss_path", "step"].unique()
    return int(np.diff(np.sort(steps.astype(int))).max())


def _draw_path(ax: Axes, rows: pd.DataFrame, norm: str) -> None:
    _, color, line, _ = PLACEMENTS[norm]
    train, test = (
        by_seed(rows[rows["metric"] == f"{part}_loss_path"], "step")[1]
        for part in ("train", "test")
    )
    ax.plot(train, test, color=color, linewidth=0.4, alpha=0.35)
    ax.plot(geometric(train).mean, geometric(test).mean, color=color, linestyle=line, linewidth=1.6)


def _set_path_axes(ax: Axes, table: pd.DataFrame) -> None:
    """Logarithmic axes, the same in every panel, with the training loss falling to the right."""
    train, test = (table[table["metric"] == f"{part}_loss_path"] for part in ("train", "test"))
    paths = pd.concat([train, test])
    top = finite_range(paths.loc[paths["step"] == 0, "value"])[1]
    x, y = finite_range(train["value"])[0], finite_range(test["value"])[0]
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    for scale, set_ticks in ((ax.set_xscale, ax.set_xticks), (ax.set_yscale, ax.set_yticks)):
        scale("log")
        set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(top, x)
    ax.set_ylim(y, top)
    ax.plot([y, top], [y, top], color=FAINT, linestyle="--", linewidth=0.8, zorder=1)
