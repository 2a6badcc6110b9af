"""The request that is being answered, for whoever traces what comes of it. Imports nothing of OpenTelemetry.

https://www.w3.org/TR/trace-context/
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_HEADERS = ("traceparent", "tracestate")
_MOST = 512  # characters of one, as W3C has it for tracestate


@dataclass(eq=False)
class Asked:
    """`name` says what is asked for, in words of ours; `came` is when, in ns since 1970. `context` says to which
    trace it belongs. `on_end` is called when it was answered.
    """

    name: str
    context: Mapping[str, str]
    came: int = field(default_factory=time.time_ns)
    on_end: Callable[[], None] | None = None


_current: ContextVar[Asked | None] = ContextVar("k8s_mcp_asked", default=None)


def now_asked() -> Asked | None:
    """What is being answered in this task, or in the one that has started it."""
    return _current.get()


@contextmanager
def asked(name: str, *sources: Mapping[str, object]) -> Generator[None]:
    """While a request is answered. Its trace is that of the first of `sources` that names one."""
    named = [found for source in sources if (found := _context(source))]
    one = Asked(name, named[0] if named else {})
    token = _current.set(one)
    try:
        yield
    finally:
        _current.reset(token)
        if one.on_end:
            one.on_end()


def _context(source: Mapping[str, object]) -> dict[str, str]:
    given = {name: source.get(name) for name in _HEADERS}
    found = {name: value for name, value in given.items() if isinstance(value, str) and len(value) <= _MOST}
    return found if "traceparent" in found else {}
