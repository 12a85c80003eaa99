"""Regenerate: run the cells that are missing, then write tables and figures.

`make figures`, `make results` and `make redraw` call this. Further arguments are Hydra overrides
for every experiment, e.g. `backend=numpy`; those that change a number need a results folder of
their own, so that the committed results stay.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from gpubn import backend, cli, experiments, figures
from gpubn.errors import ConfigError
from gpubn.figures import FigureScript

log = logging.getLogger("gpubn")

COMMITTED = Path(__file__).resolve().parent.parent / "results"
_HARMLESS = ("backend", "backend.name", "data.root")


def main() -> None:
    """Parse the command line and regenerate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides")
    parser.add_argument("--figure", action="append", default=[], help="only this figure")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where all is kept")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tables-only", action="store_true", help="draw nothing")
    what.add_argument("--redraw", action="store_true", help="run nothing")
    options = parser.parse_args()
    scripts = figures.find(options.figure)
    started = time.perf_counter()
    if options.redraw:
        _draw([(script, options.results) for script in scripts], always=True)
    else:
        _refuse_to_overwrite(scripts, options.overrides, options.results)
        folders = _run(scripts, options.overrides, options.results)
        if not options.tables_only:
            _draw([(script, folders[script.experiment]) for script in scripts])
        for name, folder in folders.items():
            if folder != options.results:
                log.info("note: %s was made from the digits and is in %s", name, folder)
    log.info("done in %.0f s", time.perf_counter() - started)


def _refuse_to_overwrite(
    scripts: Sequence[FigureScript], overrides: Sequence[str], results: Path
) -> None:
    from gpubn.compose import expand  # Hydra takes long to import

    default = results.resolve() in (Path("results").resolve(), COMMITTED)
    for override in overrides:
        if override.split("=")[0] not in _HARMLESS and default:
            for name in {script.experiment for script in scripts}:  # a wrong key comes first
                expand([f"experiment={name}", *_taken(name, overrides)])
            raise ConfigError(
                f"{override} changes the numbers, and results is the folder of the committed ones; "
                "expected another folder with --results (RESULTS=folder for make)"
            )


def _run(
    scripts: Sequence[FigureScript], overrides: Sequence[str], results: Path
) -> dict[str, Path]:
    """Run and tabulate the experiments behind the figures; return each one's results folder."""
    from gpubn.pipeline import make_tables  # Hydra and pandas take long to import

    wanted = {script.experiment for script in scripts}
    folders = {}
    where = backend.resolve(_backend_name(overrides))
    for name in experiments.names():
        if name in wanted:
            tables = make_tables(name, results, where, overrides=_taken(name, overrides))
            log.info("tables: %s", ", ".join(str(path) for path in tables.paths))
            folders[name] = tables.folder
    return folders


def _taken(experiment: str, overrides: Sequence[str]) -> list[str]:
    """The overrides without a choice of data that this experiment does not take."""
    datasets = experiments.get(experiment).datasets
    return [o for o in overrides if not o.startswith("data=") or o[5:] in datasets]


def _backend_name(overrides: Sequence[str]) -> str:
    chosen = dict(o.split("=", 1) for o in overrides if "=" in o)
    return chosen.get("backend.name", chosen.get("backend", "auto"))


def _draw(jobs: Sequence[tuple[FigureScript, Path]], *, always: bool = False) -> None:
    stale = [job for job in jobs if always or not figures.is_current(*job)]
    if stale:
        log.info("drawing %d figures", len(stale))
    if len(stale) > 1 and backend.cores() > 1:
        with ProcessPoolExecutor(min(backend.cores(), len(stale)), get_context("spawn")) as pool:
            list(pool.map(_draw_one, stale))
    else:
        for job in stale:
            _draw_one(job)
    for script, folder in jobs:
        state = "drawn" if (script, folder) in stale else "up to date"
        log.info("figure: %s.{png,svg} (%s)", folder / "figures" / script.name, state)


def _draw_one(job: tuple[FigureScript, Path]) -> None:
    figures.draw(*job)


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
