"""Decide every claim in universes: the same grids and ledger, one factor away from the default.

Runs what is missing of the experiments that the ledger reads, in each universe of conf/universe,
and writes universes.csv, the table `universes` and universe_costs.csv into the results folder after
each. Cells are shared with the results folder; tables go to `universes/<name>` in it. Stop it at
any time: the same command goes on. A universe that is not asked for keeps the verdicts it has. Of
one that has been run single experiments can be run again, beside the tables of the others.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gpubn import backend, experiments
from gpubn.backend import Backend
from gpubn.errors import ConfigError, DataUnavailableError
from gpubn.report.claims import decide_all, ledger
from gpubn.report.claims import universes as report
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.store.cell_store import CellStore
from gpubn.sweeps.universe_costs import CostRow, costs, write_costs
from gpubn.sweeps.universes import (
    DEFAULT,
    DIGITS,
    Outcome,
    Universe,
    check_data,
    grids,
    remove_tables,
    tables_of,
    tabulate,
    universes,
)

log = logging.getLogger("gpubn")

_DEFAULT = Universe(DEFAULT, DEFAULT, "the grids as they are")


def command() -> None:
    """Run and decide universes, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="the default's")
    parser.add_argument(
        "--only", action="append", default=[], metavar="UNIVERSE", help="this one; may be repeated"
    )
    parser.add_argument("--ledger", type=Path, default=ledger.FOLDER, help="the folder with claims")
    parser.add_argument("--backend", default="auto", help="auto, numpy, numba or cupy")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="say what each universe is; run nothing")
    what.add_argument("--decide", action="store_true", help="decide again; run nothing")
    what.add_argument(
        "--experiment", action="append", default=[], metavar="NAME",
        help="run this one alone where a universe has been run; may be repeated",
    )  # fmt: skip
    options = parser.parse_args()
    found = universes()
    for name in options.only:
        if name not in found:
            raise ConfigError(f"--only is {name!r}; expected one of {', '.join(found)}")
    if options.list:
        width = max(map(len, found))
        for universe in found.values():
            print(f"{universe.name:{width}}  {universe.title}: {universe.differs}")
        return
    before = report.default_rows(options.results)
    where = backend.resolve(options.backend)
    run = _Run(
        options.results, options.ledger, None if options.decide else where, options.experiment
    )
    known, titles = report.known_rows(options.results), {n: u.title for n, u in found.items()}
    rows = {n: report.completed(n, known.get(n, []), before) for n in found}
    for name, universe in found.items():
        if not options.only or name in options.only:
            rows[name] = run(universe, rows[name])
            report.write_universes(options.results, before, rows, titles)
            words = [row["word"] for row in rows[name]]
            counts = {word: words.count(word) for word in dict.fromkeys(words)}
            print(f"{name}: {'; '.join(f'{n} {word}' for word, n in counts.items())}")


class _Run:
    """Runs and decides universes on the cells of a results folder.

    Args:
        where: the backend; None where nothing is run.
        alone: the experiments that are run of a universe that has been run; all where none is
            named.

    Raises:
        ConfigError: the ledger reads no such experiment.
    """

    def __init__(
        self, results: Path, rules: Path, where: Backend | None, alone: Sequence[str] = ()
    ) -> None:
        self._results, self._rules, self._where = results, rules, where
        claims = ledger.load_ledger(rules).claims.values()
        read = {c.id: {table.removesuffix("_pooled") for table in c.tables} for c in claims}
        used = set().union(*read.values())
        self._names = [name for name in experiments.names() if name in used]
        self._read = {id_: tables & {*self._names} for id_, tables in read.items()}
        for name in alone:
            if name not in self._names:
                allowed = ", ".join(self._names)
                raise ConfigError(f"--experiment is {name!r}; expected one of {allowed}")
        self._alone = [name for name in self._names if name in alone]

    def __call__(
        self, universe: Universe, before: list[report.VerdictRow]
    ) -> list[report.VerdictRow]:
        """Return the rows of a universe: those `before` where there are none, or no data now."""
        folder = self._results / "universes" / universe.name
        if self._alone and Outcome.of(folder) is None:
            log.warning("the universe %s is left out: it has not been run", universe.name)
            return before
        if self._where is not None:
            try:
                self._make(universe, folder, self._where)
            except DataUnavailableError as error:
                log.warning("the universe %s is left out: %s", universe.name, error)
                blank = {row["word"] for row in before} <= {report.NOT_RUN, report.NO_DATA}
                ids = [row["id"] for row in before]
                why = f"the dataset {universe.data} could not be had"
                none = report.no_data_rows(universe.name, ids, why)
                return none if blank else before
        outcome = Outcome.of(folder)
        if outcome is None:
            return before
        log.info("deciding the claims in the universe %s", universe.name)
        also = [folder / DIGITS, self._results]
        lacking = self._lacking(folder, outcome)
        decisions = decide_all(folder, also, rules=self._rules, lacking=lacking)
        return report.decided_rows(universe.name, decisions, self._read, outcome.same)

    def _make(self, universe: Universe, folder: Path, where: Backend) -> None:
        log.info("the universe %s: %s", universe.name, universe.differs)
        plans, wanted = self._results / "plans", self._alone or self._names
        cells, failed = grids(universe, wanted, folder / "plans")
        check_data(cells)
        default, _ = grids(_DEFAULT, wanted, plans)
        failed |= tabulate(universe, cells, folder, self._results / "cells", where)
        for name, why in failed.items():
            log.warning("%s has no table in the universe %s: %s", name, universe.name, why)
            remove_tables(folder, name)
        same = [name for name in cells if _ids(cells[name]) == _ids(default.get(name, []))]
        if self._alone:
            outcome = Outcome.of(folder)
            assert outcome is not None
            failed |= {name: why for name, why in outcome.failed.items() if name not in wanted}
            same += [name for name in outcome.same if name not in wanted]
        else:
            self._count(universe, cells, default)
        Outcome(failed, same).save(folder)

    def _count(
        self, universe: Universe, cells: Mapping[str, list[Cell]], default: Mapping[str, list[Cell]]
    ) -> None:
        """Write what a universe has cost, all of it, beside the default."""
        ids = set().union(*map(_ids, default.values()))
        finished = CellStore(self._results / "cells")
        rows: dict[str, CostRow] = {}
        for one, grid in ((_DEFAULT, default), (universe, cells)):
            of_one = [cell for of_experiment in grid.values() for cell in of_experiment]
            with suppress(DataUnavailableError):  # the digits do without the default's data
                row = costs(one.name, of_one, None if one is _DEFAULT else ids, finished)
                rows |= {one.name: row} if row else {}
        write_costs(self._results, rows)

    def _lacking(self, folder: Path, outcome: Outcome) -> Mapping[str, str]:
        """Return why a table of an experiment is not there: the default's does not stand for it."""
        lacking = {}
        for name in self._names:
            if not tables_of(folder, name):
                why = outcome.failed.get(name, "it has not been run")
                for stem in (name, f"{name}_pooled"):
                    lacking[stem] = f"{name} has no table in this universe: {why}"
        return lacking


def _ids(cells: list[Cell]) -> set[str]:
    return {cell.id for cell in cells}
