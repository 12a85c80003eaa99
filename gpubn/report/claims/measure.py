"""Measures: from the rows of a table to one number a seed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo

from gpubn.errors import LedgerError
from gpubn.report.claims.entries import Entry, Number, Text, as_number
from gpubn.report.claims.reduce import REDUCERS, needs, reduced
from gpubn.report.tables import read_table
from gpubn.rows import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_NO_SEED = -1
_SHOWN = 20
"""The number of values that an error lists at most."""


def _limit(raw: object, info: ValidationInfo) -> object:
    """Return a number, or that of the claim's threshold of this name."""
    thresholds: Mapping[str, float] = info.context or {}
    return thresholds[raw] if isinstance(raw, str) and raw in thresholds else raw


_Position = Annotated[
    int | Literal["first", "middle", "last"] | None,
    Field(description="an integer, first, middle or last"),
]


class Measure(Entry):
    """The rows of a table that count, and what is made of those of one seed.

    `never: budget` lets an infinite number of steps count as those that there were.
    """

    table: Text
    metric: Text
    where: dict[str, str | int | float] = Field({}, description="text or a number")
    layer: _Position = None
    step: _Position = None
    along: Text | None = None
    start: Number = Field(-np.inf, alias="from")
    to: Number = np.inf
    points: list[Number] = Field([], description="a list of numbers")
    reduce: Text | None = Field(None, description=f"one of {', '.join(REDUCERS)}")
    threshold: Annotated[Number, BeforeValidator(_limit)] = Field(
        0.0, description="a number or a threshold's name"
    )
    none: Number = np.nan
    never: Literal["budget"] | None = Field(None, description="budget")

    def check(self) -> None:
        given = {"from" if name == "start" else name for name in self.model_fields_set}
        if self.along is None:
            needless = ("from", "to", "points", "reduce", "threshold", "none")
            if stray := [key for key in needless if key in given]:
                raise LedgerError(f"has {stray[0]} but no along; expected both or neither")
            return
        if self.reduce not in REDUCERS:
            has = "no reduce" if self.reduce is None else f"reduce {self.reduce!r}"
            raise LedgerError(f"has {has}; expected one of {', '.join(REDUCERS)}")
        for key in ("threshold", "none"):
            needed = key in needs(self.reduce)
            if (key in given) != needed:
                verb = "needs a" if needed else "takes no"
                raise LedgerError(f"has reduce {self.reduce}, which {verb} {key}")
        if self.along in {*self.where, *self.fixed}:
            raise LedgerError(f"fixes {self.along} and goes along it; expected one of the two")

    @property
    def fixed(self) -> dict[str, int | str]:
        """The layer and the step that it looks at, where it names one."""
        places = {"layer": self.layer, "step": self.step}
        return {column: place for column, place in places.items() if place is not None}


@dataclass(frozen=True)
class PerSeed:
    """One value a seed, in the order of the seeds; seeds are (None,) where no seed is known.

    Attributes:
        never: where a value stands for what never happened; None where that is not asked.
    """

    seeds: tuple[int | None, ...]
    values: np.ndarray
    never: np.ndarray | None = None


@dataclass(frozen=True)
class ClaimTable:
    """A table that claims read.

    Attributes:
        config: the configuration that its cells have in common; empty where unknown.
        levels: axis -> its values.
    """

    stem: str
    config: dict[str, Any]
    levels: dict[str, list[str]]
    _by_metric: dict[str, "pd.DataFrame"]

    def rows(self, metric: str) -> "pd.DataFrame":
        """The rows of one metric; a LedgerError says that there is none."""
        if metric not in self._by_metric:
            known = _listed(self._by_metric)
            raise LedgerError(f"metric is {metric!r}; {self.stem} has {known}")
        return self._by_metric[metric]


Tables = Callable[[str], ClaimTable]
"""From a stem to its table."""


def table_reader(find: Callable[[str], Path]) -> Tables:
    """Return what reads the tables of claims, each once; `find` gives the path of a stem."""

    @cache
    def read(stem: str) -> ClaimTable:
        frame = read_table(find(stem))
        config = frame.attrs.pop("config")  # pandas copies it, deep, at each selection
        frame["seed"] = frame["seed"].fillna(_NO_SEED).astype(int)
        by_metric = {str(name): rows for name, rows in frame.groupby("metric", sort=False)}
        levels = {axis: sorted(map(str, frame[axis].unique())) for axis in _axes(frame)}
        return ClaimTable(stem, config, levels, by_metric)

    return read


def measure(wanted: Measure, tables: Tables) -> PerSeed:
    """Read a measure off its table.

    Raises:
        StoreError: the table is missing or damaged.
        LedgerError: nothing is left of it, or more than one value a seed.
    """
    cells = _of_cells(wanted, tables)
    along = [wanted.along] if wanted.along else []
    _refuse_alike(cells, {"seed", "layer", "step", *along})
    rows = _at_places(cells, wanted)
    _refuse_lost(cells, rows, wanted.fixed)
    found = _per_seed(rows, wanted)
    if wanted.never is None:
        return found
    within = rows.assign(value=rows["value"].mask(rows["value"] == np.inf, rows["step"]))
    return replace(_per_seed(within, wanted), never=found.values == np.inf)


def _per_seed(rows: "pd.DataFrame", wanted: Measure) -> PerSeed:
    if wanted.along:
        return _reduced(rows, wanted)
    _refuse_alike(rows, {"seed"})
    rows = rows.sort_values("seed")
    return PerSeed(_seeds_of(rows["seed"]), rows["value"].to_numpy(dtype=np.float64))


def rows_read(wanted: Measure, tables: Tables) -> "pd.DataFrame":
    """Return the rows that a measure reads off its table.

    Where `measure` has values, a table of these rows alone, or of those of several measures, gives
    the same: of a place in the middle all places are among them.

    Raises:
        StoreError: the table is missing or damaged.
        LedgerError: nothing is left of it.
    """
    rows = _of_cells(wanted, tables)
    return rows if "middle" in wanted.fixed.values() else _at_places(rows, wanted)


def _of_cells(wanted: Measure, tables: Tables) -> "pd.DataFrame":
    """Return the rows of the metric in those cells that a measure is about."""
    rows = tables(wanted.table).rows(wanted.metric)
    for column, value in wanted.where.items():
        if column not in _axes(rows):
            axes = ", ".join(_axes(rows))
            raise LedgerError(f"where names {column!r}; {wanted.table} has the axes {axes}")
        rows = _rows_with(rows, column, str(value), wanted.table)
    return rows


def _at_places(rows: "pd.DataFrame", wanted: Measure) -> "pd.DataFrame":
    for column, position in wanted.fixed.items():
        rows = _at(rows, column, position, wanted.table)
    return rows


def _at(rows: "pd.DataFrame", column: str, position: int | str, table: str) -> "pd.DataFrame":
    if isinstance(position, str):
        known = sorted(rows[column].dropna().unique())
        if not known:
            raise LedgerError(f"{column} is {position}; {table} has none")
        position = int(known[{"first": 0, "middle": len(known) // 2, "last": -1}[position]])
    return _rows_with(rows, column, position, table)


def _rows_with(rows: "pd.DataFrame", column: str, value: int | str, table: str) -> "pd.DataFrame":
    """Return the rows with this value, as text or as a number; there is at least one."""
    present, number = sorted(rows[column].dropna().unique()), as_number(value)
    same = [p for p in present if p == value or (number is not None and _number(p) == number)]
    if not same:
        raise LedgerError(f"{column} is {value!r}; {table} has {_listed(present)}")
    return rows[rows[column].isin(same)]


def _refuse_alike(rows: "pd.DataFrame", keys: set[str]) -> None:
    """Refuse two rows with the same `keys`, and name the columns that tell them apart."""
    keys = keys & {*rows.columns}
    alike = rows[rows.duplicated([*keys], keep=False)]
    if alike.empty:
        return
    columns = [c for c in rows.columns if c not in {*keys, "metric", "value"}]
    varying = [c for c in columns if alike[c].nunique(dropna=False) > 1]
    if not varying:
        raise LedgerError("has two rows for one seed; expected one")
    seen = "; ".join(f"{c} is {_listed(alike[c].unique())}" for c in varying)
    raise LedgerError(f"has more than one row a seed: {seen}; expected one value of each")


def _refuse_lost(cells: "pd.DataFrame", rows: "pd.DataFrame", fixed: Mapping[str, object]) -> None:
    """Refuse a layer or step that some of the selected seeds or cells do not have."""
    for column in ("seed", *_axes(cells)) if len(rows) < len(cells) else ():
        missing = cells[column][~cells[column].isin(rows[column])]
        if not missing.empty:
            place = ", ".join(f"{name} {position}" for name, position in fixed.items())
            raise LedgerError(f"has no {place} where {column} is {_listed(missing)}; expected one")


def _reduced(rows: "pd.DataFrame", wanted: Measure) -> PerSeed:
    along, table = wanted.along, wanted.table
    assert along is not None
    assert wanted.reduce is not None
    if along == "seed":  # one value of all, as that of rounds of timing
        rows, along = rows.assign(number=rows["seed"], seed=_NO_SEED), "number"
    if along not in rows.columns or along in ("metric", "value"):
        raise LedgerError(f"goes along {along!r}, which is no axis of {table}")
    if rows[along].isna().any():
        raise LedgerError(f"goes along {along}, which some of its rows do not have")
    keys = rows[along].map(_number)
    if keys.isna().any():
        raise LedgerError(f"goes along {along}, which holds {_listed(rows[along])}")
    rows = rows.assign(**{along: keys})
    rows = rows[keys.isin(_chosen(sorted(keys.unique()), wanted))]
    _refuse_alike(rows, {"seed", along})
    wide = rows.pivot(index=along, columns="seed", values="value").sort_index()
    if len(rows) < wide.size:
        raise LedgerError(f"has not every {along} for every seed; expected all")
    x, y = (numbers.to_numpy(dtype=np.float64) for numbers in (wide.index, wide))
    values = reduced(wanted.reduce, x, y, threshold=wanted.threshold, none=wanted.none)
    return PerSeed(_seeds_of(wide.columns), values)


def _chosen(present: list[float], wanted: Measure) -> list[float]:
    """The keys that count, out of those that are there."""
    if missing := [p for p in sorted(wanted.points) if p not in present]:
        raise LedgerError(f"wants {wanted.along} {missing[0]:g}; there is {_listed(present)}")
    kept = [key for key in (wanted.points or present) if wanted.start <= key <= wanted.to]
    if not kept:
        limits = f"{wanted.start:g} to {wanted.to:g}"
        raise LedgerError(f"wants {wanted.along} {limits}; there is {_listed(present)}")
    return kept


def _number(value: object) -> float | None:
    """Return the number that text or an integer of a table stands for, None for other text."""
    return as_number(str(value))


def _axes(rows: "pd.DataFrame") -> list[str]:
    return [column for column in rows.columns if column not in COLUMNS]


def _seeds_of(numbers: Iterable[Any]) -> tuple[int | None, ...]:
    return tuple(None if seed == _NO_SEED else int(seed) for seed in numbers)


def _listed(values: Iterable[object]) -> str:
    """The values for an error; histogram bins as one, and not endlessly."""
    texts = [f"{v:g}" if isinstance(v, float) else str(v).split("[")[0] for v in values]
    unique = list(dict.fromkeys(texts))
    return ", ".join(unique[:_SHOWN]) + (", ..." if len(unique) > _SHOWN else "")
