"""Regenerate: run the cells that are missing, write tables, decide the claims, draw the figures.

Further arguments are Hydra overrides for every experiment, e.g. `backend=numpy`; in a checkout
those that change a number need a results folder of their own, so that the committed results stay.

With `--full` the experiments that have a grid in full resolution are run on it, those cells go to
the same store, and what comes of them to `full` in the results folder: in `full/complete/tables`
the tables that figures are drawn from, in `full/tables` what the ledger reads of them, and beside
it verdicts and figures. Other experiments have the tables that stand in the results folder; those
that are missing there are made.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from gpubn import backend, experiments
from gpubn.commands.own import check_tables, choose, families, is_committed
from gpubn.commands.tabulate import (
    COMPLETE,
    DIGITS,
    run_experiments,
    stands_for_no_full_grid,
    taken,
)
from gpubn.errors import ConfigError, StoreError
from gpubn.extensions import Extension
from gpubn.files import shipped
from gpubn.report.figures import drawing as figures
from gpubn.report.figures.drawing import FigureScript
from gpubn.sweeps.sweep_table import command_for

log = logging.getLogger("gpubn")

_STEP_COST = shipped("scripts/bench/step_cost.py")
_TIMED = {"numpy": _STEP_COST.stem, "numba": f"{_STEP_COST.stem}_numba"}
"""Backend -> the table of what its steps cost."""
_UNIVERSES = "universes"
"""The table that `gpubn universes` alone writes."""
_PAGE = "claims.md"
_MAP = "trainability"
_Job = tuple[FigureScript, Path, figures.Kind, Sequence[Path]]
_HARMLESS = ("backend", "backend.name", "data.root")


def command() -> None:
    """Parse the command line and regenerate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides")
    parser.add_argument("--figure", action="append", default=[], help="only this figure")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="where all is kept (results)"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="the grids in full resolution: cells go to the same store, tables, verdicts and "
        "figures to `full` in the results folder",
    )
    parser.add_argument("--only", metavar="EXTENSION", help="only what this extension holds")
    parser.add_argument(
        "--style", choices=figures.FOLDERS, default="page", help="pages, or slides of 16:9"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tables-only", action="store_true", help="draw nothing")
    what.add_argument("--redraw", action="store_true", help="run nothing")
    options = parser.parse_args()
    results, place = options.results, options.results / "full" if options.full else options.results
    own = choose(options.only)
    scripts = figures.find(options.figure)
    if own is not None:
        scripts = [script for script in scripts if script.extension == own]
    waiting = [script for script in scripts if _waits(script, results)]
    if waiting and options.figure:
        place = results / "tables" / f"{_UNIVERSES}.csv"
        raise StoreError(f"{place} does not exist; expected one, which `gpubn universes` writes")
    scripts = [script for script in scripts if script not in waiting]
    check_tables(results)
    started = time.perf_counter()
    undecided: list[str] = []
    folders: dict[str, Path] = {}
    if options.redraw:
        if not options.figure:
            undecided = _decide(results, place, (), options.only)
    else:
        wanted = _experiments(scripts if options.figure else None, own)
        _refuse_to_overwrite(wanted, options.overrides, results)
        folders = run_experiments(wanted, options.overrides, results, full=options.full)
        if _MAP in folders:
            of = folders[_MAP]
            _write_slopes(place / COMPLETE / of.relative_to(place) if options.full else of, of)
        timed = any({*_TIMED.values()} & {*script.tables} for script in scripts)
        if timed or not (options.figure or own):
            _time_steps(results)
        if not (options.tables_only or options.figure):
            undecided = _decide(results, place, folders.values(), options.only)
    if not options.tables_only:
        if options.full and not options.figure:
            scripts = [script for script in scripts if _shows_full_grids(script)]
        find = _in_full if options.full else _beside
        jobs = [(script, *find(script, results, folders)) for script in scripts]
        _draw([(s, place, options.style, of) for s, place, of in jobs], always=options.redraw)
    for name, folder in folders.items():
        if folder.name == DIGITS:
            log.info("note: %s was made from the digits and is in %s", name, folder)
    if undecided:
        claims = command_for("claims", results=results, options=["--full"] * options.full)
        log.warning("no verdict: %s (`%s` says why)", ", ".join(undecided), claims)
    log.info("done in %.0f s", time.perf_counter() - started)


def _waits(script: FigureScript, results: Path) -> bool:
    """Return whether a figure shows universes that have not been run, which is done elsewhere."""
    place = results / "tables" / f"{_UNIVERSES}.csv"
    return script.tables == (_UNIVERSES,) and not place.exists()


def _experiments(scripts: Sequence[FigureScript] | None, own: Extension | None) -> list[str]:
    """The experiments behind these figures, or all, of an extension if there is a choice of one."""
    if scripts is None:
        return list(experiments.names(own))
    behind = {name for script in scripts for name in _behind(script)}
    return [name for name in experiments.names() if name in behind]


def _behind(script: FigureScript) -> list[str]:
    """The experiment that each table of a figure is of; of another table its own name."""
    return [stem.removesuffix("_pooled") for stem in script.tables]


def _shows_full_grids(script: FigureScript) -> bool:
    from gpubn.sweeps.compose import has_full_grid  # Hydra takes long to import

    return any(has_full_grid(name) for name in _behind(script))


def _beside(
    script: FigureScript, results: Path, folders: Mapping[str, Path]
) -> tuple[Path, Sequence[Path]]:
    """Return where a figure goes: to the tables that it is drawn from."""
    return folders.get(script.experiment, results), ()


def _in_full(
    script: FigureScript, results: Path, folders: Mapping[str, Path]
) -> tuple[Path, Sequence[Path]]:
    """Return where a figure goes whose tables are those of full grids, and where these are.

    Raises:
        StoreError: a table of a full grid is not there; that of the quick one is none of them.
    """
    from gpubn.sweeps.compose import has_full_grid

    if not _shows_full_grids(script):
        return _beside(script, results, folders)
    place, names = results / "full", _behind(script)
    complete, quick = [place if script.from_small else place / COMPLETE], [results]
    if any(folders.get(name, place).name == DIGITS for name in names):
        complete, quick = ([of[0] / DIGITS, *of] for of in (complete, quick))
        place /= DIGITS
    for stem in (
        stem for stem, name in zip(script.tables, names, strict=True) if has_full_grid(name)
    ):
        files = [folder / "tables" / f"{stem}.csv" for folder in complete]
        if not any(file.exists() for file in files):
            expected = "expected a table, which `gpubn build --full` writes"
            raise StoreError(f"{files[-1]} does not exist; {expected}")
    return place, [*complete, *quick]


def _refuse_to_overwrite(wanted: Sequence[str], overrides: Sequence[str], results: Path) -> None:
    from gpubn.sweeps.compose import expand  # Hydra takes long to import

    committed = is_committed(results)
    for override in overrides:
        if override.split("=")[0] not in _HARMLESS and committed:
            for name in wanted:  # a wrong key comes first
                expand([f"experiment={name}", *taken(name, overrides)])
            raise ConfigError(
                f"{override} changes the numbers, and results is the folder of the committed ones; "
                "expected another folder with --results (RESULTS=folder for make)"
            )


def _write_slopes(made: Path, results: Path) -> None:
    from gpubn.report.trainability import write_slopes  # slow to import

    log.info("slopes: %s", write_slopes(made / "tables", results))


def _time_steps(results: Path) -> None:
    """Time training steps once for a results folder: another time gives other times."""
    for name, stem in _TIMED.items():
        if not (results / "benchmarks" / f"{stem}.csv").exists():
            log.info("timing training steps and kernels on %s", name)
            options = [f"--backend={name}", f"--results={results}"]
            subprocess.run([sys.executable, _STEP_COST, *options], check=True)


def _decide(
    results: Path, place: Path, folders: Collection[Path], only: str | None = None
) -> list[str]:
    """Decide the claims in `place` and wherever else tables went; return the ids left open.

    That is `results` or the folder of the full results in it, whose verdicts the page of the others
    shows, too. The claims of each extension are decided by themselves, or of `only` alone. Tables
    made from the digits count where they are: a folder may lack what they stand for.
    """
    digits = [folder for folder in sorted({*folders}) if place in folder.parents]
    missing: list[str] = []
    for folder in (place, *digits):
        lacking = [] if folder == place else [place]
        quick = [] if place == results else [*[results / DIGITS] * len(lacking), results]
        missing = _decide_one(folder, [*lacking, *quick], quick, only)
    if place != results and (results / "claims.csv").exists():
        _decide_one(results, [], [], only)
    return missing


def _decide_one(
    folder: Path, lacking: Sequence[Path], quick: Sequence[Path], only: str | None
) -> list[str]:
    """Decide from the tables in a folder, or else in those that are `lacking` in it.

    Args:
        quick: those of them whose tables stand for no full grid.
    """
    from gpubn.report.claims import decide_all, report_folder  # slow to import

    missing: list[str] = []
    passed_over = stands_for_no_full_grid(quick)
    for own in families(only):
        decisions = decide_all(folder, lacking, own=own, passed_over=passed_over)
        undecided = [decision.id for decision in decisions if decision.verdict is None]
        counts = (len(decisions) - len(undecided), len(decisions))
        log.info("claims: %s (%d of %d decided)", report_folder(folder, own) / _PAGE, *counts)
        missing += undecided
    return missing


def _draw(jobs: Sequence[_Job], *, always: bool = False) -> None:
    stale = [job for job in jobs if always or not figures.is_current(*job)]
    if stale:
        log.info("drawing %d figure%s", len(stale), "s" * (len(stale) > 1))
    if len(stale) > 1 and backend.cores() > 1:
        with ProcessPoolExecutor(min(backend.cores(), len(stale)), get_context("spawn")) as pool:
            list(pool.map(_draw_one, stale))
    else:
        for job in stale:
            _draw_one(job)
    for job in jobs:
        script, folder, kind, _ = job
        state = "drawn" if job in stale else "up to date"
        log.info("figure: %s.{png,svg} (%s)", folder / figures.FOLDERS[kind] / script.name, state)


def _draw_one(job: _Job) -> None:
    figures.draw(*job)
