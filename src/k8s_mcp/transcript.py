"""From frames to numbered events: lines put together, credentials masked, lost lines named.

An event's id is the number of lines, of both streams, up to and including it, as the runner counted them. So the ids
are the same for whoever reads the same frames, and the ids of lost lines are skipped, not reused.
"""

from collections.abc import Iterable

from k8s_mcp.models import Event, Output, StreamName, gap
from k8s_mcp.redact import Redactor
from k8s_mcp.runner.frames import AFTER_CR, EXIT, PIECE, STDERR, STDOUT, Frame, LineCounter

_NAMES: dict[str, StreamName] = {STDOUT: "stdout", STDERR: "stderr"}
_MERGE_BYTES = 64 * 1024


class Transcript:
    """Turns one run's frames, fed in order, into events."""

    def __init__(self, redactor: Redactor) -> None:
        self.bytes = 0
        self._redactor = redactor
        self._streams = {kind: _Stream(redactor) for kind in _NAMES}
        self._next_seq = 0

    @property
    def lines(self) -> int:
        """Lines of both streams so far, lost ones included: the id of the last of them."""
        return sum(stream.lines for stream in self._streams.values())

    def feed(self, frames: Iterable[Frame]) -> list[Event]:
        """The events that these frames complete."""
        events: list[Event] = []
        for frame in frames:
            if frame.seq != self._next_seq:
                events += self._lost_before(frame)
            self._next_seq = frame.seq + 1
            self.bytes = frame.out_bytes + frame.err_bytes
            if frame.type in _NAMES:
                events += self._output(frame)
            elif frame.type == EXIT:
                events += self.finish()
        return _merged(events)

    def finish(self) -> list[Event]:
        """There is no more output: what is left of each stream is a line, too."""
        events: list[Event] = []
        for kind, stream in self._streams.items():
            rest = stream.finish()
            if rest is not None:
                events += self._numbered(kind, 1, rest)
        return events

    def _output(self, frame: Frame) -> list[Event]:
        stream = self._streams[frame.type]
        lines = frame.out_lines if frame.type == STDOUT else frame.err_lines
        data = stream.feed(frame)
        if data is None:
            return []
        return self._numbered(frame.type, lines - stream.lines, data)

    def _numbered(self, kind: str, count: int, data: bytes) -> list[Event]:
        stream = self._streams[kind]
        first_id = self.lines + 1
        stream.lines += count
        if not stream.damaged:
            return [Output(_NAMES[kind], first_id, count, data)]
        stream.damaged = False
        damaged = gap(_NAMES[kind], 1, first_id)
        if count == 1:
            return [damaged]
        return [damaged, Output(_NAMES[kind], first_id + 1, count - 1, data.partition(b"\n")[2])]

    def _lost_before(self, frame: Frame) -> list[Event]:
        """Frames are missing: bring every stream to where `frame` begins, and say how many of its lines are lost."""
        counter = LineCounter(frame.column)
        if frame.type in _NAMES:
            counter.feed(frame.payload)
        events: list[Event] = []
        for kind, lines, count in (
            (STDOUT, frame.out_lines, frame.out_bytes),
            (STDERR, frame.err_lines, frame.err_bytes),
        ):
            stream = self._streams[kind]
            own = frame.type == kind
            if count - (counter.size if own else 0) == stream.bytes:
                continue
            missing = lines - (counter.lines if own else 0) - stream.lines
            stream.resume(count - (counter.size if own else 0))
            if missing:
                stream.lines += missing
                events.append(gap(_NAMES[kind], missing, self.lines))
        return events


class _Stream:
    """Puts the lines of one stream together. What `feed` and `finish` return is complete lines, joined by LF."""

    def __init__(self, redactor: Redactor) -> None:
        self.lines = 0
        self.bytes = 0
        self.damaged = False  # the line being put together has a hole in it
        self._lost = False  # frames of this stream are missing just before the next one
        self._redactor = redactor
        self._tail = b""
        self._in_piece = 0
        self._after_cr = False

    def resume(self, position: int) -> None:
        """The stream goes on at byte `position`; everything from the last whole line to there is lost."""
        self.bytes = position
        self.damaged = False
        self._lost = True
        self._tail = b""
        self._in_piece = 0

    def feed(self, frame: Frame) -> bytes | None:
        if self._lost:
            self._lost = False
            self.damaged = frame.column > 0
            self._in_piece = max(frame.column, 0)
            self._after_cr = frame.column == AFTER_CR
        payload = frame.payload
        self.bytes += len(payload)
        if self._after_cr and payload.startswith(b"\n"):
            payload = payload[1:]
        self._after_cr = frame.payload.endswith(b"\r")
        if b"\r" in payload:
            payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first = payload.find(b"\n")
        pieces = self._pieces(payload if first < 0 else payload[:first])
        if first < 0:
            return self._clean(b"\n".join(pieces)) if pieces else None
        last = payload.rfind(b"\n")
        complete = b"\n".join([*pieces, self._tail + payload[first:last]])
        self._tail = payload[last + 1 :]
        self._in_piece = len(self._tail)
        return self._clean(complete)

    def finish(self) -> bytes | None:
        if not self._in_piece:
            return None
        rest, self._tail, self._in_piece = self._tail, b"", 0
        return self._clean(rest)

    def _pieces(self, segment: bytes) -> list[bytes]:
        """Add `segment` to the unfinished line; the pieces that grow full on the way."""
        pieces: list[bytes] = []
        while self._in_piece + len(segment) > PIECE:
            room = PIECE - self._in_piece
            piece = self._tail + segment[:room]
            segment = segment[room:]
            cut = len(piece) - max(self._redactor.open_end(piece), _open_character(piece))
            pieces.append(piece[:cut])
            self._tail, self._in_piece = piece[cut:], 0
        self._tail += segment
        self._in_piece += len(segment)
        return pieces

    def _clean(self, data: bytes) -> bytes:
        data = self._redactor.apply(data)
        if data.isascii():
            return data
        try:
            data.decode()
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace").encode()
        return data


def _open_character(data: bytes) -> int:
    """How many bytes at the end of `data` begin a UTF-8 character that is not complete."""
    for length in range(1, min(len(data), 3) + 1):
        byte = data[-length]
        if byte >= 0xC0:
            return length if byte >= 0xF0 or (byte >= 0xE0 and length < 3) or length < 2 else 0
        if byte < 0x80:
            return 0
    return 0


def _merged(events: list[Event]) -> list[Event]:
    """Neighbouring outputs of one stream as one, up to a bound: fewer, larger pieces for everything behind."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if (
            isinstance(event, Output)
            and isinstance(last, Output)
            and last.stream == event.stream
            and len(last.data) + len(event.data) < _MERGE_BYTES
        ):
            data = b"\n".join((last.data, event.data))
            merged[-1] = Output(last.stream, last.first_id, last.count + event.count, data)
        else:
            merged.append(event)
    return merged
