"""What the commands do about extensions: check them before work begins, and choose among them."""

from pathlib import Path

from gpubn import experiments
from gpubn.data import dataset_definition, dataset_names
from gpubn.errors import ConfigError, LedgerError
from gpubn.extensions import Extension, extensions
from gpubn.nn.norms import kinds
from gpubn.report.claims import ledgers
from gpubn.report.figures import drawing
from gpubn.sweeps.compose import conf_folders

_KINDS = ("tables", "benchmarks")


def check_extensions() -> None:
    """Refuse an extension that does not fit.

    Raises:
        ExtensionError: something of it has a name that is taken.
        DataError: a dataset of it is none.
        LedgerError: a claim of it is malformed.
    """
    for look in (experiments.names, kinds, drawing.find, conf_folders, ledgers):
        look()
    for name in dataset_names():
        dataset_definition(name)


def choose(name: str | None) -> Extension | None:
    """Return the extension called `name`, None where no name is given.

    Raises:
        ConfigError: there is none.
    """
    found = {extension.name: extension for extension in extensions()}
    if name is not None and name not in found:
        known = ", ".join(found) or "the name of one that extend=folder names"
        raise ConfigError(f"--only is {name!r}; expected {known}")
    return found[name] if name is not None else None


def families(name: str | None) -> list[Extension | None]:
    """Return whose claims are decided: ours (None) and those of each extension, or of one alone."""
    return [None, *ledgers()] if name is None else [choose(name)]


def check_tables(*folders: Path) -> None:
    """Refuse a claim of an extension that reads a table which nothing makes.

    Args:
        folders: results folders, in which a table may stand that no experiment makes.

    Raises:
        LedgerError: that is the case.
    """
    for extension, ledger in ledgers().items():
        for id_, claim in ledger.claims.items():
            for stem in claim.tables:
                places = [f / kind / f"{stem}.csv" for f in folders for kind in _KINDS]
                made = stem.removesuffix("_pooled") in experiments.names()
                if not made and not any(place.exists() for place in places):
                    raise LedgerError(
                        f"{id_} of {extension.name} reads the table {stem}; expected that of an "
                        f"experiment, or {stem}.csv in tables or benchmarks of the results folder"
                    )


def is_committed(results: Path) -> bool:
    """Return whether a results folder, or the one of full results in it, is this repository's."""
    place = results.resolve()
    place = place.parent if place.name == "full" else place
    return place.name == "results" and (place.parent / "gpubn" / "config.py").exists()
