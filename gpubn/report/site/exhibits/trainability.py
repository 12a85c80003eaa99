"""The trainability map and the curves through it; each shows what is chosen in the other."""

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpubn.report.figures.selection import at_end, select
from gpubn.report.site.exhibits import (
    ALL,
    NETWORKS,
    NORMS,
    ROWS,
    Control,
    Exhibit,
    by_seed,
    chosen,
    dataset,
    held,
    parameters,
    rounded,
)
from gpubn.report.statistics import mean_interval
from gpubn.report.tables import read_table
from gpubn.report.trainability import GUESS

SHAPES = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right"]
LOST = 0.5
"""Share of seeds from which a cell counts as diverged."""


def trainability_map(tables: Path) -> Exhibit:
    """Return the map of depths and rates, linked with the curves of loss against rate."""
    table = read_table(tables / "trainability.csv")
    config, seeds = table.attrs["config"], table["seed"].nunique()
    rows = _cells(table)
    depths = sorted(rows["depth"].unique())
    rates = sorted(rows["rate"].unique())
    network = Control("network", "Network", held(table["network"], NETWORKS), "relu")
    norm = Control("norm", "Normalisation", held(table["norm"], NORMS), "none")
    any_depth = {ALL: "all", **{str(depth): str(depth) for depth in depths}}
    any_rate = {ALL: "all", **{f"{rate:g}": f"{rate:g}" for rate in rates}}
    controls = (
        network,
        norm,
        Control("depth", "Depth", any_depth, ALL, filters=False),
        Control("rate", "Learning rate", any_rate, ALL, filters=False),
    )
    shown = (
        alt.Chart(alt.NamedData(ROWS))
        .transform_filter(chosen(controls))
        .transform_calculate(
            on="(depth == 'all' || '' + datum.depth == depth) && "
            "(rate == 'all' || '' + datum.rate == rate)"
        )
    )
    box = alt.selection_interval(name="box", encodings=["x", "y"])
    span = alt.selection_interval(name="span", encodings=["x"])
    chart = alt.vconcat(
        _map(shown, depths).add_params(box), _curves(shown, depths).add_params(span)
    )
    return Exhibit(
        name="map",
        title="The trainability map",
        says="Which depths learn at which rates, in few steps. Draw a box over the map, or over "
        "the curves, and see the same networks in the other (a double click ends it); or choose a "
        "depth and a rate.",
        made=f"{dataset(config)}; {config['model.width']} units a layer, {config['optim.steps']} "
        f"steps of {config['optim.batch']} images, constant rate. Loss of the last "
        f"{config['every']} steps over that of a guess (ln 10 nats): 1 has learned nothing. Mean "
        f"of n = {seeds} seeds, each 1 at most; bars: 95% t-interval. Cross: half the seeds or "
        "more diverged.",
        controls=controls,
        chart=chart.add_params(*parameters(controls)).resolve_scale(
            color="independent", shape="independent"
        ),
        rows=rows,
        headings={
            "depth": "layers",
            "rate": "rate",
            "share": "loss over a guess",
            "low": "95% from",
            "high": "to",
            "diverged": "share of seeds that diverged",
        },
    )


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """Mean share of a guess with its interval, and how many seeds diverged, by depth and rate."""
    ends = at_end(table, metric="batch_loss")
    cells, losses = by_seed(ends, "network", "norm", "depth", "rate")
    _, diverged = by_seed(select(table, metric="diverged"), *cells)
    share, low, high = mean_interval(np.fmin(losses / GUESS, 1))
    cells = cells.assign(share=share, low=low, high=high, diverged=diverged.mean(axis=1))
    return rounded(cells.astype({"depth": int, "rate": float}))


def _lit(encoding: Any) -> Any:
    """Full where it is chosen in both charts and by the controls, faint elsewhere."""
    chosen_in_both = {"and": [{"param": "box"}, {"param": "span"}, "datum.on"]}
    return encoding(0.15, condition={"test": chosen_in_both, "value": 1})


def _map(shown: alt.Chart, depths: list[int]) -> alt.LayerChart:
    cells = shown.encode(
        x=alt.X(
            "rate:O",
            title="learning rate",
            axis=alt.Axis(format="~g", labelAngle=0, labelSeparation=6),
        ),
        y=alt.Y("depth:O", title="hidden layers", sort="descending"),
        opacity=_lit(alt.OpacityValue),
    ).properties(height=260, title="Loss over a guess, by depth and rate")
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(scheme="viridis", reverse=True, domain=[0, 1]),
        legend=alt.Legend(
            title="loss over a guess", orient="top", gradientLength=200, values=[0, 0.5, 1]
        ),
    )
    tooltip = [
        alt.Tooltip("depth:O", title="layers"),
        alt.Tooltip("rate:Q", title="rate"),
        alt.Tooltip("share:Q", title="loss over a guess", format=".3~f"),
        alt.Tooltip("diverged:Q", title="diverged", format="~%"),
    ]
    lost = f"datum.diverged >= {LOST}"
    return alt.layer(
        cells.mark_rect(stroke="var(--line)", strokeWidth=1).encode(color=colour, tooltip=tooltip),
        cells.transform_filter(lost).mark_rect(
            stroke="var(--line)", strokeWidth=1, color="var(--tint)"
        ),
        cells.transform_filter(lost).mark_text(text="×", fontSize=18, color="var(--ink)"),
    )


def _curves(shown: alt.Chart, depths: list[int]) -> alt.LayerChart:
    colours = [f"var(--depth-{i})" for i in range(1, len(depths) + 1)]
    legend = alt.Legend(
        title="hidden layers",
        orient="top",
        columns=len(depths),
        symbolSize=120,
        symbolOpacity=1,
    )
    colour = alt.Color("depth:N", scale=alt.Scale(domain=depths, range=colours), legend=legend)
    shape = alt.Shape(
        "depth:N", scale=alt.Scale(domain=depths, range=SHAPES[: len(depths)]), legend=legend
    )
    curves = (
        shown.transform_filter(f"datum.diverged < {LOST}")
        .encode(
            x=alt.X(
                "rate:Q",
                title="learning rate",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(
                    grid=False, format="~g", values=[10.0**power for power in range(-4, 2)]
                ),
            ),
            color=colour,
            opacity=_lit(alt.OpacityValue),
        )
        .properties(height=280, title="The same, as curves")
    )
    y = alt.Y("share:Q", title="loss over a guess", scale=alt.Scale(domain=[0, 1.05]))
    return alt.layer(
        curves.mark_rule(strokeWidth=1.5, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q"),
        curves.mark_line(strokeWidth=2).encode(y=y),
        curves.mark_point(size=70, filled=True).encode(y=y, shape=shape),
    )
