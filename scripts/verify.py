"""Run every experiment again in a folder of its own and compare with the committed tables.

Exits 1 where a table is missing, cannot be made again, or differs by more than the tolerances of
`gpubn/report/compare.py`, or where a claim comes to another verdict.
"""

import argparse
import csv
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

from gpubn import backend, experiments
from gpubn.errors import GpubnError
from gpubn.files import git_revision
from gpubn.report.benchmarks import write_benchmark
from gpubn.report.claims import decide_all
from gpubn.report.compare import Comparison, compare
from gpubn.report.tables import read_table
from gpubn.sweeps import cli
from gpubn.sweeps.pipeline import make_tables

log = logging.getLogger("gpubn")


class NotReproducedError(GpubnError):
    """At least one committed table was not reproduced."""


def main() -> None:
    """Verify the experiments given on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", help="only these experiments")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="what to compare with"
    )
    parser.add_argument("--backend", default="auto", help="auto, numpy or cupy")
    parser.add_argument("--override", action="append", default=[], help="a Hydra override")
    parser.add_argument("--report", type=Path, help="write the comparison to this CSV file, too")
    options = parser.parse_args()
    where = backend.resolve(options.backend)
    rows: list[Comparison] = []
    unmade: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gpubn-verify-") as scratch:
        names = options.experiments or experiments.names()
        chosen = {
            experiments.get(name).name: [f"experiment={name}", *options.override] for name in names
        }
        for name, made in make_tables(chosen, Path(scratch), where).items():
            experiment = experiments.get(name)
            for path in made.paths:
                committed = options.results / path.relative_to(scratch)
                if not committed.exists():
                    unmade.append(str(committed))
                    continue
                rows += compare(
                    path.stem,
                    read_table(committed),
                    read_table(path),
                    exact=experiment.exact,
                    rounding=experiment.rounding,
                )
        other = None if options.experiments else _other_verdicts(Path(scratch), options.results)
    if options.report is not None and rows:
        lines = [{**asdict(row), "within": int(row.within)} for row in rows]
        facts = {"compared_with": str(options.results), "revision": git_revision()}
        write_benchmark(options.report, lines, {**where.facts(), **facts})
        log.info("%s", options.report)
    _report(rows, unmade, other)


def _other_verdicts(fresh: Path, committed: Path) -> list[str]:
    """The claims that the fresh tables decide otherwise than the committed `claims.csv` says.

    Times are taken as committed: they are no result that a run repeats.
    """
    path = committed / "claims.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        before = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    decided = decide_all(fresh, [committed], fresh)
    return [d.id for d in decided if before.get(d.id) != (d.verdict.text if d.verdict else "")]


def _report(rows: list[Comparison], unmade: list[str], other: list[str] | None) -> None:
    print(
        f"{'table':20} {'metric':38} {'compared':>8} {'identical':>9} {'worst':>7} {'outside':>7} "
        f"{'missing':>7}"
    )
    for row in rows:
        print(
            f"{row.table:20} {row.metric:38} {row.compared:8d} {row.same:9.1%} {row.worst:7.2g} "
            f"{row.outside:7.1%} {row.missing:7d} {'' if row.within else ' DIFFERS'}"
        )
    print("worst: largest difference as a share of its tolerance (gpubn/report/compare.py)")
    different = [f"{row.table}:{row.metric}" for row in rows if not row.within]
    if unmade:
        raise NotReproducedError(
            f"{', '.join(unmade)} is not there; expected a committed table to compare with"
        )
    if different:
        raise NotReproducedError(
            f"{', '.join(different)} differ beyond the tolerances; expected what was committed"
        )
    if other:
        raise NotReproducedError(
            f"{', '.join(other)} came to another verdict; expected those of claims.csv"
        )
    verdicts = "" if other is None else ", and every verdict"
    print(f"reproduced: {len(rows)} metrics{verdicts}")


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
