"""Verdicts of the full grids beside those of the quick ones, and why the two differ."""

import csv
import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gpubn.errors import LedgerError, StoreError
from gpubn.report.claims import ledger, rules
from gpubn.report.claims.entries import Text, at, read_yaml

FILE = Path(__file__).parent / "differences.yaml"
_NONE = "no verdict"
_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def load_differences(path: Path = FILE) -> dict[str, str]:
    """Read why verdicts differ, by claim.

    Raises:
        LedgerError: the file is malformed.
    """
    with at(f"{path.name}:"):
        raw = read_yaml(path)
        found = {} if raw is None else raw
        if not isinstance(found, dict):
            raise LedgerError(f"is {raw!r}; expected a sentence or two for each claim")
        return {str(id_): _sentence(str(id_), said) for id_, said in found.items()}


def _sentence(id_: str, said: object) -> str:
    with at(f"{id_}:"):
        if not re.fullmatch(ledger.ID, id_):
            raise LedgerError("is no claim; expected the id of one")
        try:
            return _TEXT.validate_python(said)
        except ValidationError:
            raise LedgerError(f"is {said!r}; expected a sentence or two") from None


def verdicts_in(folder: Path) -> dict[str, str]:
    """Return the verdicts of the table of claims in a folder by id; {} where there is no table.

    Raises:
        StoreError: it is no table of verdicts.
    """
    path = folder / "claims.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"]: row["verdict"] or _NONE for row in csv.DictReader(file)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (KeyError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is no table of verdicts ({error}); expected one, which `gpubn claims` writes"
        ) from error


def word_of(verdict: str) -> str:
    """Return a verdict without its conditions; what is none stays as it is."""
    return verdict if verdict == _NONE else rules.verdict_word(verdict)


def difference_faults(results: Path, path: Path = FILE) -> list[str]:
    """Return what is wrong with the reasons why verdicts in `results` and `results/full` differ.

    That is a sentence each; nothing where one of the two has no verdicts.

    Raises:
        LedgerError: the file of the reasons is malformed.
        StoreError: a table of verdicts is none.
    """
    quick, full, said = verdicts_in(results), verdicts_in(results / "full"), load_differences(path)
    if not quick or not full:
        return []
    faults = []
    for id_ in dict.fromkeys([*quick, *full, *said]):
        words = [word_of(found.get(id_, _NONE)) for found in (quick, full)]
        if words[0] != words[1] and id_ not in said:
            pair = f"{words[0]!r} and in full {words[1]!r}"
            faults.append(f"{path.name}: {id_} is {pair}; expected a sentence that says why")
        if words[0] == words[1] and id_ in said:
            same = f"{id_} is {words[0]!r} in full, too"
            faults.append(f"{path.name}: {same}; expected no reason why it differs")
    return faults
