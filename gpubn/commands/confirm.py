"""Run claims on new seeds and decide them by the rules that are frozen.

Tables go to `confirmed` in the results folder; what came of the claims, beside their verdicts
there, to confirmation.csv and confirmation.md. With `--full` all of this is in `full`: grids in
full resolution where there are such, at the rates that the seeds of tuning choose, the others as
they are. What is timed is taken as it stands. With `--only` one claim is run, or some: they are
decided together with all others as these stand in the results, and the others keep the rows that
they have. Nothing is run where nothing is frozen, what is frozen has changed, or the seeds are not
new.
"""

import argparse
import csv
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpubn import backend, experiments
from gpubn.data import load
from gpubn.errors import ConfigError
from gpubn.report.claims.confirmation import (
    OUTCOMES,
    compare,
    confirmed_rows,
    in_order,
    last_seed,
    write_confirmation,
)
from gpubn.report.claims.decide import Decision, decide_measured, measured
from gpubn.report.claims.freeze import FreezeError, last_freeze, load_freezes
from gpubn.report.claims.ledger import Claim, Ledger, load_ledger
from gpubn.report.claims.measure import table_reader
from gpubn.report.claims.places import TablePlaces
from gpubn.report.claims.universes import known_rows
from gpubn.sweeps.compose import grid_override
from gpubn.sweeps.estimate import Forecast
from gpubn.sweeps.pipeline import make_tables
from gpubn.sweeps.universes import universes

log = logging.getLogger("gpubn")


def command() -> None:
    """Confirm, and print how many verdicts came out alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="what was frozen")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CLAIM", help="this one; may be repeated"
    )
    parser.add_argument(
        "--first-seed", type=int, help="the first new seed (the next hundred after all seen ones)"
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--full", action="store_true", help="the verdicts in full, hours")
    parser.add_argument("--backend", default="auto", help="auto, numpy, numba or cupy")
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        help="a Hydra override, for one experiment NAME:KEY=VALUE",
    )
    options = parser.parse_args()
    frozen = last_freeze(options.results)
    book = load_ledger()
    ids = options.only or [*book.claims]
    if unknown := [id_ for id_ in ids if id_ not in book.claims]:
        raise ConfigError(f"--only is {unknown[0]!r}; expected one of {', '.join(book.claims)}")
    names = _experiments_of(book.claims[id_] for id_ in ids)
    results = options.results
    place = results / "full" if options.full else results
    first = new_seed(results, place, book.claims, names, frozen.hash, options.first_seed)
    if any("mnist" in experiments.get(name).datasets for name in names):
        load("mnist")  # the digits, which would stand for it, were not frozen
    before = _verdicts(place / "claims.csv")
    fresh = place / "confirmed"
    seeds = [f"first_seed={first}", f"seeds={options.seeds}"]
    chosen = {
        name: [grid_override(name, full=options.full), *seeds, *_taken(name, options.override)]
        for name in names
    }
    where = backend.resolve(options.backend)
    make_tables(chosen, fresh, where, cell_folder=results / "cells", before=_say)
    said = f"{first} to {first + options.seeds - 1}"
    decisions = [d for d in _decided(book, ids, fresh, place, results) if d.id in ids]
    rows = [compare(before[d.id], d, frozen.hash, said) for d in decisions if d.id in before]
    known = confirmed_rows(place) if options.only else []
    together = in_order(known, rows, book.expected)
    write_confirmation(place, together, load_freezes(results), "../" * options.full)
    counts = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}
    print(f"{len(rows)} confirmed: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}")


def _say(left: Forecast) -> None:
    log.info("%s", left)


def _taken(experiment: str, overrides: Iterable[str]) -> Iterator[str]:
    """Return the overrides that are for all experiments, or for this one."""
    for override in overrides:
        name, _, own = override.partition(":")
        if name not in experiments.names():
            yield override
        elif name == experiment:
            yield own


def _experiments_of(claims: Iterable[Claim]) -> list[str]:
    read = {table.removesuffix("_pooled") for claim in claims for table in claim.tables}
    return [name for name in experiments.names() if name in read]


def _decided(book: Ledger, ids: Collection[str], fresh: Path, *frozen: Path) -> list[Decision]:
    """Decide all claims together: these from the fresh tables, the others from the frozen ones."""
    new = table_reader(TablePlaces((fresh, frozen[-1])).existing)
    old = table_reader(TablePlaces(frozen).existing)
    each = [measured(c, new if c.id in ids else old) for c in book.claims.values()]
    return decide_measured(book, each)


def new_seed(
    results: Path,
    place: Path,
    claims: Mapping[str, Claim],
    names: Sequence[str],
    freeze: str,
    asked: int | None = None,
) -> int:
    """Return the first seed of a confirmation: the one asked for, or the next hundred after all
    seeds that were seen.

    Some were seen in the tables of these experiments, in those where the frozen verdicts are or
    those of the results, some in universes, and others where a claim that reads one of them was
    confirmed, on quick grids or in full. Those of this freeze may be asked for again.

    Raises:
        FreezeError: the seed that was asked for was seen, or one after it.
    """
    seen, decided = {-1: "nothing was seen"}, known_rows(results)
    elsewhere = [u for u in universes().values() if u.first_seed and u.name in decided]
    for name in names:
        first, count = _seeds_of_table((place, results), name)
        seen[first + count - 1] = f"{name} was decided"
        for universe in elsewhere:
            seen[universe.first_seed + count - 1] = f"the universe {universe.name} was decided"
    rows = [*confirmed_rows(results), *confirmed_rows(results / "full")]
    alike = {id_ for id_, claim in claims.items() if {*_experiments_of([claim])} & {*names}}
    if asked is None:
        return (max(*seen, last_seed(rows, alike)) // 100 + 1) * 100
    others = [row for row in rows if row["freeze"] != freeze]
    seen[last_seed(others, alike)] = "claims were confirmed"
    if asked <= (last := max(seen)):
        raise FreezeError(
            f"--first-seed is {asked}; expected at least {last + 1}, as {seen[last]} on seeds up "
            f"to {last}"
        )
    return asked


def _seeds_of_table(folders: Sequence[Path], name: str) -> tuple[int, int]:
    """Return the first seed of the table in the first folder that has it, and how many."""
    places = [folder / "tables" / f"{name}.json" for folder in folders]
    path = next((path for path in places if path.exists()), places[0])
    config: dict[str, Any] = json.loads(path.read_text())["config"]
    return int(config.get("first_seed", 0)), int(config["seeds"])


def _verdicts(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}
