"""Measures: from the rows of a table to one number a seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubn.errors import LedgerError
from gpubn.report.claims import fields
from gpubn.report.claims.reduce import REDUCERS, Reducer
from gpubn.report.tables import read_table
from gpubn.rows import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_REQUIRED = ("table", "metric")
_OPTIONAL = ("where", "layer", "step", "along", "from", "to", "points", "reduce")
_FOR_REDUCE = ("threshold", "none")
_NO_SEED = -1
_SHOWN = 20
"""How many of the values that a table has an error lists."""


@dataclass(frozen=True)
class Along:
    """Along which column a measure is reduced, which of its keys count, and how."""

    column: str
    start: float
    end: float
    points: tuple[float, ...]
    reducer: Reducer


@dataclass(frozen=True)
class Measure:
    """Which rows of which table, and what to make of those of one seed."""

    table: str
    metric: str
    where: tuple[tuple[str, str], ...]
    at: tuple[tuple[str, int | str], ...]
    along: Along | None


@dataclass(frozen=True)
class PerSeed:
    """One value a seed, in the order of the seeds; seeds are (None,) where no seed is known."""

    seeds: tuple[int | None, ...]
    values: np.ndarray


class Tables:
    """The tables that measures read, each read once; `find` gives the path of a stem."""

    def __init__(self, find: Callable[[str], Path]) -> None:
        self._find = find
        self._by_metric: dict[str, dict[str, pd.DataFrame]] = {}
        self._config: dict[str, dict[str, Any]] = {}
        self._levels: dict[str, dict[str, list[str]]] = {}

    def config(self, stem: str) -> dict[str, Any]:
        """The configuration that the cells of a table have in common; empty where none is known.

        Raises:
            StoreError: there is no such table.
        """
        self._read(stem)
        return self._config[stem]

    def levels(self, stem: str) -> dict[str, list[str]]:
        """The values of each axis of a table.

        Raises:
            StoreError: there is no such table.
        """
        self._read(stem)
        return self._levels[stem]

    def rows(self, stem: str, metric: str) -> "pd.DataFrame":
        """The rows of one metric of a table.

        Raises:
            StoreError: there is no such table.
            LedgerError: the table has no such metric.
        """
        self._read(stem)
        by_metric = self._by_metric[stem]
        if metric not in by_metric:
            raise LedgerError(f"metric is {metric!r}; {stem} has {_listed(by_metric)}")
        return by_metric[metric]

    def _read(self, stem: str) -> None:
        if stem in self._by_metric:
            return
        frame = read_table(self._find(stem))
        axes = [column for column in frame.columns if column not in COLUMNS]
        self._levels[stem] = {axis: sorted(map(str, frame[axis].unique())) for axis in axes}
        self._config[stem] = frame.attrs["config"]
        frame["seed"] = frame["seed"].fillna(_NO_SEED).astype(int)
        groups = frame.groupby("metric", sort=False)
        self._by_metric[stem] = {str(name): rows for name, rows in groups}


def parse(raw: object, thresholds: Mapping[str, float]) -> Measure:
    """Check a measure of the ledger.

    Raises:
        LedgerError: a key is unknown, missing, or of the wrong kind.
    """
    given = fields.record(raw, _REQUIRED, (*_OPTIONAL, *_FOR_REDUCE))
    where = {k: _place(k, v) for k, v in fields.mapping(given.get("where", {})).items()}
    at = {key: _position(given, key) for key in ("layer", "step") if key in given}
    along = _along(given, thresholds)
    if along and along.column in {*where, *at}:
        raise LedgerError(f"fixes {along.column} and goes along it; expected one of the two")
    return Measure(
        fields.text(given, "table"),
        fields.text(given, "metric"),
        tuple(where.items()),
        tuple(at.items()),
        along,
    )


def measure(wanted: Measure, tables: Tables) -> PerSeed:
    """Read a measure off its table.

    Raises:
        StoreError: the table is missing or damaged.
        LedgerError: nothing is left of it, or more than one value a seed.
    """
    rows = tables.rows(wanted.table, wanted.metric)
    for column, value in wanted.where:
        rows = _where(rows, column, value, wanted.table)
    seeds = rows["seed"].nunique()
    for column, position in wanted.at:
        rows = _at(rows, column, position, wanted.table)
    if lost := seeds - rows["seed"].nunique():
        raise LedgerError(f"has no value for {lost} of {seeds} seeds; expected one for each")
    if wanted.along:
        return _reduced(rows, wanted.along, wanted.table)
    _refuse_variation(rows, set())
    rows = rows.sort_values("seed")
    return PerSeed(_seeds_of(rows["seed"]), rows["value"].to_numpy(dtype=np.float64))


def _place(column: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise LedgerError(f"has {column} {value!r} in where; expected text or a number")
    return str(value)


def _position(given: Mapping[str, Any], key: str) -> int | str:
    value = given[key]
    if value in ("first", "last") or type(value) is int:
        return value if isinstance(value, int) else str(value)
    raise LedgerError(f"has {key} {value!r}; expected an integer, first or last")


def _along(given: Mapping[str, Any], thresholds: Mapping[str, float]) -> Along | None:
    if "along" not in given:
        if stray := [k for k in ("from", "to", "points", "reduce", *_FOR_REDUCE) if k in given]:
            raise LedgerError(f"has {stray[0]} but no along; expected both or neither")
        return None
    if "reduce" not in given:
        raise LedgerError(f"has no reduce; expected one of {', '.join(REDUCERS)}")
    kind = fields.choice(given, "reduce", REDUCERS)
    needs = REDUCERS[kind].needs
    for key in _FOR_REDUCE:
        if (key in given) != (key in needs):
            verb = "needs a" if key in needs else "takes no"
            raise LedgerError(f"has reduce {kind}, which {verb} {key}")
    limit = given.get("threshold", 0.0)
    if isinstance(limit, str) and limit in thresholds:
        limit = thresholds[limit]
    if (threshold := fields.as_number(limit)) is None:
        raise LedgerError(f"has threshold {limit!r}; expected a number or a threshold's name")
    points = given.get("points", [])
    if not isinstance(points, list) or any(fields.as_number(p) is None for p in points):
        raise LedgerError(f"has points {points!r}; expected a list of numbers")
    return Along(
        fields.text(given, "along"),
        fields.number(given, "from") if "from" in given else -np.inf,
        fields.number(given, "to") if "to" in given else np.inf,
        tuple(sorted(float(p) for p in points)),
        Reducer(kind, threshold, fields.number(given, "none") if "none" in given else np.nan),
    )


def _where(rows: "pd.DataFrame", column: str, value: str, table: str) -> "pd.DataFrame":
    axes = [c for c in rows.columns if c not in COLUMNS]
    if column not in axes:
        raise LedgerError(f"where names {column!r}; {table} has the axes {', '.join(axes)}")
    present = list(rows[column].unique())
    wanted = fields.as_number(value)
    equal = [
        p for p in present if p == value or (wanted is not None and fields.as_number(p) == wanted)
    ]
    if not equal:
        raise LedgerError(f"{column} is {value!r}; {table} has {_listed(present)}")
    return rows[rows[column].isin(equal)]


def _at(rows: "pd.DataFrame", column: str, position: int | str, table: str) -> "pd.DataFrame":
    known = rows[column].dropna()
    if position == "first" or position == "last":
        if known.empty:
            raise LedgerError(f"{column} is {position}; {table} has none")
        position = int(known.min() if position == "first" else known.max())
    left = rows[(rows[column] == position).fillna(False)]
    if left.empty:
        raise LedgerError(f"{column} is {position}; {table} has {_listed(sorted(known.unique()))}")
    return left


def _refuse_variation(rows: "pd.DataFrame", free: set[str]) -> None:
    """More than one row a seed (and key of `free`) is named by the columns that still vary."""
    keys = ["seed", *free]
    if not rows.duplicated(keys).any():
        return
    columns = [c for c in rows.columns if c not in {*keys, "metric", "value"}]
    varying = [c for c in columns if rows[c].nunique(dropna=False) > 1]
    if not varying:
        raise LedgerError("has two rows for one seed; expected one")
    seen = "; ".join(f"{c} is {_listed(rows[c].unique())}" for c in varying)
    raise LedgerError(f"has more than one row a seed: {seen}; expected one value of each")


def _reduced(rows: "pd.DataFrame", along: Along, table: str) -> PerSeed:
    if along.column not in rows.columns or along.column in ("seed", "metric", "value"):
        raise LedgerError(f"goes along {along.column!r}, which is no axis of {table}")
    keys = [fields.as_number(k if isinstance(k, str) else int(k)) for k in _known(rows, along)]
    if None in keys:
        raise LedgerError(f"goes along {along.column}, which holds {_listed(_known(rows, along))}")
    rows = rows.assign(**{along.column: np.asarray(keys, dtype=np.float64)})
    present = sorted({float(k) for k in rows[along.column]})
    rows = rows[rows[along.column].isin(_chosen(present, along))]
    _refuse_variation(rows, {along.column})
    wide = rows.pivot(index=along.column, columns="seed", values="value").sort_index()
    if rows.groupby("seed")[along.column].nunique().ne(len(wide)).any():
        raise LedgerError(f"has not every {along.column} for every seed; expected all")
    values = along.reducer(wide.index.to_numpy(dtype=np.float64), wide.to_numpy(dtype=np.float64))
    return PerSeed(_seeds_of(wide.columns), values)


def _known(rows: "pd.DataFrame", along: Along) -> list[Any]:
    if rows[along.column].isna().any():
        raise LedgerError(f"goes along {along.column}, which some of its rows do not have")
    return list(rows[along.column])


def _chosen(present: list[float], along: Along) -> list[float]:
    """The keys that count, out of those that are there."""
    if missing := [p for p in along.points if p not in present]:
        raise LedgerError(f"wants {along.column} {missing[0]:g}; there is {_listed(present)}")
    kept = [key for key in (along.points or present) if along.start <= key <= along.end]
    if not kept:
        limits = f"{along.start:g} to {along.end:g}"
        raise LedgerError(f"wants {along.column} {limits}; there is {_listed(present)}")
    return kept


def _seeds_of(numbers: Any) -> tuple[int | None, ...]:
    return tuple(None if seed == _NO_SEED else int(seed) for seed in numbers)


def _listed(values: Any) -> str:
    """The values for an error; histogram bins as one, and not endlessly."""
    texts = [f"{v:g}" if isinstance(v, float) else str(v).split("[")[0] for v in values]
    unique = list(dict.fromkeys(texts))
    return ", ".join(unique[:_SHOWN]) + (", ..." if len(unique) > _SHOWN else "")
