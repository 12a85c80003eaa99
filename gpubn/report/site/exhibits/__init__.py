"""An exhibit of the laboratory: a chart, what one can choose in it, and the numbers that it shows.

Rows are shown that have the chosen value of every control; chart and table follow the same rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpubn.report import words
from gpubn.report.statistics import mean_interval

ALL = "all"
"""The choice that leaves nothing out."""
ROWS = "rows"
"""The name of the data in a chart."""
FIGURES = 4
"""Digits that are kept of a number."""

NETWORKS = {"relu": "ReLU, He weights", "tanh": "tanh, Glorot weights"}
NORMS = {
    "none": "no normalisation",
    "before": "batchnorm before the activation",
    "after": "batchnorm after the activation",
    "layer": "layer norm before the activation",
    "skip_init": "residual, no normalisation",
}
LOOKS = {
    "none": ("var(--none)", [1, 0], "circle"),
    "before": ("var(--before)", [7, 3], "square"),
    "after": ("var(--after)", [2, 3], "diamond"),
    "layer": ("var(--layer)", [9, 3, 2, 3], "triangle-up"),
    "skip_init": ("var(--residual)", [1, 3, 7, 3], "cross"),
}
"""Normalisation -> colour, dashes and marker, as in the figures; colours are of the style sheet."""


@dataclass(frozen=True)
class Control:
    """A choice: a select, a slider over its options, a checkbox, or a button an option.

    Attributes:
        name: a parameter of the chart, and where it `filters` a column of the rows.
        options: value -> text, in order; of a checkbox false and true.
        start: the value at first.
        keeps_all: the option `ALL` is first, and leaves nothing out.
    """

    name: str
    label: str
    options: Mapping[str, str]
    start: str
    kind: str = "select"
    filters: bool = True

    @property
    def choices(self) -> list[str]:
        """The values, in order."""
        return [*self.options]


@dataclass(frozen=True)
class Exhibit:
    """One chart with its controls and its numbers.

    Attributes:
        name: of its files and its anchor.
        title: a short one.
        says: what is seen, in one or two sentences.
        made: the network, n, interval, and what the numbers are.
        rows: what the chart draws, all choices together.
        facts: what the table shows, filtered alike; the rows where it is None.
        headings: column of the facts -> heading, in order.
        still: the choices of the picture that stands in for the chart, where they are others.
    """

    name: str
    title: str
    says: str
    made: str
    controls: Sequence[Control]
    chart: alt.TopLevelMixin
    rows: pd.DataFrame
    headings: Mapping[str, str]
    facts: pd.DataFrame | None = None
    still: Mapping[str, str] = field(default_factory=dict)

    @property
    def start(self) -> dict[str, str]:
        """The values of the controls at first."""
        return {control.name: control.start for control in self.controls}

    @property
    def filtering(self) -> list[str]:
        """The controls that filter."""
        return [control.name for control in self.controls if control.filters]

    @property
    def pictured(self) -> dict[str, str]:
        """The values of the controls in the picture that stands in for the chart."""
        return self.start | {**self.still}

    def shown(self) -> pd.DataFrame:
        """The facts beside that picture."""
        facts = self.rows if self.facts is None else self.facts
        for name in self.filtering:
            value = self.pictured[name]
            if name in facts and value != ALL:
                facts = facts[facts[name].astype(str) == value]
        return facts[[*self.headings]]


def chosen(controls: Sequence[Control]) -> str:
    """Return the expression that is true of the rows which the controls leave."""
    parts = [
        f"({c.name} == '{ALL}' || '' + datum.{c.name} == {c.name})"
        if ALL in c.options
        else f"'' + datum.{c.name} == {c.name}"
        for c in controls
        if c.filters
    ]
    return " && ".join(parts) or "true"


def parameters(controls: Sequence[Control]) -> list[alt.Parameter]:
    """Return a chart's parameters for the controls; a checkbox is a truth."""
    return [
        alt.param(name=c.name, value=c.start == "true" if c.kind == "check" else c.start)
        for c in controls
    ]


def norm_scales(
    norms: Sequence[str], *, lines: bool = False
) -> tuple[alt.Color, alt.StrokeDash | alt.StrokeDashValue, alt.Shape]:
    """Return colour, dashes and markers of normalisations, with one legend for all.

    Args:
        lines: that the legend shows lines, as there are no markers.
    """
    domain = [NORMS[norm] for norm in norms]
    colours, dashes, shapes = zip(*(LOOKS[norm] for norm in norms), strict=True)
    legend = alt.Legend(
        title=None,
        orient="top",
        columns=2,
        symbolSize=500 if lines else 140,
        symbolStrokeWidth=3 if lines else 0,
        symbolType="stroke" if lines else alt.Undefined,
        symbolOpacity=1,
    )
    dash = (
        alt.StrokeDash("norm:N", scale=alt.Scale(domain=domain, range=[*dashes]), legend=legend)
        if lines
        else alt.StrokeDashValue(  # without a scale, and so without a legend
            [1, 0],
            condition=[
                {"test": f"datum.norm == '{name}'", "value": of}
                for name, of in zip(domain, dashes, strict=True)
            ],
        )
    )
    return (
        alt.Color("norm:N", scale=alt.Scale(domain=domain, range=[*colours]), legend=legend),
        dash,
        alt.Shape("norm:N", scale=alt.Scale(domain=domain, range=[*shapes]), legend=legend),
    )


def bars(
    rows: alt.Chart, norm: str, places: alt.X, shares: Sequence[float], half: str
) -> alt.Chart:
    """Return the histogram of an arrangement, which stands in the columns `at` and `share`.

    Args:
        places: the axis of the values, of the column `low`.
        shares: the ticks of the other one, from 0 to its end.
        half: an expression for half the width of a bar.
    """
    return (
        rows.transform_filter(f"datum.norm == '{NORMS[norm]}'")
        .transform_calculate(half=half)
        .transform_calculate(low="datum.at - datum.half", high="datum.at + datum.half")
        .mark_bar(color=LOOKS[norm][0])
        .encode(
            x=places,
            x2="high:Q",
            y=alt.Y(
                "share:Q",
                title="share",
                scale=alt.Scale(type="sqrt", domain=[shares[0], shares[-1]]),
                axis=alt.Axis(format="~%", values=[*shares]),
            ),
            y2=alt.Y2Datum(0),
            tooltip=[
                alt.Tooltip("at:Q", title="values near"),
                alt.Tooltip("share:Q", title="share", format=".2~%"),
            ],
        )
        .properties(title=NORMS[norm])
    )


def held(column: pd.Series, names: Mapping[str, str]) -> dict[str, str]:
    """Return names and texts of the values that a column has, in the order of the names."""
    values = set(column)
    return {value: text for value, text in names.items() if value in values}


def decades() -> alt.Axis:
    """Return a logarithmic axis: 10⁻², 10⁻¹, 1 and, of what lies near 1, 2 and 5 as well."""
    exponent = "log(datum.value) / LN10"
    power = f"abs({exponent} - round({exponent})) < 1e-6"
    raised = f"'' + round({exponent})"
    for plain, above in zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True):
        raised = f"replace({raised}, /{plain}/g, '{above}')"
    near = "datum.value > 0.009 && datum.value < 101"
    digit = f"round(datum.value / pow(10, floor({exponent} + 1e-6)))"
    return alt.Axis(
        labelExpr=f"{near} ? ({digit} == 1 || {digit} == 2 || {digit} == 5 ? "
        f"format(datum.value, '.3~g') : '') : {power} ? '10' + {raised} : ''",
        gridOpacity={"condition": {"test": power, "value": 1}, "value": 0.3},
        tickCount=6,
    )


def by_seed(rows: pd.DataFrame, *names: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return what tells curves and places apart, in the order of a table, and values (n, seeds)."""
    order = rows[[*names]].drop_duplicates()
    wide = rows.pivot(index=[*names], columns="seed", values="value")
    values = wide.loc[pd.MultiIndex.from_frame(order)].to_numpy(dtype=np.float64)
    return order.reset_index(drop=True), values


def geometric(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the geometric mean over the last axis and both ends of its 95% t-interval."""
    with np.errstate(all="ignore"):
        mean, low, high = mean_interval(np.log10(values))
        return 10**mean, 10**low, 10**high


def rounded(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose numbers have `FIGURES` digits; what is not finite is missing."""
    numbers = rows.select_dtypes("float").columns
    return rows.assign(**{name: rows[name].map(_short) for name in numbers})


def dataset(config: Mapping[str, Any]) -> str:
    """Return the name of the data behind a table."""
    return words.DATASETS.get(config["data.name"], config["data.name"])


def _short(value: float) -> float:
    return float(f"{value:.{FIGURES}g}") if np.isfinite(value) else float("nan")
