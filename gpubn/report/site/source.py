"""The source of the site's pages: ledger, decisions, figures and tables of a folder."""

import csv
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from gpubn.errors import SiteError, StoreError
from gpubn.files import sha256, shipped, write_atomic
from gpubn.report.claims import history, ledger
from gpubn.report.claims.coverage import Coverage, load_coverage
from gpubn.report.claims.decide import Decision, decide_measured, measured
from gpubn.report.claims.differences import load_differences
from gpubn.report.claims.measure import ClaimTable, Tables, table_reader
from gpubn.report.claims.places import TablePlaces
from gpubn.report.claims.universes import NO_DATA, NOT_RUN
from gpubn.report.figures import drawing
from gpubn.report.site.downloads import Download, find_downloads
from gpubn.report.site.pictures import Picture, find_pictures
from gpubn.report.site.sentences import plain
from gpubn.report.site.written import entries_of, selections_of

FULL = "full"
_CODE = Path(__file__).parents[2]
_DECIDING = ("*.py", "claims/*.py", "claims/*.jinja")
"""The code that decides claims."""
_SAID = 5
"""The number of things that an error names at most."""

T = TypeVar("T")
PassedOver = Callable[[Path, str], bool]
"""True for a table in a folder that does not count, by folder and stem."""


@dataclass(frozen=True)
class SiteSource:
    """All that pages are made from.

    Attributes:
        results: the results folder.
        rules: the folder of the ledger.
        ledger: its titles and claims.
        quick: id -> the decision from the tables of the quick grids.
        full: id -> that from the tables of the full grids; {} where there are none.
        places: where the tables of the decisions that count stand.
        quick_places: where those of the quick decisions do.
        cache: the folder in which is kept what takes long to make.
    """

    results: Path
    rules: Path
    ledger: ledger.Ledger
    quick: Mapping[str, Decision]
    full: Mapping[str, Decision]
    places: TablePlaces
    quick_places: TablePlaces
    cache: Path
    _read: dict[Path, Any] = field(default_factory=dict)

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """Claim -> the decision that counts: in full where there is one, else the quick one."""
        return self.full or self.quick

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """Figures that are drawn, by name."""
        return {picture.name: picture for picture in find_pictures(self.results)}

    @cached_property
    def full_pictures(self) -> list[Picture]:
        """Those of full grids."""
        return [*find_pictures(self.results, in_full=True)] if self.full else []

    @cached_property
    def figures(self) -> dict[str, list[Picture]]:
        """Claim -> its figures."""
        return {id_: _of_claim(id_, self.pictures.values()) for id_ in self.ledger.expected}

    @cached_property
    def full_figures(self) -> dict[str, list[Picture]]:
        """Claim -> its figures of full grids."""
        return {id_: _of_claim(id_, self.full_pictures) for id_ in self.ledger.expected}

    @cached_property
    def coverage(self) -> Coverage:
        """The passages of the documents."""
        return load_coverage(self.rules)

    @cached_property
    def why(self) -> dict[str, str]:
        """Claim -> why its verdict in full differs from the quick one."""
        return load_differences()

    @cached_property
    def history(self) -> dict[str, list[tuple[str, ...]]]:
        """Claim -> its rows of the history, of `gpubn.report.claims.history.COLUMNS`."""
        verdicts = {id_: d.verdict for id_, d in self.decisions.items() if d.verdict}
        rows: dict[str, list[tuple[str, ...]]] = {}
        for row in history.history_rows(history.load_history(), verdicts):
            if row[0] in self.ledger.expected:
                rows.setdefault(row[0], []).append(row)
        return rows

    @cached_property
    def entries(self) -> dict[str, str]:
        """Claim -> its entry in the ledger, as it is written."""
        return {
            i: text for path in sorted(self.rules.glob("*.yaml")) for i, text in entries_of(path)
        }

    @cached_property
    def selections(self) -> dict[str, dict[str, str]]:
        """Document -> name of a selection at the head of its file -> the line."""
        return {path.stem: selections_of(path) for path in sorted(self.rules.glob("*.yaml"))}

    @cached_property
    def downloads(self) -> dict[Path, Download]:
        """Path of a table -> what the site holds of it."""
        return find_downloads(self.results)

    def download(self, file: Path) -> Download:
        """Return what the site holds of a table."""
        return self.downloads[file]

    @cached_property
    def universes(self) -> dict[str, str]:
        """Universe that was run -> its title, in the order of the raster."""
        run = {r["universe"] for r in self.rows("universes") if r["word"] not in (NOT_RUN, NO_DATA)}
        return {name: title for name, title in self._all_universes.items() if name in run}

    @property
    def universes_not_run(self) -> list[str]:
        """The titles of the universes that were not run yet, some for want of their data."""
        return [t for name, t in self._all_universes.items() if name not in self.universes]

    @property
    def _all_universes(self) -> dict[str, str]:
        config = self.facts("tables/universes").get("config", {})
        return dict(config.get("universes", {}))

    @cached_property
    def experiments(self) -> dict[str, dict[str, Any]]:
        """Experiment -> what the provenance of its table says, of those that have a table."""
        found = {}
        for path in sorted((shipped("conf") / "experiment").glob("*.yaml")):
            for stem in (path.stem, f"{path.stem}_pooled"):
                if path.stem not in found and (facts := self.facts(f"tables/{stem}")):
                    found[path.stem] = facts
        return found

    def plain(self, id_: str) -> str:
        """Return a claim and what came out in plain words."""
        decision = self.decisions[id_]
        return plain(decision.claim, decision) if decision.claim else ""

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file in the results folder, [] where there is none."""
        path = self.results / f"{name}.csv"
        if path not in self._read:
            self._read[path] = _csv_rows(path)
        return list(self._read[path])

    def facts(self, name: str) -> dict[str, Any]:
        """Return what a JSON file in the results folder holds, {} where there is none."""
        path = self.results / f"{name}.json"
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise SiteError(
                f"{path} is no JSON ({error}); expected what is beside a table"
            ) from error
        return found if isinstance(found, dict) else {}


def read_source(
    results: Path, cache: Path, rules: Path, in_full: Callable[[Sequence[Path]], PassedOver] | None
) -> SiteSource:
    """Read what the pages are made from, and decide the claims.

    Args:
        cache: the folder in which is kept, for the next time, what the tables say of each claim.
        in_full: from the quick folders to what does not count in full.

    Raises:
        SiteError: a table or figure of a claim is missing, or a claim has no verdict.
        LedgerError: the ledger is malformed.
    """
    book = ledger.load_ledger(rules)
    quick = places = TablePlaces((results,))
    if in_both := (results / FULL / "claims.csv").exists():
        passed_over = in_full([results]) if in_full else quick.passed_over
        places = TablePlaces((results / FULL, results), passed_over)
    _refuse_missing(results, book, [quick, places])
    own = table_reader(quick.existing)
    of_claim = _Measured(cache / "measured.pickle", rules)
    decisions = _decided(book, quick, own, of_claim)
    full = {}
    if in_both:
        others = table_reader(places.existing)

        def of_either(stem: str) -> ClaimTable:  # a table of the quick grids is read once
            return (own if places.first(stem) == quick.first(stem) else others)(stem)

        full = _decided(book, places, of_either, of_claim)
    of_claim.keep()
    _refuse_undecided([*decisions.values(), *full.values()])
    return SiteSource(results, rules, book, decisions, full, places, quick, cache)


def _of_claim(id_: str, pictures: Iterable[Picture]) -> list[Picture]:
    return [picture for picture in pictures if id_ in picture.script.claims]


def _refuse_missing(results: Path, book: ledger.Ledger, all_places: Sequence[TablePlaces]) -> None:
    """Refuse tables that claims read and figures that show them, where they are not there."""
    said = []
    for places in all_places:
        readers: dict[Path, list[str]] = {}
        for id_, claim in book.claims.items():
            for stem in claim.tables:
                if not (path := places.first(stem)).exists():
                    readers.setdefault(path, []).append(id_)
        said += [f"there is no {path}, which {_listed(ids)} read" for path, ids in readers.items()]
    scripts = [script for script in drawing.find() if script.extension is None and script.claims]
    shown = {id_ for script in scripts for id_ in script.claims}
    said += [f"no figure shows {id_}" for id_ in book.expected if id_ not in shown]
    drawn = results / "figures"
    paths = [path for s in scripts if not (path := drawn / f"{s.name}.svg").exists()]
    said += [f"there is no {path}" for path in paths]
    if said:
        said = list(dict.fromkeys(said))
        more = f"; and {len(said) - _SAID} more of the kind" * (len(said) > _SAID)
        raise SiteError(
            f"{'; '.join(said[:_SAID])}{more}; expected what every claim reads and is shown by, "
            "which `gpubn build` makes"
        )


def _refuse_undecided(decisions: Iterable[Decision]) -> None:
    """Refuse claims without verdict, each named with the reason."""
    reasons = {
        f"{decision.id} has no verdict ({'; '.join(decision.reason.splitlines())})"
        for decision in decisions
        if decision.verdict is None
    }
    if reasons:
        raise SiteError(f"{'; '.join(sorted(reasons))}; expected one for every claim")


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) < 6 else f"{', '.join(ids[:4])} and {len(ids) - 4} others"


class _Measured:
    """Claims as the tables have them, kept by what they are made of: ledger, code and tables.

    Args:
        file: where it is kept.
    """

    def __init__(self, file: Path, rules: Path) -> None:
        self._file = file
        code = [_CODE / "theory.py", _CODE / "rows.py"]
        code += [p for at in _DECIDING for p in sorted((_CODE / "report").glob(at))]
        self._rest = digest_of([*sorted(rules.rglob("*.yaml")), *code])
        self._used: dict[str, Decision] = {}
        self._found: dict[str, Decision] = {}
        with suppress(Exception):  # whatever is wrong with what was kept, it is made anew
            self._found = dict(pickle.loads(file.read_bytes()))

    def __call__(self, claim: ledger.Claim, places: TablePlaces, tables: Tables) -> Decision:
        paths = [path for stem in sorted(claim.tables) if (path := places.first(stem)).exists()]
        paths += [path.with_suffix(".json") for path in paths]
        key = f"{claim.id} {self._rest} {digest_of(paths)}"
        found = self._used.get(key) or self._found.get(key) or measured(claim, tables)
        self._used[key] = replace(found, claim=None)  # claims hold code
        return replace(found, claim=claim)

    def keep(self) -> None:
        """Keep what was asked for."""
        if {*self._used} != {*self._found}:
            write_atomic(self._file, pickle.dumps(self._used), durable=False)


def _decided(
    book: ledger.Ledger, places: TablePlaces, tables: Tables, of: _Measured
) -> dict[str, Decision]:
    each = [of(claim, places, tables) for claim in book.claims.values()]
    return {decision.id: decision for decision in decide_measured(book, each)}


def kept(cache: Path, paths: Iterable[Path], make: Callable[[], T]) -> T:
    """Return what `make` makes, or what was kept of it while these files are the same."""
    key = digest_of(paths)
    with suppress(Exception):  # whatever is wrong with what was kept, it is made anew
        kept_key, found = pickle.loads(cache.read_bytes())
        if kept_key == key:
            return cast(T, found)
    found = make()
    write_atomic(cache, pickle.dumps((key, found)), durable=False)
    return found


def digest_of(paths: Iterable[Path]) -> str:
    """Return a digest of files, by name and content."""
    lines = [f"{path} {sha256(path.read_bytes()) if path.is_file() else ''}" for path in paths]
    return sha256("\n".join(lines).encode())


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path} is no table ({error}); expected text with commas") from error
