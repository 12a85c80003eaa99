"""Two tables of one experiment held against each other, within tolerances that stand here.

Exact experiments (float64, no feedback) may differ by rounding alone: value by value within
`EXACT_RTOL`, or within `EXACT_SHARE_ATOL` for shares, where rounding can carry a value across the
edge of a bin; errors that are 0 but for rounding within `EXACT_ATOL`. Where rounding itself is
measured it may be `ROUNDING_FACTOR` times as large as in the worst of the seeds, and one step of
the dtype: what is 0 here is a step elsewhere. Training feeds rounding back through hundreds
of steps, so another BLAS or a GPU gives other digits, and where training is chaotic (deep networks,
rates at the edge of divergence) another draw of the same distribution. There `TRAINED_MOST` of a
metric's means over seeds have to agree within the half-width of their 95% interval, or within
`TRAINED_RTOL`, and in `LOST_SEEDS` of the seeds at most one of two values may be infinite or NaN;
what one network alone shows (its units' mean activations, in [-1, 1]) within `SINGLE_ATOL`; what is
counted, 0 or 1 a seed, within one seed. On one machine all kinds come out with the same bytes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from gpubn.rows import COLUMNS

EXACT_RTOL = 1e-6
EXACT_SHARE_ATOL = 1e-4
EXACT_ATOL = 1e-12
ROUNDING_FACTOR = 10
TRAINED_MOST = 0.95
LOST_SEEDS = 1
TRAINED_RTOL = 1e-3
SINGLE_ATOL = 0.02


@dataclass(frozen=True)
class Comparison:
    """The comparison of one metric of one table.

    Attributes:
        compared: values, or means over seeds.
        worst: largest difference as a share of its tolerance.
        outside: share of the differences beyond their tolerance.
        allowed: the largest such share that is reproduced.
        same: share of the values that are equal to the last digit.
        missing: rows that stand in one table alone; of exact experiments, or are NaN in one alone.
    """

    table: str
    metric: str
    compared: int
    worst: float
    outside: float
    allowed: float
    same: float
    missing: int

    @property
    def within(self) -> bool:
        """True where the metric is reproduced."""
        return self.missing == 0 and self.outside <= self.allowed


def compare_tables(
    table: str,
    committed: pd.DataFrame,
    fresh: pd.DataFrame,
    *,
    exact: bool,
    rounding: bool = False,
) -> list[Comparison]:
    """Compare two tables metric by metric (histogram bins count as one metric).

    `exact` and `rounding` are those of the experiment.
    """
    keys = [c for c in committed.columns if c != "value"]
    both = committed.merge(fresh, on=keys, how="outer", suffixes=("", "_fresh"), indicator=True)
    both["kind"] = both["metric"].str.replace(r"\[.*\]", "", regex=True)
    pair = both[["value", "value_fresh"]]
    both["equal"] = (both["value"] == both["value_fresh"]) | pair.isna().all(axis=1)
    with np.errstate(all="ignore"):  # inf - inf is NaN, and NaN is never within
        return [
            _compare_metric(table, str(kind), rows, exact=exact, rounding=rounding)
            for kind, rows in both.groupby("kind", sort=True)
        ]


def _compare_metric(
    table: str, metric: str, rows: pd.DataFrame, *, exact: bool, rounding: bool
) -> Comparison:
    old, new = rows["value"].to_numpy(), rows["value_fresh"].to_numpy()
    alone = (rows["_merge"] != "both").to_numpy()
    if exact:
        alone = alone | (np.isnan(old) != np.isnan(new))
    if exact:
        share = metric.endswith(("_share", "_hist"))
        atol = EXACT_SHARE_ATOL if share else EXACT_ATOL * _is_error(metric)
        tolerance = atol + (_of_rounding(rows) if rounding else EXACT_RTOL * abs(old) * (not share))
        excess = np.where(alone | rows["equal"], 0, np.abs(old - new) / tolerance)
        compared = len(rows)
    else:
        excess = _of_means(rows[~alone])
        compared = len(excess)
    excess = np.where(np.isnan(excess), np.inf, excess)
    return Comparison(
        table,
        metric,
        compared,
        float(np.max(excess, initial=0.0)),
        float((excess > 1).mean()) if excess.size else 0.0,
        0.0 if exact else 1 - TRAINED_MOST,
        float(rows["equal"].mean()),
        int(alone.sum()),
    )


def _of_rounding(rows: pd.DataFrame) -> np.ndarray:
    """The tolerance of an error: by the worst seed of its cell, and one step of its dtype."""
    cell = rows.columns.difference(["seed", "value", "value_fresh", "_merge", "equal"])
    worst = rows["value"].abs().groupby([rows[c] for c in cell], dropna=False).transform("max")
    step = rows["dtype"].map(lambda d: np.finfo(d).eps) if "dtype" in rows else 0.0
    return np.asarray((ROUNDING_FACTOR - 1) * worst + step)


def _is_error(metric: str) -> bool:
    return metric.endswith(("_error", "_difference", "_shifted", "_radial", "_offset", "mean_path"))


def _of_means(rows: pd.DataFrame) -> np.ndarray:
    """Difference of each mean over seeds as a share of its tolerance; inf where seeds were lost."""
    keys = [
        c for c in rows.columns if c not in {*COLUMNS, "value_fresh", "_merge", "kind", "equal"}
    ]
    both = np.isfinite(rows["value"]) & np.isfinite(rows["value_fresh"])
    rows = rows.assign(
        value=rows["value"].where(both),
        value_fresh=rows["value_fresh"].where(both),
        lost=~(both | rows["equal"]),
        counted=rows["value"].isin((0.0, 1.0)),
    )
    groups = rows.groupby([*keys, "step", "layer", "metric"], dropna=False, sort=False)
    n = groups["value"].count().to_numpy()
    old, new = (np.nan_to_num(groups[v].mean().to_numpy()) for v in ("value", "value_fresh"))
    spread = np.fmax(groups["value"].std().to_numpy(), groups["value_fresh"].std().to_numpy())
    t = student_t.ppf(0.975, np.maximum(n - 1, 1))
    half_width = t * np.nan_to_num(spread) / np.sqrt(np.maximum(n, 1))
    tolerance = np.maximum(half_width, TRAINED_RTOL * np.abs(old))
    tolerance = np.where(groups.size().to_numpy() == 1, SINGLE_ATOL, tolerance)
    counted = groups["counted"].min().to_numpy(dtype=bool)
    tolerance = np.where(counted & (n > 1), 1.01 / np.maximum(n, 1), tolerance)
    excess = np.where(old == new, 0, np.abs(old - new) / tolerance)
    return np.where(groups["lost"].sum().to_numpy() > LOST_SEEDS, np.inf, excess)
