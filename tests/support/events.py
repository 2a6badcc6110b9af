"""Server-Sent Events as a client reads them: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import codecs
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is "comment" for a comment line. `at` is when its last byte arrived, in seconds of time.monotonic()."""

    name: str
    data: str
    id: int | None
    at: float = field(compare=False)

    @property
    def control(self) -> dict[str, Any]:
        """The data of a control event."""
        assert self.name == "control", self
        return json.loads(self.data)

    @property
    def is_final(self) -> bool:
        return self.name == "control" and self.control["status"] in {"done", "timeout", "cancelled", "error"}


class Parser:
    """Bytes in, events out. Bytes that are not UTF-8 are the service's mistake: UnicodeDecodeError."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._line = ""
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []
        self._id: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        at = time.monotonic()
        text = self._decode(chunk)
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        if text:
            self._after_cr = text.endswith("\r")
        lines = (self._line + text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        self._line = lines.pop()
        for line in lines:
            if not line:
                if self._data:
                    yield Event(self._name or "message", "\n".join(self._data), self._id, at)
                self._name, self._data, self._id = "", [], None
                continue
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "data":
                self._data.append(value)
            elif key == "id":
                self._id = int(value)
            elif key == "event":
                self._name = value
            elif not key:
                yield Event("comment", value, None, at)

    @property
    def complete(self) -> bool:
        """Whether nothing of an unfinished event is left."""
        return not (self._line or self._data or self._name)


@dataclass(frozen=True)
class Transcript:
    """What a client saw of a run."""

    events: list[Event]

    def lines(self, stream: str) -> list[str]:
        return [event.data for event in self.events if event.name == stream]

    @property
    def stdout(self) -> list[str]:
        return self.lines("stdout")

    @property
    def stderr(self) -> list[str]:
        return self.lines("stderr")

    @property
    def controls(self) -> list[dict[str, Any]]:
        return [event.control for event in self.events if event.name == "control"]

    @property
    def numbered(self) -> list[Event]:
        """Those with an id: what a replay repeats."""
        return [event for event in self.events if event.id is not None]

    @property
    def run_id(self) -> str:
        """From the `started` event, which is the first."""
        started = self.events[0].control
        assert started.keys() == {"status", "run_id"}, started
        assert started["status"] == "started"
        return started["run_id"]

    @property
    def final(self) -> dict[str, Any]:
        """The final event's data: exactly one, and the last."""
        finals = [event for event in self.events if event.is_final]
        assert len(finals) == 1, finals
        assert self.events[-1] is finals[0], f"{self.events[-1]} came after the final event"
        return finals[0].control


class Stream:
    """An event stream being read. Iterating it goes on where the last iteration stopped."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.seen: list[Event] = []
        self._events = self._read()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def first(self, name: str) -> Event:
        """Read up to the next event of that name."""
        async for event in self._events:
            if event.name == name:
                return event
        raise AssertionError(f"the stream ended without {name}: {self.seen[-3:]}")

    async def to_end(self) -> Transcript:
        """Read on; everything seen on this stream, from its beginning."""
        async for _ in self._events:
            pass
        return Transcript(self.seen)

    async def _read(self) -> AsyncIterator[Event]:
        parser = Parser()
        async for chunk in self.response.aiter_bytes():
            for event in parser.feed(chunk):
                self.seen.append(event)
                yield event
        assert parser.complete, "the stream ended within an event"
