"""Run every experiment again in a folder of its own and compare with the committed tables.

Exits 1 where a table is missing, cannot be made again, or differs by more than the tolerances of
`gpubn/report/compare.py`, or where a claim comes to another verdict.
"""

import argparse
import csv
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gpubn import backend, experiments
from gpubn.errors import GpubnError
from gpubn.extensions import extensions
from gpubn.files import git_revision, shipped
from gpubn.report.benchmarks import write_benchmark
from gpubn.report.claims import decide_all
from gpubn.report.compare import Comparison, compare_tables
from gpubn.report.tables import read_table
from gpubn.sweeps.pipeline import make_tables

log = logging.getLogger("gpubn")


class NotReproducedError(GpubnError):
    """At least one committed table was not reproduced."""


def command() -> None:
    """Verify the experiments given on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", help="only these experiments")
    parser.add_argument("--results", type=Path, help="what to compare with (what was published)")
    parser.add_argument("--backend", default="auto", help="auto, numpy, numba or cupy")
    parser.add_argument("--override", action="append", default=[], help="a Hydra override")
    parser.add_argument("--report", type=Path, help="write the comparison to this CSV file, too")
    parser.add_argument("--revision", help="what is compared, where there is no git")
    options = parser.parse_args()
    published = options.results or shipped("results")
    device = backend.resolve(options.backend)
    others = {name for extension in extensions() for name in experiments.names(extension)}
    ours = [name for name in experiments.names() if name not in others]
    names = [experiments.get(name).name for name in options.experiments or ours]
    rows: list[Comparison] = []
    missing: list[Path] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpubn-verify-") as scratch:
        fresh = Path(scratch)
        chosen = {name: [f"experiment={name}", *options.override] for name in names}
        tables = make_tables(chosen, fresh, device)
        seconds = round(time.monotonic() - started, 1)
        for name, made in tables.items():
            experiment = experiments.get(name)
            for path in made.paths:
                committed = published / path.relative_to(fresh)
                if not committed.exists():
                    missing.append(committed)
                    continue
                rows += compare_tables(
                    path.stem,
                    read_table(committed),
                    read_table(path),
                    exact=experiment.exact,
                    rounding=experiment.rounding,
                )
        other = [] if options.experiments else _other_verdicts(fresh, published)
    if options.report is not None and rows:
        lines = [{**asdict(row), "within": int(row.within)} for row in rows]
        facts = {
            "compared_with": str(options.results or "results"),
            "revision": options.revision or git_revision(),
            "experiments": "all" if not options.experiments else names,
            "seconds": seconds,
        }
        write_benchmark(options.report, lines, {**device.facts(), **facts})
        log.info("%s", options.report)
    _print_comparison(rows)
    different = [f"{row.table}:{row.metric}" for row in rows if not row.within]
    for problems, why in (
        (missing, "is not there; expected a committed table to compare with"),
        (different, "differ beyond the tolerances; expected what was committed"),
        (other, "came to another verdict; expected those of claims.csv"),
    ):
        if problems:
            raise NotReproducedError(f"{', '.join(map(str, problems))} {why}")
    verdicts = "" if options.experiments else ", and every verdict"
    print(f"reproduced: {len(rows)} metrics{verdicts}")


def _other_verdicts(fresh: Path, committed: Path) -> list[str]:
    """The claims that the fresh tables decide otherwise than the committed `claims.csv` says.

    Times are taken as committed: they are no result that a run repeats.
    """
    path = committed / "claims.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        before = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    decided = decide_all(fresh, [committed], fresh)
    return [d.id for d in decided if before.get(d.id) != (d.verdict or "")]


def _print_comparison(rows: Sequence[Comparison]) -> None:
    line = "{:20} {:38} {:>8} {:>9} {:>7} {:>7} {:>7} {}"
    columns = ("table", "metric", "compared", "identical", "worst", "outside", "missing", "")
    print(line.format(*columns).rstrip())
    for row in rows:
        shares = f"{row.same:.1%}", f"{row.worst:.2g}", f"{row.outside:.1%}"
        state = "" if row.within else " DIFFERS"
        print(line.format(row.table, row.metric, row.compared, *shares, row.missing, state))
    print("worst: largest difference as a share of its tolerance (gpubn/report/compare.py)")
