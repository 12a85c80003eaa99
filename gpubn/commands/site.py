"""Write the site: pages to read in a browser, with every claim, its verdict and its picture.

It opens from disk, without network or server. Made from the tables, figures and ledger that are
there; nothing is run. What has not changed is not written again.
"""

import argparse
import logging
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import gpubn
from gpubn.commands.tabulate import stands_for_no_full_grid

if TYPE_CHECKING:
    from gpubn.report.site.page import Page

log = logging.getLogger("gpubn")


def command() -> None:
    """Write the site and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="tables and figures")
    parser.add_argument("--out", type=Path, help="the folder of the site (site in the results)")
    options = parser.parse_args()
    from gpubn.commands.api import api_pages  # here: these need an extra
    from gpubn.report.site import make_site
    from gpubn.report.site.source import SiteSource, kept

    def api(source: SiteSource) -> "Iterable[Page]":
        files = sorted(Path(gpubn.__file__).parent.rglob("*.py"))
        peer = find_spec("torch")  # without it a module is only listed
        files += [Path(peer.origin)] if peer and peer.origin else []
        return kept(source.cache / "api.pickle", files, lambda: [*api_pages()])

    started = time.perf_counter()
    out = options.out or options.results / "site"
    site = make_site(options.results, out, in_full=stands_for_no_full_grid, more=api)
    log.info(
        "%s: %d pages, %.1f MB, %d files written, %.1f s; open %s",
        out,
        site.pages,
        site.size / 1e6,
        len(site.written),
        time.perf_counter() - started,
        out / "index.html",
    )
