"""Activations and weight gradients by layer, and the distribution behind every layer."""

from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from gpubn.report.figures.selection import matching, select
from gpubn.report.site.exhibits import (
    ALL,
    NORMS,
    ROWS,
    Control,
    Exhibit,
    bars,
    by_seed,
    chosen,
    decades,
    geometric,
    held,
    norm_scales,
    parameters,
    rounded,
)
from gpubn.report.tables import read_table
from gpubn.report.words import ACTIVATIONS, INITS

STEM = "signal_grid"
QUANTITIES = {"activation_var": "activations", "weight_grad_var": "weight gradients"}


def by_layer(tables: Path) -> Exhibit:
    """Return the chart of variances by layer."""
    table = read_table(tables / f"{STEM}.csv")
    depths = sorted(table["depth"].unique(), key=int)
    norms = [norm for norm in NORMS if norm in set(table["norm"])]
    controls = (
        Control("depth", "Layers", {depth: depth for depth in depths}, "20"),
        Control("init", "Initial weights", held(table["init"], INITS), "small"),
        Control("activation", "Activation", held(table["activation"], ACTIVATIONS), "relu"),
        Control("norm", "Normalisation", {ALL: "all", **{NORMS[n]: NORMS[n] for n in norms}}, ALL),
    )
    panels = (_panel(controls, norms, quantity) for quantity in QUANTITIES.values())
    return Exhibit(
        name="by-layer",
        title="Activations and gradients by layer",
        says="How the signal fares on its way up, from left to right, and the gradient on its way "
        "down, from right to left, before any training. On its way a signal that falls vanishes, "
        "and one that rises explodes. A weight's gradient is the product of what comes up and what "
        "comes down: where one shrinks as the other grows, the line is flat, at whatever height.",
        made=f"{_network(table)} Points: geometric mean of n = {table['seed'].nunique()} seeds; "
        "bars: 95% t-interval, where none is seen smaller than the point. Standard normal "
        "gradients enter at the top. Variance over examples and units, or over a layer's weights; "
        "it has no unit.",
        controls=controls,
        chart=alt.vconcat(*panels).add_params(*parameters(controls)),
        rows=_curves(table, depths),
        headings={
            "quantity": "variance of",
            "norm": "normalisation",
            "layer": "layer",
            "mean": "mean",
            "low": "95% from",
            "high": "to",
        },
    )


def layer_by_layer(tables: Path) -> Exhibit:
    """Return the distribution of activations behind each layer, a button a layer."""
    table, pooled = (read_table(tables / f"{STEM}{kind}.csv") for kind in ("", "_pooled"))
    norms = [norm for norm in NORMS if norm in set(pooled["norm"])]
    layers = [str(layer) for layer in sorted(pooled["layer"].unique())]
    controls = (
        Control(
            "layer",
            "Layer",
            {layer: layer if int(layer) else "input" for layer in layers},
            layers[0],
            kind="buttons",
        ),
        Control("init", "Initial weights", held(pooled["init"], INITS), "small"),
    )
    return Exhibit(
        name="watch",
        title="Watch it happen: 20 layers, one after the other",
        says="A standard normal input goes through twenty ReLU layers. Go up layer by layer and "
        f"watch what is left of it: with weights {INITS['small']} and no normalisation all values "
        f"are in the bin at zero from layer {_spike(pooled)} on; with batchnorm the spread stays.",
        made=f"{_network(table)} {table['seed'].nunique()} seeds together. Bins of 0.2 from -4 to "
        "4; the outer ones take what lies beyond. The height is on a square root scale, so that "
        "low bars can be seen beside a spike.",
        controls=controls,
        chart=_histograms(controls, norms).add_params(*parameters(controls)),
        rows=_bins(pooled),
        facts=_spreads(matching(table, depth="20", activation="relu"), norms),
        headings={
            "norm": "normalisation",
            "spread": "standard deviation",
            "low": "95% from",
            "high": "to",
        },
        still={"layer": "5"},
    )


def _network(table: pd.DataFrame) -> str:
    config = table.attrs["config"]
    return (
        f"{config['model.width']} units a layer without biases, {config['data.examples']:,} "
        "standard normal examples, float64, before training."
    )


def _curves(table: pd.DataFrame, depths: list[str]) -> pd.DataFrame:
    """Means by layer; activations are those of the deepest network's first layers."""
    curves = []
    for metric, quantity in QUANTITIES.items():
        for depth in depths:
            rows = select(
                table, metric=metric, depth=depths[-1] if metric == "activation_var" else depth
            )
            rows = rows[rows["layer"] <= int(depth)]
            places, values = by_seed(rows, "init", "norm", "activation", "layer")
            curves.append(places.assign(quantity=quantity, depth=depth, **_means(values)))
    rows = pd.concat(curves, ignore_index=True).sort_values(["quantity", "layer"], kind="stable")
    return rounded(rows.assign(norm=rows["norm"].map(NORMS), layer=rows["layer"].astype(int)))


def _means(values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(("mean", "low", "high"), geometric(values), strict=True))


def _panel(controls: tuple[Control, ...], norms: list[str], quantity: str) -> alt.LayerChart:
    colour, dash, shape = norm_scales(norms)
    x = alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1, tickCount=10, grid=False))
    scale = alt.Scale(type="log", nice=True)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=decades())
    shown = (
        alt.Chart(alt.NamedData(ROWS), height=250)
        .transform_filter(chosen(controls))
        .transform_filter(f"datum.quantity == '{quantity}'")
        .encode(x=x, color=colour)
    )
    return alt.layer(
        shown.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        shown.mark_line(strokeWidth=2.5).encode(y=y, strokeDash=dash),
        shown.mark_point(size=70, filled=True, opacity=1).encode(
            y=y,
            shape=shape,
            tooltip=[
                alt.Tooltip("norm:N", title="normalisation"),
                alt.Tooltip("layer:Q", title="layer"),
                alt.Tooltip("mean:Q", title="variance", format=".3~e"),
                alt.Tooltip("low:Q", title="95% from", format=".3~e"),
                alt.Tooltip("high:Q", title="to", format=".3~e"),
            ],
        ),
        title=f"Variance of the {quantity}",
    )


def _spike(pooled: pd.DataFrame) -> int:
    """The first layer without normalisation whose values are all near zero."""
    centre = select(pooled, init="small", norm="none", metric="activation_hist[+0.0]")
    return int(centre["layer"][centre["value"] == 1].min())


def _bins(pooled: pd.DataFrame) -> pd.DataFrame:
    """The bins that hold something, by their centres."""
    rows = pooled[["init", "layer"]].assign(
        norm=pooled["norm"].map(NORMS),
        at=pooled["metric"].str.extract(r"\[(.*)\]")[0].astype(float),
        share=pooled["value"],
    )
    return rounded(rows.reset_index(drop=True))


def _spreads(table: pd.DataFrame, norms: list[str]) -> pd.DataFrame:
    """Standard deviations by layer."""
    rows = select(table, metric="activation_var", norm=norms)
    places, values = by_seed(rows, "init", "norm", "layer")
    found = places.assign(**_means(values**0.5)).rename(columns={"mean": "spread"})
    return rounded(found.assign(norm=found["norm"].map(NORMS), layer=found["layer"].astype(int)))


def _histograms(controls: tuple[Control, ...], norms: list[str]) -> alt.VConcatChart:
    shown = alt.Chart(alt.NamedData(ROWS), height=130).transform_filter(chosen(controls))
    panels = []
    for norm in norms:
        places = alt.X(
            "low:Q",
            title="activation" if norm == norms[-1] else None,
            scale=alt.Scale(domain=[-4.1, 4.1], nice=False),
            axis=alt.Axis(grid=False, values=[*range(-4, 5)], format="d"),
        )
        panels.append(bars(shown, norm, places, [0, 0.05, 0.2, 0.5, 1], "0.09"))
    return alt.vconcat(*panels)
