"""Document D: how far the distributions of a hidden layer drift while it trains."""

import pandas as pd
from matplotlib.figure import Figure

from gpubn.plotting import INITS, NORMS, config_of, dataset_label, new_figure, seed_count, titled
from gpubn.time_plots import Curve, Row, draw_grid, edge_note, of_metrics, style_keys

TABLES = ("mnist_init",)
CLAIMS = ("B15", "D7")

SHOWN = ("glorot", "rand_small")
METRICS = {
    "preactivation_drift_mean": "into tanh:\nmove of the means",
    "preactivation_drift_std": "into tanh:\nmove of the spread",
    "drift_mean": "into the next layer:\nmove of the means",
    "drift_std": "into the next layer:\nmove of the spread",
}


def draw(tables: dict[str, pd.DataFrame], verdicts: str) -> Figure:
    """Four measures of drift (rows) under two initialisations, one curve a normalisation."""
    table = tables["mnist_init"]
    c = config_of(table)
    shown = of_metrics(table[table["init"].isin(SHOWN)], list(METRICS))
    figure, axes = new_figure(
        len(METRICS),
        len(SHOWN),
        width=7.2,
        height=7.4,
        title=titled(table, "Drift of pre- and post-activations while training"),
        legend=style_keys(list(NORMS.values())),
        caption=f"""
            Dataset: {dataset_label(table)}. One hidden layer of {c["model.width"]}
            {c["model.activation"]} units, {c["optim.steps"]:,} steps of batch
            {c["optim.batch"]}, rate {c["optim.rate"]:g} falling linearly to
            {c["optim.min_rate"]:g}. From one of {shown["step"].nunique() + 1} evenly spaced
            measurements to the next, on 1,000 training images and with their statistics: root
            mean square over units of the change of their mean, over their root mean variance
            before; absolute change of the logarithm of that root mean variance. What goes into
            tanh has passed a batchnorm before tanh; what goes into the next layer has passed one
            after tanh as well. Directly behind a batchnorm mean and spread are its beta and gamma
            by construction, and without these nothing but rounding drifts. Lines:
            geometric mean of n = {seed_count(table)} seeds; bands: 95% t-interval. y axes
            are logarithmic and shared by each row; lines may overlap.
            {edge_note(shown, list(METRICS))} {verdicts}
        """,
    )
    rows = [
        Row(label, [Curve({"metric": m, "norm": norm}, s) for norm, s in NORMS.items()], log=True)
        for m, label in METRICS.items()
    ]
    columns = {f"weights {INITS[init][0]}": {"init": init} for init in SHOWN}
    draw_grid(axes, shown, rows, columns)
    return figure
