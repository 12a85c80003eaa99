"""Loss curves, seed by seed, losses by depth, and distributions while training."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import altair as alt
import pandas as pd

from gpubn.report.figures.selection import at_end, select
from gpubn.report.published import ideal_first_loss
from gpubn.report.site.exhibits import (
    NETWORKS,
    NORMS,
    ROWS,
    Control,
    Exhibit,
    bars,
    by_seed,
    chosen,
    dataset,
    geometric,
    held,
    norm_scales,
    parameters,
    rounded,
)
from gpubn.report.tables import read_table
from gpubn.report.words import ACTIVATIONS, INITS

GUESS = ideal_first_loss(10)
TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
PLACES = {"post": "after the activation (tanh)", "pre": "before the activation"}
_BETWEEN = {"low": "95% from", "high": "to"}
_ENDS = (0.3, 30)
"""Of the axis of losses that may diverge."""
_DASHES = "Dashed: the loss of a guess, ln 10 = 2.303 nats."


def curves(tables: Path) -> Exhibit:
    """Return loss curves of one hidden layer from several starts, with every seed."""
    table = select(read_table(tables / "mnist_init.csv"), metric="batch_loss")
    config, seeds = table.attrs["config"], table["seed"].nunique()
    norms = [norm for norm in NORMS if norm in set(table["norm"])]
    controls = (
        Control("init", "Initial weights", held(table["init"], INITS), "rand_small"),
        Control("each", "Every seed", {"false": "no", "true": "yes"}, "true", "check", False),
    )
    rows = _wide(table, "step", "init", "norm")
    return Exhibit(
        name="curves",
        title="Loss curves, seed by seed",
        says="One hidden tanh layer learns the digits from a start of your choice, with batchnorm "
        "and without. Where the thin lines spread, one run alone says little.",
        made=f"{dataset(config)}; 784-128-10, {config['optim.steps']:,} steps of "
        f"{config['optim.batch']} images, rate {config['optim.rate']:g}, falling. Mini-batch loss "
        f"in nats, mean of {config['every']} steps. Thick: geometric mean of n = {seeds} seeds; "
        f"band: 95% t-interval; thin: each seed. {_DASHES}",
        controls=controls,
        chart=_lines(controls, norms, seeds),
        rows=rows,
        facts=rows[rows["step"].isin([0, 100, 500, 1000, config["optim.steps"]])],
        headings={"norm": "normalisation", "step": "step", "mean": "loss (nats)", **_BETWEEN},
    )


def by_step(tables: Path) -> Exhibit:
    """Return loss curves of a network of any depth at any rate, with every seed."""
    table = select(read_table(tables / "trainability.csv"), metric="batch_loss")
    config, seeds = table.attrs["config"], table["seed"].nunique()
    norms = [norm for norm in NORMS if norm in set(table["norm"])]
    table = _with_starts(table)
    depths, rates = (
        {level: level for level in sorted(table[axis].unique(), key=float)}
        for axis in ("depth", "rate")
    )
    controls = (
        Control("network", "Network", held(table["network"], NETWORKS), "relu"),
        Control("depth", "Hidden layers", depths, "10", "range"),
        Control("rate", "Learning rate", rates, "0.1", "range"),
        Control("each", "Every seed", {"false": "no", "true": "yes"}, "true", "check", False),
    )
    return Exhibit(
        name="by-step",
        title="Learning, step by step",
        says="Choose a depth and a rate of the trainability map and see how such a network gets "
        "there: at once, late, or not at all.",
        made=f"{dataset(config)}; {config['model.width']} units a layer, {config['optim.steps']} "
        f"steps of {config['optim.batch']} images, constant rate. Mini-batch loss in nats: the "
        f"first, then means of {config['every']} steps. Thick: geometric mean of n = {seeds} "
        "seeds, band: 95% t-interval, neither from where a seed is infinite or NaN; thin: each "
        f"seed. A line that leaves at the top passes {_ENDS[1]} nats. {_DASHES}",
        controls=controls,
        chart=_lines(controls, norms, seeds, _ENDS),
        rows=_wide(table, "step", "network", "norm", "depth", "rate"),
        headings={"norm": "normalisation", "step": "step", "mean": "loss (nats)", **_BETWEEN},
    )


def by_depth(tables: Path) -> Exhibit:
    """Return losses by depth, for a rate, an initialisation and an activation."""
    table = read_table(tables / "depth_grid.csv")
    config = table.attrs["config"]
    rates = {rate: rate for rate in sorted(table["rate"].unique(), key=float)}
    return _by_depth(
        table,
        (Control("rate", "Learning rate", rates, "0.1", "range"), *_networks(table)),
        name="by-depth",
        title="What still learns: loss by depth",
        says="The same few steps for 1 to 20 hidden layers. Move the rate: where the loss stays at "
        "a guess, the network has learned nothing yet.",
        trained=f"{config['optim.steps']} steps of {config['optim.batch']} images, constant rate",
    )


def by_depth_in_full(tables: Path) -> Exhibit:
    """Return losses by depth of long trainings, each arm at the rate that suits it."""
    table = read_table(tables / "depth_grid.csv")
    config = table.attrs["config"]
    tuning = pd.read_csv(tables / "depth_grid_tuning.csv")
    tried, found = tuning["rate"].unique(), tuning[tuning["chosen"] == 1]
    return _by_depth(
        table,
        _networks(table),
        name="by-depth-tuned",
        title="What batchnorm is worth at each depth",
        says="Longer trainings, each at the best of the rates that were tried for it: little of "
        "what is left between the arrangements is a matter of the rate.",
        trained=f"{config['optim.steps']:,} steps of {config['optim.batch']} images; each "
        f"arrangement at the best of {len(tried)} constant rates from {min(tried):g} to "
        f"{max(tried):g}, found on other seeds ({found['at_edge'].sum()} of {len(found)} chose the "
        "smallest or the largest, so that another might have been better)",
        own_rates=True,
    )


def _networks(table: pd.DataFrame) -> tuple[Control, ...]:
    return (
        Control("init", "Initial weights", held(table["init"], INITS), "he"),
        Control("activation", "Activation", held(table["activation"], ACTIVATIONS), "relu"),
    )


def _by_depth(
    table: pd.DataFrame,
    controls: tuple[Control, ...],
    *,
    trained: str,
    name: str,
    title: str,
    says: str,
    own_rates: bool = False,
) -> Exhibit:
    """Losses at the end by depth and normalisation.

    Args:
        own_rates: that each arm has a rate of its own, which stands beside the numbers.
    """
    config, seeds = table.attrs["config"], table["seed"].nunique()
    norms = [norm for norm in NORMS if norm in set(table["norm"])]
    ends = at_end(table, metric="batch_loss")
    arms = ["norm", *(control.name for control in controls)]
    rows = _wide(ends, "depth", *dict.fromkeys([*arms, "rate"]))
    order = [NORMS[norm] for norm in norms]
    colour, _, shape = norm_scales(norms)
    shown = (
        alt.Chart(alt.NamedData(ROWS), height=340)
        .transform_filter(chosen(controls))
        .encode(
            x=alt.X("depth:O", title="hidden layers", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("norm:N", sort=order),
            color=colour,
        )
    )
    seeds_of = (
        shown.transform_fold([f"s{seed}" for seed in range(seeds)], ["seed", "loss"])
        .mark_tick(orient="horizontal", thickness=1, size=14, opacity=0.5)
        .encode(y=_losses("loss"))
    )
    interval = shown.mark_rule(strokeWidth=2.5).encode(y=_losses("low"), y2="high:Q")
    mean = shown.mark_point(size=110, filled=True, opacity=1).encode(y=_losses("mean"), shape=shape)
    return Exhibit(
        name=name,
        title=title,
        says=says,
        made=f"{dataset(config)}; {config['model.width']} units a layer, {trained}. Mini-batch "
        f"loss in nats, mean of the last {config['every']} steps. Points: geometric mean of n = "
        f"{seeds} seeds; bars: 95% t-interval, neither where a seed diverged; ticks: each seed. "
        f"{_DASHES}",
        controls=controls,
        chart=alt.layer(_guess(), seeds_of, interval, mean).add_params(*parameters(controls)),
        rows=rows,
        headings={
            "norm": "normalisation",
            "depth": "layers",
            **({"rate": "rate"} if own_rates else {}),
            "mean": "loss (nats)",
            **_BETWEEN,
        },
    )


def distributions(tables: Path) -> Exhibit:
    """Return the distributions around the activation while training, with a slider over steps."""
    pooled = read_table(tables / "mnist_init_pooled.csv")
    config = pooled.attrs["config"]
    norms = [norm for norm in NORMS if norm in set(pooled["norm"])]
    steps = {str(step): str(step) for step in sorted(pooled["step"].unique())}
    controls = (
        Control("step", "Training step", steps, "0", "range"),
        Control("place", "Values", PLACES, "post"),
        Control("init", "Initial weights", _with_arms(pooled), "glorot"),
    )
    named = pooled["metric"].str.extract(r"(?P<place>\w+?)_activation_hist\[(?P<at>.*)\]")
    rows = pooled[["init", "step"]].assign(
        place=named["place"],
        at=named["at"].astype(float),
        norm=pooled["norm"].map(NORMS),
        share=pooled["value"],
    )
    rows = rounded(rows.reset_index(drop=True))
    arms = rows.groupby(["init", "norm", "place", "step"], sort=False)["share"]
    facts = arms.agg(outer=lambda of: of.iloc[0] + of.iloc[-1], middle=_middle)
    return Exhibit(
        name="distributions",
        title="Distributions while it learns",
        says="The values of the hidden layer from the first step to the last. Move the slider and "
        "watch where they gather: near -1 and 1 tanh is flat and a unit learns slowly.",
        made=f"{dataset(config)}; 784-128-10 with tanh, rate {config['optim.rate']:g}, "
        f"{config['optim.steps']:,} steps. Shares of all values of {config['seeds']} seeds "
        "together in 60 even bins; the outer ones take what lies beyond. Square root scale.",
        controls=controls,
        chart=_histograms(controls, norms).add_params(*parameters(controls)),
        rows=rows[rows["share"] > 0],
        facts=rounded(facts.reset_index()),
        headings={
            "norm": "normalisation",
            "outer": "share in the two outer bins",
            "middle": "in the two middle ones",
        },
    )


def _middle(shares: pd.Series) -> float:
    half = len(shares) // 2
    return float(shares.iloc[half - 1] + shares.iloc[half])


def _with_arms(pooled: pd.DataFrame) -> dict[str, str]:
    """Initialisations, and of which there is no batchnorm."""
    found = held(pooled["init"], INITS)
    for init in found:
        if {*pooled["norm"][pooled["init"] == init]} == {"none"}:
            found[init] += " (no batchnorm)"
    return found


def _wide(table: pd.DataFrame, along: str, *arms: str) -> pd.DataFrame:
    """Means of losses with their intervals, and each seed's loss as a column s0, s1, ..."""
    places, values = by_seed(table, *arms, along)
    mean, low, high = geometric(values)
    rows = places.assign(mean=mean, low=low, high=high)
    rows = rows.assign(**{f"s{seed}": of for seed, of in enumerate(values.T)})
    rows = rows.assign(norm=rows["norm"].map(NORMS), **{along: rows[along].astype(int)})
    return rounded(rows.sort_values(along, kind="stable"))


def _with_starts(table: pd.DataFrame) -> pd.DataFrame:
    """Losses of the rates that have a curve, with the first one, which is the same at every rate.

    Where no rate has one, as where losses were recorded at other steps, start and end of all.
    """
    first, later = (table[at.fillna(False)] for at in (table["step"] == 0, table["step"] > 0))
    last = later["step"].max()
    on_the_way = later["rate"][later["step"] < last]
    curves = later if on_the_way.empty else later[later["rate"].isin(on_the_way)]
    starts = first.drop(columns="rate").merge(curves[["rate"]].drop_duplicates(), how="cross")
    return pd.concat([starts, curves], ignore_index=True)


def _lines(
    controls: tuple[Control, ...],
    norms: list[str],
    seeds: int,
    ends: Sequence[float] | None = None,
) -> alt.LayerChart:
    """Losses over steps: mean, interval, and every seed where that is chosen."""
    losses = partial(_losses, ends=ends)
    x = alt.X(
        "step:Q",
        title="step",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(grid=False, tickCount=4),
    )
    colour, dash, _ = norm_scales(norms, lines=True)
    shown = (
        alt.Chart(alt.NamedData(ROWS), height=340)
        .transform_filter(chosen(controls))
        .encode(x=x, color=colour)
    )
    thin = (
        shown.transform_fold([f"s{seed}" for seed in range(seeds)], ["seed", "loss"])
        .mark_line(strokeWidth=0.8, opacity=alt.ExprRef("each ? 0.45 : 0"), clip=True)
        .encode(y=losses("loss"), detail="seed:N")
    )
    mean = shown.mark_line(strokeWidth=3, clip=True).encode(y=losses("mean"), strokeDash=dash)
    band = shown.mark_area(opacity=0.2, clip=True).encode(y=losses("low"), y2="high:Q")
    return alt.layer(band, thin, mean, _guess(ends)).add_params(*parameters(controls))


def _losses(column: str, ends: Sequence[float] | None = None) -> alt.Y:
    """A logarithmic axis of losses that ends there, or where the data do."""
    scale = alt.Scale(type="log", nice=False, padding=10)
    if ends:
        scale = alt.Scale(type="log", nice=False, domain=[*ends])
    axis = alt.Axis(values=TICKS, format="~g")
    return alt.Y(f"{column}:Q", title="loss (nats)", scale=scale, axis=axis)


def _guess(ends: Sequence[float] | None = None) -> alt.Chart:
    return (
        alt.Chart(alt.InlineData([{"guess": GUESS}]))
        .mark_rule(strokeDash=[6, 4], strokeWidth=1.5, color="var(--soft)")
        .encode(y=_losses("guess", ends))
    )


def _histograms(controls: tuple[Control, ...], norms: list[str]) -> alt.VConcatChart:
    shown = alt.Chart(alt.NamedData(ROWS), height=130).transform_filter(chosen(controls))
    ends = alt.ExprRef("place == 'post' ? [-1, 1] : [-6, 6]")
    panels = []
    for norm in norms:
        places = alt.X(
            "low:Q",
            title="value" if norm == norms[-1] else None,
            scale=alt.Scale(domain=ends, nice=False),
            axis=alt.Axis(grid=False, tickCount=5),
        )
        half = "datum.place == 'post' ? 0.0155 : 0.093"
        panels.append(bars(shown, norm, places, [0, 0.02, 0.1, 0.25, 0.5], half))
    return alt.vconcat(*panels)
