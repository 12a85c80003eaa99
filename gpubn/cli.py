"""What every script shares: logging for a person, errors in one sentence, exit codes."""

import difflib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from gpubn.errors import GpubnError
from gpubn.schema import Config

INTERRUPTED = 130
_TYPES = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false"}


def main(task: Callable[[], None]) -> None:
    """Run a script's task; a known error is one line on stderr and exit code 1, Ctrl-C is 130."""
    try:
        task()
    except KeyboardInterrupt:
        print(
            "stopped: finished cells are kept; the same command goes on from here", file=sys.stderr
        )
        sys.exit(INTERRUPTED)
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(1)


def log_to_stderr() -> None:
    """Plain lines for a person."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def explain(error: BaseException) -> str | None:
    """Return one sentence for an error that a user can mend, or None for a fault of ours."""
    for cause in _chain(error):
        if isinstance(cause, GpubnError):
            return str(cause)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _of_hydra(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}); expected a path with access"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _of_hydra(error: BaseException) -> str:
    text = "\n".join(str(cause) for cause in _chain(error))
    if isinstance(error, MissingConfigException) and (
        found := re.search(r"Could not find '([^']*)/([^'/]*)'", text)
    ):
        options = re.findall(r"^\t(\S+)", text.split("Config search path")[0], re.M)
        return f"{found[1]} is {found[2]!r}; expected one of {', '.join(options)}"
    if found := re.search(r"Could not override '([^']*)'", text):
        close = difflib.get_close_matches(found[1], keys := list(_keys(Config)), n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(keys)}"
        return f"{found[1]} is no key of the configuration; {hint}"
    if found := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", text):
        key = re.search(r"full_key: (\S+)", text)
        name, allowed = key[1] if key else "a value", _TYPES.get(found[2], found[2])
        return f"{name} is {found[1]!r}; expected {allowed}"
    if found := re.search(r"Error parsing override '([^']*)'", text):
        return f"{found[1]!r} is no override; expected KEY=VALUE"
    return " ".join(str(error).split("full_key")[0].split())


def _keys(schema: type, prefix: str = "") -> Iterator[str]:
    for field in fields(schema):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from _keys(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
