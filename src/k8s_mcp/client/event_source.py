"""The service's event stream as its client reads it: bytes in, events out, many lines at a time.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. This reads what `sse.py` writes of it: lines
that end at LF, and in every event `event`, `data` and perhaps `id`, in this order. One pattern over whole blocks
reads 3 million lines a second; httpx2's EventSource, which makes an object of each line, 0.2 million.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

_EVENT = re.compile(rb"event: (.+)\ndata: (.*)\n(?:id: (\d+)\n)?\n|(?::.*)?\n|(.+\n)")
_Fields = tuple[bytes, bytes, bytes, bytes]
_NAME, _DATA, _ID, _STRANGE = range(4)
_name, _data = itemgetter(_NAME), itemgetter(_DATA)


@dataclass(frozen=True, slots=True)
class Lines:
    """Neighbouring lines of one stream, each ended by LF. `id` is that of the last of them."""

    stream: str
    data: bytes
    id: int


@dataclass(frozen=True, slots=True)
class Control:
    """A control event. `id` is None for those that a replay does not repeat."""

    data: dict[str, object]
    id: int | None


Event = Lines | Control


class NotOurs(Exception):
    """The stream holds something that the service does not write."""


class EventSource:
    """Puts the events of one connection together."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that this chunk completes. Raises NotOurs."""
        block = self._rest + chunk
        end = block.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = block
            return
        self._rest = block[end:]
        found: list[_Fields] = _EVENT.findall(block, 0, end)
        for name, group in groupby(found, _name):
            events = list(group)
            if name in {b"stdout", b"stderr"} and events[-1][_ID]:
                yield Lines(name.decode(), b"\n".join(map(_data, events)) + b"\n", int(events[-1][_ID]))
            elif name == b"control":
                yield from map(_control, events)
            elif name or any(event[_STRANGE] for event in events):
                raise NotOurs("the stream is not one of k8s-mcp")


def _control(event: _Fields) -> Control:
    try:
        data: Any = json.loads(event[_DATA])
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise NotOurs("a control event is not a JSON object")
    return Control(cast("dict[str, object]", data), int(event[_ID]) if event[_ID] else None)
