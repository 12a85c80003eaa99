"""Rows out of a table: what a figure draws, or one sentence that says why it cannot.

A value of a column selects the rows that have it, a tuple or list those that have any of these.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gpubn.errors import StoreError
from gpubn.rows import COLUMNS

_LISTED = 12
"""Values of a column that a sentence lists."""


def matching(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return the rows of a table that have these values; there may be none."""
    for column, value in where.items():
        wanted = list(value) if isinstance(value, tuple | list) else [value]
        table = table[table[column].isin(wanted).to_numpy(dtype=bool)]
    return table


def select(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return the rows of a table that have these values.

    Raises:
        StoreError: there are none.
    """
    rows, passed = table, ""
    for column, value in where.items():
        kept = matching(rows, **{column: value})
        if kept.empty:
            raise _lacks(rows, column, value, passed)
        passed += f"{' and' if passed else ' where'} {column} is {_listed(value)}"
        rows = kept
    return rows


def present(table: pd.DataFrame, column: str, wanted: Iterable[str]) -> list[str]:
    """Return those of some values that a column holds.

    Raises:
        StoreError: it holds none.
    """
    wanted, held = list(wanted), set(table[column])
    if not held.intersection(wanted):
        raise _lacks(table, column, wanted, "")
    return [value for value in wanted if value in held]


def distinct(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return rows of which no two agree in these columns.

    Raises:
        StoreError: two do, and differ in another column, which the figure would pool.
    """
    alike = rows[rows.duplicated(list(columns), keep=False)]
    if alike.empty:
        return rows
    others = [column for column in rows.columns if column not in (*columns, "value")]
    groups = alike.groupby(list(columns), dropna=False)
    differing = [
        f"{column} ({_listed(alike[column].unique())})"
        for column in others
        if groups[column].nunique(dropna=False).max() > 1
    ]
    raise StoreError(
        f"rows that are drawn as one differ in {' and '.join(differing) or 'nothing'}; "
        "expected a table with one value of it, or a figure that tells them apart"
    )


def first_run(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first seed."""
    return select(table, seed=table["seed"].min())


def seeds(table: pd.DataFrame, **where: object) -> np.ndarray:
    """Return the values of the rows that `select` selects, one a seed, in order of the seeds."""
    rows = distinct(select(table, **where), "seed").sort_values("seed")
    return rows["value"].to_numpy(dtype=np.float64)


def by(table: pd.DataFrame, index: str, **where: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a column in order, and those of the selected rows as (index, seeds)."""
    rows = distinct(select(table, **where), index, "seed")
    wide = rows.pivot(index=index, columns="seed", values="value")
    values = wide.to_numpy(dtype=np.float64)
    try:
        levels = wide.index.to_numpy(dtype=np.float64)
    except ValueError:
        return wide.index.to_numpy(), values
    order = np.argsort(levels, kind="stable")  # the text of numbers has another order
    return levels[order], values[order]


def at_end(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return those of the selected rows that stand at their last step."""
    rows = select(table, **where)
    return rows[rows["step"] == rows["step"].max()]


def at_lowest_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each arm at the lowest of its rates, which may be its only one.

    An arm is what has the same values in all columns of the table before the seed but the rate.
    """
    rates = rows["rate"].astype(float)
    arms = [column for column in rows.columns if column not in (*COLUMNS, "rate")]
    lowest = rates.groupby([rows[arm] for arm in arms]).transform("min") if arms else rates.min()
    return rows[rates == lowest]


def has_one_rate_an_arm(table: pd.DataFrame) -> bool:
    """Return whether no arm has a second rate, but different arms have different ones."""
    if "rate" not in table or table["rate"].nunique() < 2:
        return False
    return len(at_lowest_rate(table)) == len(table)


def values(rows: pd.DataFrame) -> np.ndarray:
    """Return the values of rows, as they stand."""
    return rows["value"].to_numpy(dtype=np.float64)


def _lacks(rows: pd.DataFrame, column: str, value: object, passed: str) -> StoreError:
    held = _listed(sorted(rows[column].dropna().unique(), key=str))
    return StoreError(f"{column} is {held or 'empty'}{passed}; the figure needs {_listed(value)}")


def _listed(value: object) -> str:
    items = [value] if isinstance(value, str) or not isinstance(value, Iterable) else [*value]
    more = f" and {len(items) - _LISTED} more" * (len(items) > _LISTED)
    return ", ".join(map(str, items[:_LISTED])) + more
