"""The events of one run, kept within a bound: what readers follow, and what a replay repeats."""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from k8s_mcp.models import Control, Event, Output, StreamName, gap
from k8s_mcp.runs.recording import Recording

_BATCH_BYTES = 256 * 1024
_CONTROL_BYTES = 200
_STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")


class EventLog:
    """An append-only list of events that forgets its oldest ones to stay under `capacity` bytes.

    Events that a reader has still to take are not forgotten: `append` waits instead, which slows the command down. At
    most half of the capacity is for those; the other half keeps what was taken already, for a client whose connection
    broke before it had everything.

    A place in the log has three coordinates, each of which answers what the others cannot. The number of an event
    finds it among those kept without a search. The byte position says how far a reader is behind, for the bounds are
    in bytes. The id is what a client knows that comes back: one event has those of many lines, and some have none.
    So what was forgotten is counted in all three; and by stream, which a `gap` names.

    A `recording` has every event, too, within `recorded_bytes` of its own.
    """

    def __init__(self, capacity: int, recorded_bytes: int = 0) -> None:
        self.ended = False
        self.whole = True
        """False where readers may have seen more lines elsewhere than there are here, at the end."""
        self.recording = Recording(recorded_bytes) if recorded_bytes else None
        self._closed = False
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._forgotten = 0  # number of events that were dropped from the front
        self._forgotten_id = 0  # id of the last line among them
        self._forgotten_streams: set[StreamName] = set()  # of their lines
        self._forgotten_bytes = 0  # the byte position of the first event kept
        self._bytes = 0  # of the events kept
        self._taken = 0  # where the furthest reader is, as a byte position
        self._readers: set[Reader] = set()
        self._waits_for_first = True
        self._keeps_all = True  # whether `append` waits rather than forget what nobody has taken
        self._changed = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    @property
    def read_to_end(self) -> bool:
        """Whether some reader has taken the final event."""
        return self.ended and not self._closed and self._taken == self._forgotten_bytes + self._bytes

    def add(self, event: Event) -> None:
        """Add an event at once, over the bound if need be."""
        if self.recording is not None:
            self.recording.add(event)
        self._events.append(event)
        self._bytes += _size(event)
        self.wake()

    async def append(self, event: Event) -> None:
        """Add an event, waiting for readers that are far behind."""
        size = _size(event)
        self._forget(size)
        while self._keeps_all and (waiting := self._waiting()) and waiting + size > self._capacity // 2:
            await self.changed()
            self._forget(size)
        self.add(event)

    def end(self, event: Control, *, whole: bool = True) -> None:
        """Add the final event. Does not wait."""
        self.ended, self.whole = True, whole
        self.add(event)

    def close(self) -> None:
        """No more events will come here, and no final one."""
        self._closed = True
        self.ended = True
        self.wake()

    def wait_for_readers(self, wait: bool) -> None:
        """Whether `append` waits while there is no reader at all; else whoever reads is somewhere else."""
        if wait is not self._waits_for_first:
            self._waits_for_first = wait
            self.wake()

    def stop_waiting(self) -> None:
        """From now on forget rather than wait:

        the run is to end, whether or not its readers keep up. They get a `gap`.
        """
        self._keeps_all = False
        self.wake()

    async def changed(self) -> None:
        """Wait until events were added or taken, or readers came or went."""
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @contextmanager
    def reader(self, after: int | None, *, watching: bool = False) -> Generator["Reader"]:
        """Follow the log from the event behind id `after`, or from its beginning (None).

        Nothing waits for who is only `watching`: where they were too slow they get a gap.
        """
        reader = Reader(self, after, watching=watching)
        if watching:
            yield reader
            return
        self._readers.add(reader)
        self.wake()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self.wake()

    def kept(self, after: int) -> list[Event]:
        """What is kept behind id `after`, without following it; first a gap, if some of it is forgotten."""
        events: list[Event] = [self._gap(after)] if self._forgotten_id > after else []
        for event in self._events:
            if isinstance(event, Output):
                if event.last_id > after:
                    events.append(_from(event, after + 1))
            elif event.id is not None and event.id > after:
                events.append(event)
        return events

    def position(self, after: int) -> tuple[int, int]:
        """Number and byte position of the first event kept that is final or has anything behind id `after`."""
        if after < self._forgotten_id:
            return 0, 0  # that event is forgotten: `take` says so
        number, position = self._forgotten, self._forgotten_bytes
        for event in self._events:
            last = event.last_id if isinstance(event, Output) else event.id
            if (last is not None and last > after) or (isinstance(event, Control) and event.final):
                break
            number += 1
            position += _size(event)
        return number, position

    def take(self, number: int, position: int, last_id: int) -> tuple[list[Event], int, int]:
        """A batch of events from event `number` on, for a reader that has seen `last_id`; then its new number and
        position.
        """
        batch: list[Event] = []
        if number < self._forgotten:
            number, position = self._forgotten, self._forgotten_bytes
            if self._forgotten_id > last_id:
                batch.append(self._gap(last_id))
        size = 0
        for index in range(number - self._forgotten, len(self._events)):
            if size >= _BATCH_BYTES:
                break
            event = self._events[index]
            batch.append(event)
            size += _size(event)
            number += 1
        return batch, number, position + size

    def taken(self, position: int) -> None:
        """A reader is done with everything before byte `position`."""
        self._taken = max(self._taken, position)
        self.wake()

    def _gap(self, after: int) -> Control:
        """Says that everything between id `after` and what is kept is forgotten."""
        streams = self._forgotten_streams
        stream = next(iter(streams)) if len(streams) == 1 else None
        return gap(stream, self._forgotten_id - after, self._forgotten_id)

    def _waiting(self) -> int:
        """Bytes that some reader has still to take; without readers, that none has taken."""
        if not self._readers and not self._waits_for_first:
            return 0
        slowest = min((reader.position for reader in self._readers), default=self._taken)
        return self._forgotten_bytes + self._bytes - max(slowest, self._forgotten_bytes)

    def _forget(self, wanted: int) -> None:
        while self._events and self._bytes + wanted > self._capacity:
            size = _size(self._events[0])
            if self._keeps_all and self._waiting() > self._bytes - size:
                return
            event = self._events.popleft()
            self._bytes -= size
            self._forgotten += 1
            self._forgotten_bytes += size
            if isinstance(event, Output):
                self._forgotten_id = event.last_id
                self._forgotten_streams.add(event.stream)
            elif event.id is not None:
                self._forgotten_id = event.id
                lost = event.data.get("stream")
                self._forgotten_streams.update(stream for stream in _STREAMS if stream == lost)


class Reader:
    """One follower of a log.

    `await next()` gives batches, each non-empty, until the final event was among them; then an empty list. The
    final one comes to everybody, also to who asked for what is behind it.
    """

    def __init__(self, log: EventLog, after: int | None, *, watching: bool = False) -> None:
        self._log = log
        self._watching = watching
        self._replay = after is not None
        self._last_id = after or 0
        self._number, self.position = log.position(self._last_id) if self._replay else (0, 0)
        self._next_position = self.position

    async def next(self) -> list[Event]:
        """The next events. Asking for them says that those before have been passed on."""
        while True:
            if self._next_position != self.position:
                self.position = self._next_position
                if not self._watching:
                    self._log.taken(self.position)
            batch, self._number, self._next_position = self._log.take(self._number, self.position, self._last_id)
            events = self._not_seen(batch)
            if events:
                return events
            if batch:
                continue
            if self._log.ended:
                return []
            await self._log.changed()

    def _not_seen(self, batch: list[Event]) -> list[Event]:
        events: list[Event] = []
        for event in batch:
            if isinstance(event, Control):
                number = event.id
                if number is None:
                    if not self._replay:
                        events.append(event)
                    continue
                if event.final and not self._log.whole:
                    number = max(number, self._last_id + 1)  # behind what was seen elsewhere
                if number > self._last_id or event.final:
                    events.append(replace(event, id=number))
                    self._last_id = number
            elif event.last_id > self._last_id:
                events.append(_from(event, self._last_id + 1))
                self._last_id = event.last_id
        return events


def _from(event: Output, first_id: int) -> Output:
    """The lines of `event` from `first_id` on."""
    skip = first_id - event.first_id
    if skip <= 0:
        return event
    return Output(event.stream, first_id, event.count - skip, event.data.split(b"\n", skip)[skip])


def _size(event: Event) -> int:
    return len(event.data) + 64 if isinstance(event, Output) else _CONTROL_BYTES
