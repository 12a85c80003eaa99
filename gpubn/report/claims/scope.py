"""Scope: which network a verdict is about, in words, from the tables that it rests on."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.claims.entries import as_number
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.measure import ClaimTable, Measure, Tables
from gpubn.report.pages import render_page

TEMPLATE = Path(__file__).with_suffix(".jinja")


def scope(claim: Claim, tables: Tables) -> str:
    """Return the network, data and training behind a claim's cases; empty if unknown."""
    by_table: dict[str, list[Measure]] = {}
    for measure in claim.decisive.values():
        by_table.setdefault(measure.table, []).append(measure)
    scopes = []
    for stem, measures in by_table.items():
        try:
            facts = partial(_facts, tables(stem), measures)
        except StoreError:
            continue
        lines = render_page(TEMPLATE, facts=facts, words=words, named=_named).splitlines()
        scopes.append(", ".join(line for line in lines if line))
    return "; ".join(dict.fromkeys(text for text in scopes if text))


def _named(names: Mapping[str, str], values: Sequence[str]) -> list[str]:
    return [names.get(value, value) for value in values]


def _facts(table: ClaimTable, measures: Sequence[Measure], key: str, axis: str = "") -> list[str]:
    """Return the values that cells share, or take in turns, of a key of the configuration.

    Args:
        axis: the axis that may stand for the key.
    """
    column = axis if axis in table.levels else key
    values: set[str] = set()
    for measure in measures:
        chosen = measure.where.get(column)
        values |= set(table.levels.get(column, ())) if chosen is None else {str(chosen)}
    if not values and table.config.get(key) not in (None, ""):
        values = {str(table.config[key])}
    numbers = {value: as_number(value) for value in values}
    return sorted(values, key=lambda v: (numbers[v] is None, numbers[v] or 0, v))
