"""What a run sent, with the times, within a bound: the beginning and the end of it. What lies between is a `gap`."""

import time
from collections import deque

from k8s_mcp.models import Event, Output, StreamName, gap

_EVENT_BYTES = 64  # that an event takes besides its text
_CONTROL_BYTES = 200

Timed = tuple[float, Event]
"""Seconds since the recording began, and what was sent then."""


class Recording:
    """Of one run. It holds at most `most` bytes, half of them of the beginning."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._began = time.monotonic()
        self._head: list[Timed] = []
        self._head_bytes = 0
        self._tail: deque[Timed] = deque()
        self._tail_bytes = 0
        self._is_full = False  # the head
        self._forgotten = 0  # lines between the two
        self._forgotten_id = 0  # of the last of them
        self._forgotten_at = 0.0
        self._forgotten_streams: set[StreamName] = set()

    def add(self, event: Event) -> None:
        """Take what was sent just now. What a replay does not repeat is not taken."""
        if not isinstance(event, Output) and event.id is None:
            return
        now = round(time.monotonic() - self._began, 3)
        rest: Event | None = event
        if not self._is_full:
            first, rest = _split(event, self._half - self._head_bytes)
            if first is not None:
                self._head.append((now, first))
                self._head_bytes += _size(first)
        if rest is not None:
            self._is_full = True
            self._tail.append((now, rest))
            self._tail_bytes += _size(rest)
            self._shorten()

    def kept(self) -> tuple[Timed, ...]:
        """All that is left, in order."""
        if not self._forgotten:
            return (*self._head, *self._tail)
        streams = self._forgotten_streams
        stream = next(iter(streams)) if len(streams) == 1 else None
        between = self._forgotten_at, gap(stream, self._forgotten, self._forgotten_id)
        return (*self._head, between, *self._tail)

    def _shorten(self) -> None:
        while (over := self._tail_bytes - self._half) > 0:
            at, event = self._tail.popleft()
            self._tail_bytes -= _size(event)
            dropped, rest = _without(event, over)
            self._forget(at, dropped)
            if rest is not None:
                self._tail.appendleft((at, rest))
                self._tail_bytes += _size(rest)

    def _forget(self, at: float, event: Event) -> None:
        self._forgotten_at = at
        if isinstance(event, Output):
            self._forgotten += event.count
            self._forgotten_id = event.last_id
            self._forgotten_streams.add(event.stream)
        elif event.id is not None:
            missing, stream = event.data.get("missing"), event.data.get("stream")
            self._forgotten += missing if isinstance(missing, int) else 0
            self._forgotten_id = event.id
            self._forgotten_streams.update(one for one in ("stdout", "stderr") if stream in (one, None))


def _split(event: Event, room: int) -> tuple[Event | None, Event | None]:
    """As many lines of the event as fit into `room` bytes, and the rest."""
    if _size(event) <= room:
        return event, None
    end = event.data.rfind(b"\n", 0, max(room - _EVENT_BYTES, 0)) if isinstance(event, Output) else -1
    return _cut(event, end) if isinstance(event, Output) and end >= 0 else (None, event)


def _without(event: Event, over: int) -> tuple[Event, Event | None]:
    """The first lines of the event, of at least `over` bytes, and the rest."""
    end = event.data.find(b"\n", over) if isinstance(event, Output) else -1
    return _cut(event, end) if isinstance(event, Output) and end >= 0 else (event, None)


def _cut(event: Output, end: int) -> tuple[Output, Output]:
    count = event.data.count(b"\n", 0, end) + 1
    first = Output(event.stream, event.first_id, count, event.data[:end])
    return first, Output(event.stream, first.last_id + 1, event.count - count, event.data[end + 1 :])


def _size(event: Event) -> int:
    return len(event.data) + _EVENT_BYTES if isinstance(event, Output) else _CONTROL_BYTES
