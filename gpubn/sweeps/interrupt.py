"""Ctrl-C, which is heard even where a library swallows it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_pressed = threading.Event()


def listen() -> None:
    """Remember from now on that Ctrl-C was pressed, and raise KeyboardInterrupt as ever."""
    signal.signal(signal.SIGINT, _raise)


@contextmanager
def listen_inside() -> Iterator[None]:
    """Raise KeyboardInterrupt inside the block alone: after it Ctrl-C is only remembered.

    For a process of somebody else's pool, which sends what a job returned after the job: a message
    that is torn keeps whoever reads it waiting for its rest.
    """
    listen()
    try:
        check_stopped()
        yield
    finally:
        signal.signal(signal.SIGINT, _remember)


def check_stopped() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed it."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    signal.default_int_handler(number, frame)


def _remember(number: int, frame: FrameType | None) -> None:
    _pressed.set()
