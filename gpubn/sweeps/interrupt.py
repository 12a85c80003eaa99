"""Ctrl-C, which is heard even where a library swallows it."""

import signal
import threading
from types import FrameType

_pressed = threading.Event()


def listen() -> None:
    """Remember from now on that Ctrl-C was pressed, and raise KeyboardInterrupt as ever."""
    signal.signal(signal.SIGINT, _on_interrupt)


def check_stopped() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed it."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    signal.default_int_handler(number, frame)
