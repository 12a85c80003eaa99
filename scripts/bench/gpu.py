"""Time the GPU path beside PyTorch and JAX on the same card, in turns, in one run.

Writes `gpu_batchnorm.csv` and `gpu_training.csv`, each with a figure and a JSON file that says
where it was made, and `gpu_targets.csv`, into `benchmarks/` of the results folder. What each
contestant computes is compared with float64 before it is timed. A benchmark, not a test: nothing
fails when it is slow.
"""

import argparse
import logging
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import harness
from race import order, targets
from race.contest import Contest
from race.contestants import PEERS
from race.site import Site

from gpubn.backend import resolve
from gpubn.errors import ArgumentError, GpubnError

log = logging.getLogger("gpubn")


def main() -> None:
    """Measure, decide, draw."""
    options = _options()
    folder = options.results / "benchmarks"
    if not options.draw:
        _measure(options, folder)
    for target in targets.decide(folder):
        needed = f"needed {target.needed}; " if target.needed else ""
        measured = target.measured or "nothing"
        log.info("%s: %smeasured %s: %s", target.target, needed, measured, target.met or "-")
    log.info("%s", folder / targets.TARGETS)
    if not options.no_figures:
        _draw(folder, must=options.draw)


def _options() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of each race (50; 3 in a dry run)")
    parser.add_argument("--budget", type=float, help="begin no further work after so many seconds")
    parser.add_argument("--only", nargs="+", choices=order.WORKS, help="only these works")
    parser.add_argument("--without", nargs="+", choices=PEERS, default=[], help="no such peer")
    parser.add_argument("--revision", help="what is measured, where there is no git")
    parser.add_argument("--no-figures", action="store_true", help="draw later, with --draw")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry", action="store_true", help="everything in tiny on the CPU")
    what.add_argument("--draw", action="store_true", help="draw from the tables; measure nothing")
    options = parser.parse_args()
    committed = (Path("results").resolve(), order.ROOT / "results")
    if options.dry and options.results.resolve() in committed:
        raise ArgumentError(
            f"--results is {options.results}, the folder of the committed ones; "
            "expected another folder for a dry run, which says nothing of speed"
        )
    if options.rounds is None:
        options.rounds = 3 if options.dry else 50
    if options.rounds < 1:
        raise ArgumentError(f"--rounds is {options.rounds}; expected at least 1")
    return options


def _measure(options: argparse.Namespace, folder: Path) -> None:
    site = Site.of(resolve("numpy" if options.dry else "cupy"))
    until = math.inf if options.budget is None else time.monotonic() + options.budget
    works = options.only or [w for w in order.WORKS if not (options.dry and w == "grid")]
    without = {*options.without, *(["compile"] if options.dry else [])}
    facts = {
        **site.facts(options.revision),
        "rounds": options.rounds,
        "budget": options.budget,
        "arguments": sys.argv[1:],
    }
    peers = [peer for peer in PEERS if peer not in without]
    order.run(Contest(site, options.rounds, until), folder, works, peers, facts)


def _draw(folder: Path, *, must: bool) -> None:
    try:
        from race.figures import draw_all
    except ImportError as error:
        if must:
            raise GpubnError(f"the figures need a package that is missing ({error})") from error
        log.warning("no figures (%s): the tables are kept; draw later with --draw", error)
        return
    for path in draw_all(folder):
        log.info("%s", path)


def _start(task: Callable[[], None]) -> None:
    """As every script does; where Hydra is missing, the same without it."""
    try:
        from gpubn.sweeps import cli
    except ImportError:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        try:
            task()
        except GpubnError as error:
            sys.exit(f"error: {error}")
    else:
        cli.log_to_stderr()
        cli.main(task)


if __name__ == "__main__":
    _start(main)
