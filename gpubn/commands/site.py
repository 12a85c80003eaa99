"""Write the site: pages to read in a browser, with every claim, its verdict and its picture.

It opens from disk, without network or server. Made from the tables, figures and ledger that are
there; nothing is run. What has not changed is not written again.
"""

import argparse
import logging
import time
from pathlib import Path

from gpubn.commands.tabulate import stands_for_no_full_grid

log = logging.getLogger("gpubn")


def command() -> None:
    """Write the site and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="tables and figures")
    parser.add_argument("--out", type=Path, help="the folder of the site (site in the results)")
    options = parser.parse_args()
    from gpubn.commands.api import api_pages  # here: these need an extra
    from gpubn.report.site import make_site

    started = time.perf_counter()
    out = options.out or options.results / "site"
    site = make_site(
        options.results, out, in_full=stands_for_no_full_grid, more=lambda source: api_pages()
    )
    log.info(
        "%s: %d pages, %.1f MB, %d files written, %.1f s; open %s",
        out,
        site.pages,
        site.size / 1e6,
        len(site.written),
        time.perf_counter() - started,
        out / "index.html",
    )
