"""Tabulate and plot the finished cells of a sweep: `gpubn table experiment=mnist_init ...`.

It takes the overrides of the sweep and runs nothing. The table goes to `<results>/sweeps`, with its
provenance (JSON) and a plain plot of it (PNG, SVG) beside it.
"""

import argparse
import logging

from gpubn.files import write_atomic
from gpubn.report.tables import read_table
from gpubn.sweeps.compose import Source
from gpubn.sweeps.sweep_table import SweepTable, tabulate

log = logging.getLogger("gpubn")

_LONG = 400
"""Characters of a sweep's overrides that a caption has room for."""


def command() -> None:
    """Write the tables of the sweep on the command line, and the plot of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="those of the sweep")
    parser.add_argument("--config-dir", "-cd", help="a further folder that Hydra searches")
    parser.add_argument("--config-name", "-cn", default="config", help="the file at the root")
    given = parser.parse_args()
    for table in tabulate(given.overrides, Source(given.config_dir, given.config_name)):
        for path in table.paths:
            log.info("table: %s (%d of %d cells)", path, table.finished, table.cells)
        if table.paths:
            plot(table)


def plot(table: SweepTable) -> None:
    """Draw a sweep's table as SVG and PNG beside it."""
    from gpubn.report.figures.overview import draw_overview  # matplotlib is slow to import
    from gpubn.report.figures.style import render, style

    path, overrides = table.paths[0], "; ".join(table.overrides)
    some = f"{table.finished} of " * (table.finished < table.cells)
    note = f"{overrides[:_LONG]}{' ...' * (len(overrides) > _LONG)}: {some}{table.cells} cells."
    with style():
        files = render(draw_overview(read_table(path), table.experiment, note))
    for kind, data in files.items():
        write_atomic(path.with_suffix(f".{kind}"), data)
    log.info("figure: %s.{png,svg}", path.with_suffix(""))
