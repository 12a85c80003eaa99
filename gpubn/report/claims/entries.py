"""Entries of the ledger's YAML files: models that say in one sentence what is wrong with them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)

from gpubn.errors import LedgerError

_UNKNOWN = ("extra_forbidden", "invalid_key")
"""Kinds of error of pydantic's that come first: an unknown key may be a known one misspelt."""
_MAPPING = "a mapping with names as keys"
_ALLOWED = {"string": "text", "dict": _MAPPING, "model": _MAPPING, "list": "a list"}
"""Kind of error of pydantic's -> what is allowed, where a field does not say so itself."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put the place (claim and field) in front of each line of a LedgerError from inside."""
    try:
        yield
    except LedgerError as error:
        raise LedgerError(_placed(place, error)) from error


def _placed(place: str, error: Exception) -> str:
    return "\n".join(f"{place} {line}" for line in str(error).splitlines())


class _EntryError(LedgerError):
    """An entry is wrong that may stand inside of another."""


class Entry(BaseModel):
    """A mapping of the YAML in which every field has its type, and no other field stands.

    What is wrong is a LedgerError with one line a problem.
    """

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_wrong(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            entry = handler(raw)
            entry.check()
        except ValidationError as error:
            problems = sorted(error.errors(), key=lambda p: p["type"] not in _UNKNOWN)
            sentences = dict.fromkeys(_sentence(cls, problem) for problem in problems)
            raise _EntryError("\n".join(sentences)) from None
        except LedgerError as error:
            raise _EntryError(str(error)) from None
        return entry

    def check(self) -> None:
        """Refuse fields that do not go together, by a LedgerError."""

    @classmethod
    def read(cls, raw: object, numbers: Mapping[str, float] | None = None) -> Self:
        """Check a value of the YAML, in which names may stand for `numbers`.

        Raises:
            LedgerError: a field is missing, unknown, or not what is allowed.
        """
        try:
            return cls.model_validate(raw, context=dict(numbers or {}))
        except ValidationError as error:
            raise LedgerError(str(error.errors()[0]["ctx"]["error"])) from None


def _sentence(model: type[BaseModel], problem: Any) -> str:
    kind, value, loc = problem["type"], problem["input"], problem["loc"]
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if kind in _UNKNOWN:
        return f"has the unknown key {loc[0]!r}; expected only {', '.join(fields)}"
    if kind == "missing":
        required = [name for name, field in fields.items() if field.is_required()]
        return f"has no {loc[0]}; expected the keys {', '.join(required)}"
    if kind == "value_error":
        said = problem["ctx"]["error"]
        return _placed(_place(loc), said) if loc and isinstance(said, _EntryError) else str(said)
    allowed = fields[loc[0]].description if loc and kind != "dict_type" else None
    allowed = allowed or _ALLOWED.get(kind.split("_")[0])
    if allowed is None and kind == "literal_error":
        allowed = "one of " + problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
    if kind in ("dict_type", "model_type", "list_type", "too_short"):
        return f"{_place(loc)} is {value!r}; expected {allowed}".lstrip()
    if len(loc) > 1 and loc[0] in ("where", "points"):
        key = f"{loc[1]} " if isinstance(loc[1], str) else ""
        return f"has {key}{value!r} in {loc[0]}; expected {allowed}"
    return f"has {loc[0]} {value!r}; expected {allowed or problem['msg']}"


def _place(loc: tuple[int | str, ...]) -> str:
    """Return how a place in an entry is called: ("cases", 0) is case 1."""
    if len(loc) < 2:
        return str(loc[0]) if loc else ""
    one_of = {"quantities": "quantity"}.get(str(loc[0]), str(loc[0]).removesuffix("s"))
    return f"{one_of} {loc[1] + 1 if isinstance(loc[1], int) else loc[1]}"


def as_number(value: object) -> float | None:
    """Return the number that a value of the YAML or of a table stands for, or None.

    Text such as 1e-3 counts, which YAML does not take for a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(lambda text: " ".join(text.split())),
]
"""Text that is not empty, on one line."""
Number = Annotated[
    float,
    Field(description="a number"),
    BeforeValidator(lambda raw: raw if (number := as_number(raw)) is None else number),
]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key given twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice, {node.start_mark}")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file.

    Raises:
        LedgerError: it is no YAML, or gives a key twice.
    """
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LedgerError(f"is no YAML ({' '.join(str(error).split())})") from error
