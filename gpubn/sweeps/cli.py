"""What every script shares: logging for a person, errors in one sentence, exit codes."""

import difflib
import errno
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from gpubn.config import Config
from gpubn.errors import GpubnError
from gpubn.sweeps.progress import ConsoleHandler

INTERRUPTED = 130
_EXTRAS = {
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
}
"""Launcher -> the extra that installs it."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TYPES: dict[object, str] = {int: "an integer", float: "a number", bool: "true or false"}


_stopped = threading.Event()


def main(task: Callable[[], None]) -> None:
    """Run a script's task; a known error is one line on stderr and exit code 1, Ctrl-C is 130."""
    signal.signal(signal.SIGINT, _on_interrupt)
    try:
        task()
        check_stopped()
    except KeyboardInterrupt:
        _exit_stopped()
    except Exception as error:
        if is_interrupt(error):
            _exit_stopped()
        sentence = explain(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(1)


def check_stopped() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed it."""
    if _stopped.is_set():
        raise KeyboardInterrupt


def is_interrupt(error: BaseException) -> bool:
    """Whether a library wrapped Ctrl-C in an error of its own."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error))


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    _stopped.set()
    signal.default_int_handler(number, frame)


def _exit_stopped() -> NoReturn:
    print("stopped: finished cells are kept; the same command goes on from here", file=sys.stderr)
    sys.exit(INTERRUPTED)


def log_to_stderr() -> None:
    """Plain lines for a person."""
    handler = ConsoleHandler(sys.stderr)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])


def explain(error: BaseException) -> str | None:
    """Return one sentence for an error that a user can mend, or None for a fault of ours."""
    for cause in _chain(error):
        if isinstance(cause, GpubnError):
            return str(cause)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _of_hydra(error)
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        return f"a file cannot be written ({error.strerror}); expected room on the disk"
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
    for cause in _chain(error):
        if isinstance(cause, HydraException) and str(cause).startswith("hydra."):
            return str(cause)  # of our launcher, which Hydra wraps
    found = re.search(r"Could not (?:find|load) 'hydra/launcher/(\w+)'", text)
    if found and found[1] in _EXTRAS:
        return (
            f"hydra/launcher={found[1]} is not installed; install it with "
            f"pip install '.[{_EXTRAS[found[1]]}]'"
        )
    if isinstance(error, MissingConfigException) and (
        found := re.search(r"Could not find '([^']*)/([^'/]*)'", text)
    ):
        options = re.findall(r"^\t(\S+)", text.split("Config search path")[0], re.M)
        return f"{found[1]} is {found[2]!r}; expected one of {', '.join(options)}"
    if found := re.search(r"Could not override '([^']*)'", text):
        close = difflib.get_close_matches(found[1], keys := list(dict(_typed_keys(Config))), n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(keys)}"
        return f"{found[1]} is no key of the configuration; {hint}"
    if found := re.search(r"Error merging override (\S+?)=(.*)", text):
        allowed = dict(_typed_keys(Config)).get(found[1].lstrip("+~"), "a value of its type")
        return f"{found[1]} is {found[2]!r}; expected {allowed}"
    if found := re.search(r"Error parsing override '([^']*)'", text):
        return f"{found[1]!r} is no override; expected KEY=VALUE"
    return " ".join(str(error).split("full_key")[0].split())


def _typed_keys(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of the configuration, and what it takes."""
    for field in fields(schema):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from _typed_keys(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, _TYPES.get(field.type, "text")
