"""Short forms of a claim's entry: selections of a table by name, and one entry for many alike.

A measure that says `use: <name>` takes in the selection of that name from the head of its file; its
own keys come on top, those of `where` one by one. A quantity whose value is a mapping is the
measure that stands there. A claim's `each` gives names values: a measure, quantity or case that
mentions `<arm>` stands for one with each value of `arm`, and `<arm.said>` is the text `said` that
stands beside the value. Neighbours with the same names take turns.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpubn.errors import LedgerError
from gpubn.report.claims.entries import at

_PLACEHOLDER = re.compile(r"<([a-z]\w*)(?:\.(\w+))?>")

_PLAIN = str | int | float
_Value = tuple[Any, Mapping[str, Any]]
"""A value that a name takes, and what stands beside it."""


def written_out(entry: Mapping[str, Any], selections: Mapping[str, Any]) -> dict[str, Any]:
    """Return a claim's entry without its short forms.

    Raises:
        LedgerError: it uses a selection or a name that is not there, or gives a name twice.
    """
    claim = {key: value for key, value in entry.items() if key != "each"}
    each = {name: _values(name, raw) for name, raw in _mapping("each", entry.get("each")).items()}
    for key in ("measures", "quantities", "cases"):
        if key in claim:
            with at(key):
                claim[key] = _repeated(claim[key], each)
    if isinstance(claim.get("quantities"), dict):
        _take_measures(claim)
    if isinstance(claim.get("measures"), dict):
        for name, measure in claim["measures"].items():
            with at(f"measure {name}"):
                claim["measures"][name] = _selected(measure, selections)
    return claim


def _mapping(name: str, raw: Any) -> Mapping[str, Any]:
    if raw is not None and not isinstance(raw, dict):
        raise LedgerError(f"{name} is {raw!r}; expected a mapping with names as keys")
    return raw or {}


def _take_measures(claim: dict[str, Any]) -> None:
    """Take the measures out of the quantities that are one, and leave a name in their place."""
    for name, quantity in claim["quantities"].items():
        if isinstance(quantity, dict) and isinstance(quantity.get("value"), dict):
            measures, measured = _mapping("measures", claim.get("measures")), f"raw_{name}"
            if measured in measures:
                raise LedgerError(f"measure {measured} is that of {name}; expected another name")
            claim["measures"] = {**measures, measured: quantity["value"]}
            claim["quantities"][name] = quantity | {"value": measured}


def _selected(measure: Any, selections: Mapping[str, Any]) -> Any:
    if not isinstance(measure, dict) or "use" not in measure:
        return measure
    if measure["use"] not in list(selections):
        known = ", ".join(selections) or "no use, as the file has no selections"
        raise LedgerError(f"has use {measure['use']!r}; expected {known}")
    base = selections[measure["use"]]
    merged = base | {key: value for key, value in measure.items() if key != "use"}
    if isinstance(base.get("where"), dict) and isinstance(measure.get("where"), dict):
        merged["where"] = base["where"] | measure["where"]
    return merged


def _values(name: str, raw: Any) -> list[_Value]:
    if not raw or not isinstance(raw, list | dict) or not all(isinstance(v, _PLAIN) for v in raw):
        raise LedgerError(f"each has {name} {raw!r}; expected a list or a mapping of values")
    beside = raw if isinstance(raw, dict) else dict.fromkeys(raw)
    return [(value, _mapping(f"each {name}", texts)) for value, texts in beside.items()]


def _repeated(entries: Any, each: Mapping[str, list[_Value]]) -> Any:
    """Return a mapping or list with an entry for each of the values that one mentions."""
    if isinstance(entries, list):
        return list(_every(entries, each))
    if not isinstance(entries, dict):
        return entries
    items = list(_every(entries.items(), each))
    if len(dict(items)) < len(items):
        raise LedgerError("has a name twice; expected another for each value")
    return dict(items)


def _every(items: Iterable[Any], each: Mapping[str, list[_Value]]) -> Iterator[Any]:
    """Return each item once for each combination of the values that it mentions."""
    for names, group in itertools.groupby(items, key=lambda item: _mentioned(item, each)):
        alike = list(group)
        for values in itertools.product(*(each[name] for name in names)):
            chosen = dict(zip(names, values, strict=True))
            yield from (_filled(item, chosen) for item in alike)


def _mentioned(item: Any, each: Mapping[str, list[_Value]]) -> tuple[str, ...]:
    mentioned = {match[1] for match in _PLACEHOLDER.finditer(repr(item))}
    if unknown := sorted(mentioned.difference(each)):
        raise LedgerError(f"has <{unknown[0]}>; expected a name of each: {', '.join(each)}")
    return tuple(name for name in each if name in mentioned)


def _filled(node: Any, chosen: Mapping[str, _Value]) -> Any:
    def value_of(match: re.Match[str]) -> Any:
        value, beside = chosen[match[1]]
        if match[2] is None:
            return value
        if match[2] not in beside:
            known = ", ".join(map(str, beside))
            raise LedgerError(f"has {match[0]}; {match[1]} {value} has {known}")
        return beside[match[2]]

    match node:
        case dict():
            return {_filled(key, chosen): _filled(value, chosen) for key, value in node.items()}
        case list() | tuple():
            return type(node)(_filled(value, chosen) for value in node)
        case str():
            alone = _PLACEHOLDER.fullmatch(node)
            return value_of(alone) if alone else _PLACEHOLDER.sub(lambda m: str(value_of(m)), node)
    return node
