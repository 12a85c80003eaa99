"""Regenerate: run the cells that are missing, write tables, decide the claims, draw the figures.

Further arguments are Hydra overrides for every experiment, e.g. `backend=numpy`; in a checkout
those that change a number need a results folder of their own, so that the committed results stay.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from gpubn import backend, experiments
from gpubn.commands.own import check_tables, choose, families
from gpubn.errors import ConfigError
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
_Job = tuple[FigureScript, Path, figures.Kind]
_HARMLESS = ("backend", "backend.name", "data.root")


def command() -> None:
    """Parse the command line and regenerate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides")
    parser.add_argument("--figure", action="append", default=[], help="only this figure")
    parser.add_argument(
        "--results", type=Path, help="where all is kept (results, or results/full with --full)"
    )
    parser.add_argument("--full", action="store_true", help="the grids in their full resolution")
    parser.add_argument("--only", metavar="EXTENSION", help="only what this extension holds")
    parser.add_argument(
        "--style", choices=figures.FOLDERS, default="page", help="pages, or slides of 16:9"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tables-only", action="store_true", help="draw nothing")
    what.add_argument("--redraw", action="store_true", help="run nothing")
    options = parser.parse_args()
    options.results = options.results or Path("results", *["full"] * options.full)
    own = choose(options.only)
    scripts = figures.find(options.figure)
    if own is not None:
        scripts = [script for script in scripts if script.extension == own]
    if not options.figure:
        scripts = [script for script in scripts if not _waits(script, options.results)]
    check_tables(options.results)
    started = time.perf_counter()
    undecided: list[str] = []
    if options.redraw:
        if not options.figure:
            undecided = _decide(options.results, (), options.only)
        jobs = [(script, options.results, options.style) for script in scripts]
        _draw(jobs, always=True)
    else:
        wanted = _experiments(scripts if options.figure else None, own)
        _refuse_to_overwrite(wanted, options.overrides, options.results)
        folders = _run(wanted, options.overrides, options.results, full=options.full)
        timed = any({*_TIMED.values()} & {*script.tables} for script in scripts)
        if timed or not (options.figure or own):
            _time_steps(options.results)
        if not options.tables_only:
            if not options.figure:
                undecided = _decide(options.results, folders.values(), options.only)
            places = [folders.get(script.experiment, options.results) for script in scripts]
            _draw([(*job, options.style) for job in zip(scripts, places, strict=True)])
        for name, folder in folders.items():
            if folder != options.results:
                log.info("note: %s was made from the digits and is in %s", name, folder)
    if undecided:
        claims = command_for("claims", results=options.results)
        log.warning("no verdict: %s (`%s` says why)", ", ".join(undecided), claims)
    log.info("done in %.0f s", time.perf_counter() - started)


def _waits(script: FigureScript, results: Path) -> bool:
    """Return whether a figure shows universes that have not been run: it is left out."""
    place = results / "tables" / f"{_UNIVERSES}.csv"
    return script.tables == (_UNIVERSES,) and not place.exists()


def _experiments(scripts: Sequence[FigureScript] | None, own: Extension | None) -> list[str]:
    """The experiments behind these figures, or all, of an extension if there is a choice of one."""
    if scripts is None:
        return list(experiments.names(own))
    stems = {stem.removesuffix("_pooled") for script in scripts for stem in script.tables}
    return [name for name in experiments.names() if name in stems]


def _refuse_to_overwrite(wanted: Sequence[str], overrides: Sequence[str], results: Path) -> None:
    from gpubn.sweeps.compose import expand  # Hydra takes long to import

    place = results.resolve()
    committed = place.name == "results" and (place.parent / "gpubn" / "config.py").exists()
    for override in overrides:
        if override.split("=")[0] not in _HARMLESS and committed:
            for name in wanted:  # a wrong key comes first
                expand([f"experiment={name}", *_taken(name, overrides)])
            raise ConfigError(
                f"{override} changes the numbers, and results is the folder of the committed ones; "
                "expected another folder with --results (RESULTS=folder for make)"
            )


def _run(
    wanted: Sequence[str], overrides: Sequence[str], results: Path, *, full: bool
) -> dict[str, Path]:
    """Run and tabulate experiments; return each one's results folder."""
    from gpubn.sweeps.compose import grid_override  # Hydra and pandas take long to import
    from gpubn.sweeps.pipeline import make_tables

    where = backend.resolve(_backend_name(overrides))
    chosen = {name: [grid_override(name, full=full), *_taken(name, overrides)] for name in wanted}
    made = make_tables(chosen, results, where)
    for tables in made.values():
        log.info("tables: %s", ", ".join(str(path) for path in tables.paths))
    return {name: tables.folder for name, tables in made.items()}


def _time_steps(results: Path) -> None:
    """Time training steps once for a results folder: another time gives other times."""
    for name, stem in _TIMED.items():
        if not (results / "benchmarks" / f"{stem}.csv").exists():
            log.info("timing training steps and kernels on %s", name)
            options = [f"--backend={name}", f"--results={results}"]
            subprocess.run([sys.executable, _STEP_COST, *options], check=True)


def _taken(experiment: str, overrides: Sequence[str]) -> list[str]:
    """The overrides without a choice of data that this experiment does not take."""
    datasets = experiments.get(experiment).datasets
    return [o for o in overrides if not o.startswith("data=") or o[5:] in datasets]


def _backend_name(overrides: Sequence[str]) -> str:
    chosen = dict(o.split("=", 1) for o in overrides if "=" in o)
    return chosen.get("backend.name", chosen.get("backend", "auto"))


def _decide(results: Path, folders: Collection[Path], only: str | None = None) -> list[str]:
    """Decide the claims in `results` and wherever else tables went; return the ids left open.

    Those of each extension are decided by themselves, or of `only` alone. Tables made from the
    digits count where they are: `results` may lack what they stand for.
    """
    from gpubn.report.claims import decide_all, report_folder  # slow to import

    missing: list[str] = []
    for folder in (results, *sorted({*folders} - {results})):
        missing = []
        for own in families(only):
            decisions = decide_all(folder, [results] if folder != results else [], own=own)
            undecided = [decision.id for decision in decisions if decision.verdict is None]
            counts = (len(decisions) - len(undecided), len(decisions))
            log.info("claims: %s (%d of %d decided)", report_folder(folder, own) / _PAGE, *counts)
            missing += undecided
    return missing


def _draw(jobs: Sequence[_Job], *, always: bool = False) -> None:
    stale = [job for job in jobs if always or not figures.is_current(*job)]
    if stale:
        log.info("drawing %d figures", len(stale))
    if len(stale) > 1 and backend.cores() > 1:
        with ProcessPoolExecutor(min(backend.cores(), len(stale)), get_context("spawn")) as pool:
            list(pool.map(_draw_one, stale))
    else:
        for job in stale:
            _draw_one(job)
    for job in jobs:
        script, folder, kind = job
        state = "drawn" if job in stale else "up to date"
        log.info("figure: %s.{png,svg} (%s)", folder / figures.FOLDERS[kind] / script.name, state)


def _draw_one(job: _Job) -> None:
    figures.draw(*job)
