"""The site: pages to read in a browser, without network or server, from tables and ledger.

`make_site` writes them. Each part is a module with a function `pages(source)`, of pages and files
(path, bytes) that these load or offer.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gpubn.errors import require

EXTRA = require(__name__, "site", ("altair", "markdown2", "pdoc", "vl_convert"))
"""The extra that has what the site needs; asked for before its parts import it."""

from gpubn.files import shipped  # noqa: E402
from gpubn.report.claims import ledger  # noqa: E402
from gpubn.report.site import (  # noqa: E402
    claims,
    documents,
    downloads,
    evidence,
    experiments,
    front,
    glossary,
    laboratory,
    notebooks,
)
from gpubn.report.site.page import Page  # noqa: E402
from gpubn.report.site.source import (  # noqa: E402
    PassedOver,
    SiteSource,
    digest_of,
    kept,
    read_source,
)
from gpubn.report.site.tree import Tree, WrittenSite, write_tree  # noqa: E402

PARTS = (front, claims, documents, experiments, evidence, laboratory, glossary, notebooks)
"""The modules that make the pages, and files that these need."""
_PACKAGE = Path(__file__).parents[2]
_KINDS = (".csv", ".json", ".svg", ".ipynb")


def make_site(
    results: Path,
    out: Path,
    *,
    rules: Path = ledger.FOLDER,
    in_full: Callable[[Sequence[Path]], PassedOver] | None = None,
    more: Callable[[SiteSource], Iterable[Page | tuple[str, bytes]]] = lambda source: (),
) -> WrittenSite:
    """Write the site of a results folder into `out`, in one step; what is the same stays.

    Where nothing has changed that it is made from, nothing is done.

    Args:
        rules: the folder of the ledger.
        in_full: from the quick folders to what does not count for a verdict in full.
        more: further pages, or files by their path, which this room cannot make.

    Raises:
        SiteError: a claim lacks its table, verdict or figure, or a template is broken; `out` stays.
        StoreError: a table is damaged, or `out` cannot be written.
    """
    made_from = _digest(results, rules)
    if (done := WrittenSite.standing(out, made_from)) is not None:
        return done
    cache = out.with_name(f".{out.name}.kept")
    source = read_source(results, cache, rules, in_full)
    tree = Tree()
    everything = [*(item for part in PARTS for item in part.pages(source)), *more(source)]
    made = [item for item in everything if isinstance(item, Page)]
    files = [item for item in everything if not isinstance(item, Page)]
    paths = {*(page.path for page in made), *(path for path, _ in files)}
    exhibits = laboratory.exhibits_of(made)
    for page in made:
        tree.add(page.path, page.render(paths, exhibits))
    for path, data in files:
        tree.add(path, data)
    for asset in sorted((Path(__file__).parent / "assets").iterdir()):
        tree.add(f"assets/{asset.name}", asset.read_bytes())
    for picture in [*source.pictures.values(), *source.full_pictures]:
        tree.add(picture.path, picture.file.read_bytes())
    tables = source.downloads
    made_of = [*tables, Path(downloads.__file__)]
    packed = kept(cache / "tables.pickle", made_of, lambda: [d.data() for d in tables.values()])
    for download, data in zip(tables.values(), packed, strict=True):
        tree.add(download.path, data)
    return write_tree(tree, out, made_from)


def _digest(results: Path, rules: Path) -> str:
    """Return a digest of all that a site is made from: results, ledger, and this package."""
    places = [results, results / "full"]
    places += [results / name for name in ("tables", "figures", "benchmarks", "notebooks")]
    places += [results / "full" / name for name in ("tables", "figures")]
    files = [p for place in places for p in sorted(place.glob("*")) if p.suffix in _KINDS]
    files += [p for at in ("conf", "scripts") for p in sorted(shipped(at).rglob("*.[yp]*"))]
    files += [p for p in sorted(rules.rglob("*")) if p.suffix == ".yaml"]
    files += [p for p in sorted(_PACKAGE.rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    return digest_of(files)
