"""Scope: which network a verdict is about, in words, from the tables that it rests on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.claims.entries import as_number
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.measure import ClaimTable, Measure, TableReader
from gpubn.report.pages import render_page

TEMPLATE = Path(__file__).with_suffix(".jinja")


def scope(claim: Claim, tables: TableReader) -> str:
    """Return the network, data and training behind a claim's cases; empty if unknown."""
    by_table: dict[str, list[Measure]] = {}
    for measure in claim.decisive.values():
        by_table.setdefault(measure.table, []).append(measure)
    scopes = []
    for stem, measures in by_table.items():
        try:
            facts = _Facts(tables[stem], measures)
        except StoreError:
            continue
        lines = render_page(TEMPLATE, facts=facts, words=words, named=_named).splitlines()
        scopes.append(", ".join(line for line in lines if line))
    return "; ".join(dict.fromkeys(text for text in scopes if text))


def _named(names: Mapping[str, str], values: Sequence[str]) -> list[str]:
    return [names.get(value, value) for value in values]


class _Facts:
    """The values that the cells read from one table share, or take one after the other."""

    def __init__(self, table: ClaimTable, measures: Sequence[Measure]) -> None:
        self._table = table
        self._measures = measures

    def __call__(self, key: str, axis: str = "") -> list[str]:
        """The values of a key of the configuration, or of the axis that stands for it."""
        config, levels = self._table.config, self._table.levels
        column = axis if axis in levels else key
        values: set[str] = set()
        for measure in self._measures:
            chosen = measure.where.get(column)
            values |= set(levels.get(column, ())) if chosen is None else {str(chosen)}
        if not values and config.get(key) not in (None, ""):
            values = {str(config[key])}
        numbers = {value: as_number(value) for value in values}
        return sorted(values, key=lambda v: (numbers[v] is None, numbers[v] or 0, v))
