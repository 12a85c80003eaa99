"""Shared by every script: logging for a person, errors in one sentence, exit codes."""

import difflib
import errno
import logging
import os
import re
import select
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from traceback import walk_tb

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from gpubn.config import Config
from gpubn.errors import GpubnError
from gpubn.sweeps import interrupt
from gpubn.sweeps.launchers import LAUNCHERS
from gpubn.sweeps.progress import ConsoleHandler

_INTERRUPTED = 130
_UNREAD = 141  # as a shell says of a process that SIGPIPE ended
_EXTRAS = {launcher.choice: launcher.extra for launcher in LAUNCHERS.values() if launcher.extra}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TYPES: dict[object, str] = {int: "an integer", float: "a number", bool: "true or false"}


def main(task: Callable[[], None]) -> None:
    """Run a script's task; a known error is one line on stderr and exit code 1, Ctrl-C is 130.

    Where nobody reads its output any more (`| head`) it ends without a word, as 141.
    """
    interrupt.listen()
    try:
        try:
            task()
            interrupt.check_stopped()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # it may be unread, which is said too late otherwise
    except (KeyboardInterrupt, Exception) as error:
        unread = isinstance(error, BrokenPipeError) and _nobody_reads()
        if any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error)):
            message = "stopped: finished cells are kept; the same command goes on from here"
            code = _INTERRUPTED
        elif (sentence := explain(error)) is not None:
            message, code = f"error: {sentence}", 1
        elif unread:
            sys.exit(_UNREAD)
        else:
            raise
        print(message, file=sys.stderr)
        sys.exit(code)


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe that was closed; what is left in it goes nowhere then."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


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
        return _explain_hydra(error)
    if isinstance(error, ValueError) and _raised_by_hydra(error):
        return " ".join(str(error).split())
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
        error = error.__cause__  # of a log file
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        return f"a file cannot be written ({error.strerror}); expected room on the disk"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}); expected a path with access"
    return None


def _raised_by_hydra(error: BaseException) -> bool:
    """True where Hydra itself refuses what was typed."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("hydra.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain_hydra(error: BaseException) -> str:
    for cause in _chain(error):
        if isinstance(cause, HydraException) and str(cause).startswith("hydra."):
            return str(cause)  # of our launcher, which Hydra wraps
    text = "\n".join(str(cause) for cause in _chain(error))
    if match := re.search(rf"Could not (?:find|load) 'hydra/launcher/({'|'.join(_EXTRAS)})'", text):
        return (
            f"the launcher {match[1]} is not installed; install it with "
            f"pip install 'gpubn[{_EXTRAS[match[1]]}]', or in a checkout `make extras`"
        )
    if isinstance(error, MissingConfigException) and (
        match := re.search(r"Could not find '([^']*)/([^'/]*)'", text)
    ):
        options = re.findall(r"^\t(\S+)", text.split("Config search path")[0], re.M)
        close = difflib.get_close_matches(match[2], options, n=1)
        likely = f", perhaps for {close[0]}" if close else ""
        return f"{match[1]} is {match[2]!r}{likely}; expected one of {', '.join(options)}"
    types = dict(_typed_keys(Config))
    if match := re.search(r"Could not override '([^']*)'", text):
        close = difflib.get_close_matches(match[1], types, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(types)}"
        return f"{match[1]} is no key of the configuration; {hint}"
    if match := re.search(r"Error merging override (\S+?)=(.*)", text):
        allowed = types.get(match[1].lstrip("+~"), "a value of its type")
        return f"{match[1]} is {match[2]!r}; expected {allowed}"
    if match := re.search(r"^LexerNoViableAltException: ([^=\s]+)=(.*)", text):
        quoted = shlex.quote(f'{match[1]}="{match[2]}"')
        return f"{match[1]} is {match[2]!r}, which Hydra takes in quotes alone; expected {quoted}"
    if match := re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s*$", text, re.M):
        return f"{match[1]} is {match[2]!r}; expected one value, or -m for a sweep over them"
    if match := re.search(r"no viable alternative at input '(.*)'", text):
        return f"{match[1]!r} cannot be read; expected KEY=VALUE, quotes around a VALUE with signs"
    if match := re.search(r"Error parsing override '([^']*)'", text):
        return f"{match[1]!r} is no override; expected KEY=VALUE"
    return " ".join(str(error).split("full_key")[0].split())


def _typed_keys(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key of the configuration with what it takes."""
    for field in fields(schema):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from _typed_keys(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, _TYPES.get(field.type, "text")
