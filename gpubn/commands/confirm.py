"""Run every claim on new seeds and decide it by the rules that are frozen.

Tables go to `confirmed` in the results folder; what came of the claims, beside their verdicts
there, to confirmation.csv and confirmation.md. With `--full` all of this is in `full`: grids in
full resolution where there are such, at the rates that the seeds of tuning choose, the others as
they are. What is timed is taken as it stands. Nothing is run where nothing is frozen, what is
frozen has changed, or the seeds are not new.
"""

import argparse
import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from gpubn import backend, experiments
from gpubn.data import load
from gpubn.report.claims import decide_all
from gpubn.report.claims.confirmation import OUTCOMES, compare, write_confirmation
from gpubn.report.claims.freeze import FreezeError, last_freeze
from gpubn.report.claims.ledger import load_ledger
from gpubn.sweeps.compose import grid_override
from gpubn.sweeps.estimate import Forecast
from gpubn.sweeps.pipeline import make_tables

log = logging.getLogger("gpubn")


def command() -> None:
    """Confirm, and print how many verdicts came out alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="what was frozen")
    parser.add_argument("--first-seed", type=int, default=100, help="the first new seed (100)")
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--full", action="store_true", help="the verdicts in full, hours")
    parser.add_argument("--backend", default="auto", help="auto, numpy, numba or cupy")
    parser.add_argument("--override", action="append", default=[], help="a Hydra override")
    options = parser.parse_args()
    frozen = last_freeze(options.results)
    claims = load_ledger().claims.values()
    read = {table.removesuffix("_pooled") for claim in claims for table in claim.tables}
    names = [name for name in experiments.names() if name in read]
    results = options.results
    place = results / "full" if options.full else results
    refuse_seen_seeds((place, results), names, options.first_seed)
    if any("mnist" in experiments.get(name).datasets for name in names):
        load("mnist")  # the digits, which would stand for it, were not frozen
    before = _verdicts(place / "claims.csv")
    fresh = place / "confirmed"
    seeds = [f"first_seed={options.first_seed}", f"seeds={options.seeds}", *options.override]
    chosen = {name: [grid_override(name, full=options.full), *seeds] for name in names}
    where = backend.resolve(options.backend)
    make_tables(chosen, fresh, where, cell_folder=results / "cells", before=_say)
    decisions = decide_all(fresh, [results], fresh)
    said = f"{options.first_seed} to {options.first_seed + options.seeds - 1}"
    rows = [compare(before[d.id], d, frozen.hash, said) for d in decisions if d.id in before]
    write_confirmation(place, rows, frozen, "../" * options.full)
    counts = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}
    print(f"{len(rows)} claims: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}")


def _say(left: Forecast) -> None:
    log.info("%s", left)


def refuse_seen_seeds(folders: Sequence[Path], names: Sequence[str], first: int) -> None:
    """Refuse seeds on which a table of these experiments in the first folder with it was made.

    Raises:
        FreezeError: `first` is one, or below one.
    """
    for name in names:
        places = [folder / "tables" / f"{name}.json" for folder in folders]
        path = next((path for path in places if path.exists()), places[0])
        config = json.loads(path.read_text())["config"]
        unseen = config.get("first_seed", 0) + config["seeds"]
        if first < unseen:
            raise FreezeError(
                f"--first-seed is {first}; expected at least {unseen}, as {name} was decided on "
                f"seeds up to {unseen - 1}"
            )


def _verdicts(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}
