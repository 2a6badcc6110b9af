"""Signals that ask `exec` to end, as news for whoever waits."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    _SIGNALS.append(signal.SIGBREAK)
else:
    _SIGNALS.append(signal.SIGHUP)


@contextmanager
def signals_to(put: Callable[[int], None]) -> Generator[None]:
    """Report signals, except those that whoever started us has set to be ignored. A second Ctrl-C ends us at once."""
    seen = set[int]()

    def on_signal(number: int, _: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            os._exit(128 + number)
        seen.add(number)
        put(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
