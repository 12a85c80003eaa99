"""Fields of the ledger: each raw value of the YAML is checked here, and named where it is wrong."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gpubn.errors import LedgerError


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put the place (claim and field) in front of a LedgerError from inside."""
    try:
        yield
    except LedgerError as error:
        raise LedgerError(f"{place} {error}") from error


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice, {node.start_mark}")
        return super().construct_mapping(node, deep)


def read(path: Path) -> object:
    """Return the content of a YAML file.

    Raises:
        LedgerError: it is no YAML, or gives a key twice.
    """
    try:
        return yaml.load(path.read_text(), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LedgerError(f"is no YAML ({' '.join(str(error).split())})") from error


def mapping(value: object) -> dict[str, Any]:
    """A mapping with text as keys.

    Raises:
        LedgerError: it is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise LedgerError(f"is {value!r}; expected a mapping with names as keys")
    return value


def record(value: object, required: Collection[str], optional: Collection[str] = ()) -> Any:
    """A mapping with all of the required and no keys but those allowed.

    Raises:
        LedgerError: a key is missing or unknown.
    """
    fields = mapping(value)
    for key in fields:
        if key not in required and key not in optional:
            allowed = ", ".join([*required, *optional])
            raise LedgerError(f"has the unknown key {key!r}; expected only {allowed}")
    for key in required:
        if key not in fields:
            raise LedgerError(f"has no {key}; expected the keys {', '.join(required)}")
    return fields


def text(fields: Mapping[str, Any], key: str) -> str:
    """The text under a key, on one line.

    Raises:
        LedgerError: it is no text, or empty.
    """
    value = fields[key]
    if not isinstance(value, str) or not value.strip():
        raise LedgerError(f"has {key} {value!r}; expected text")
    return " ".join(value.split())


def optional_text(fields: Mapping[str, Any], key: str) -> str | None:
    """The text under a key, None where it is missing or null."""
    return None if fields.get(key) is None else text(fields, key)


def choice(fields: Mapping[str, Any], key: str, allowed: Collection[str]) -> str:
    """One of the words allowed.

    Raises:
        LedgerError: it is another.
    """
    value = fields[key]
    if not isinstance(value, str) or value not in allowed:
        raise LedgerError(f"has {key} {value!r}; expected one of {', '.join(allowed)}")
    return value


def number(fields: Mapping[str, Any], key: str) -> float:
    """The number under a key; text such as 1e-3 counts, which YAML does not take for a number.

    Raises:
        LedgerError: it is none.
    """
    value = as_number(fields[key])
    if value is None:
        raise LedgerError(f"has {key} {fields[key]!r}; expected a number")
    return value


def as_number(value: object) -> float | None:
    """The number that a value of the YAML or of a table stands for, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
