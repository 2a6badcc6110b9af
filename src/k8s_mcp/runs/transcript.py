"""From frames to numbered events: lines put together, credentials masked, lost lines named.

An event's id is the number of lines, of both streams, up to and including it, as the runner counted them. So the ids
are the same for whoever reads the same frames, and the ids of lost lines are skipped, not reused.
"""

from collections.abc import Iterable

from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Event, Output, StreamName, gap
from k8s_mcp.observe.facts import Amount
from k8s_mcp.runner.frames import AFTER_CR, EXIT, PIECE, STDERR, STDOUT, Frame, LineCounter

_NAMES: dict[str, StreamName] = {STDOUT: "stdout", STDERR: "stderr"}
_MERGE_BYTES = 64 * 1024
_LINE_BYTES = 60 * 1024
"""Longest line to send, so that readers with 64 KiB have room for what the stream puts around it."""


class Contradiction(Exception):
    """Frames cannot all be true: their counters are not those of their output. No runner of ours writes such."""


class Transcript:
    """Turns one run's frames, fed in order, into events."""

    def __init__(self, redactor: Redactor) -> None:
        self.bytes = 0
        self.gaps = 0
        self.lost_lines = 0
        self._redactor = redactor
        self._streams = {kind: _Stream(redactor) for kind in _NAMES}
        self._next_seq = 0

    @property
    def lines(self) -> int:
        """Lines of both streams so far, lost ones included: the id of the last of them."""
        return sum(stream.lines for stream in self._streams.values())

    def amounts(self) -> dict[StreamName, Amount]:
        """How much of each stream there was so far, lost lines included."""
        return {_NAMES[kind]: Amount(stream.bytes, stream.lines) for kind, stream in self._streams.items()}

    def feed(self, frames: Iterable[Frame]) -> list[Event]:
        """The events that these frames complete. Raises Contradiction."""
        events: list[Event] = []
        for frame in frames:
            if frame.seq != self._next_seq:
                events += self._lost_before(frame)
            self._next_seq = frame.seq + 1
            self.bytes = frame.out_bytes + frame.err_bytes
            if frame.type in _NAMES:
                events += self._output(frame)
            elif frame.type == EXIT:
                events += self.finish((frame.out_lines, frame.err_lines))
        return _merged(events)

    def finish(self, counted: tuple[int, int] = (0, 0)) -> list[Event]:
        """There is no more output: what is left of each stream is a line, too.

        `counted`: how many lines stdout and stderr had, if the runner could still say so.
        """
        events: list[Event] = []
        for (kind, stream), lines in zip(self._streams.items(), counted, strict=True):
            rest = stream.finish()
            if rest is not None:
                events += self._numbered(kind, 1, rest)
            elif lines > stream.lines:
                events.append(self._gap(kind, lines - stream.lines))
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
        damaged = stream.damaged
        there = data.count(b"\n") + 1
        if count != there:
            raise Contradiction(f"{count} lines of {_NAMES[kind]} are counted where {there} are")
        events: list[Event] = [self._gap(kind, damaged)] if damaged else []
        if count > damaged:
            rest = data.split(b"\n", damaged)[damaged]
            events.append(Output(_NAMES[kind], self.lines + 1, count - damaged, rest))
            stream.lines += count - damaged
        return events

    def _gap(self, kind: str, missing: int) -> Event:
        if missing < 0:
            raise Contradiction(f"{_NAMES[kind]} has {-missing} lines fewer than before")
        self._streams[kind].lines += missing
        self.gaps += 1
        self.lost_lines += missing
        return gap(_NAMES[kind], missing, self.lines)

    def _lost_before(self, frame: Frame) -> list[Event]:
        """Frames are missing: bring every stream to where `frame` begins, and say how many of its lines are lost."""
        counter = LineCounter(frame.column)
        if frame.type in _NAMES:
            counter.feed(frame.payload)
        unfinished = frame.column if frame.type == EXIT else 0  # `finish` numbers stderr's last line after stdout's
        events: list[Event] = []
        for kind, lines, count in (
            (STDOUT, frame.out_lines, frame.out_bytes),
            (STDERR, frame.err_lines - unfinished, frame.err_bytes),
        ):
            stream = self._streams[kind]
            own = frame.type == kind
            if count - (counter.size if own else 0) == stream.bytes:
                continue
            missing = lines - (counter.lines if own else 0) - stream.lines
            stream.resume(count - (counter.size if own else 0))
            if missing:
                events.append(self._gap(kind, missing))
        return events


class _Stream:
    """Puts the lines of one stream together.

    What `feed` and `finish` return is complete lines, joined by LF; the first `damaged` of them are not whole. From a
    hole on a line is lost to its end, all its pieces: what is masked in them depends on what came before.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.lines = 0
        self.bytes = 0
        self.damaged = 0
        self._has_hole = False  # the line being put together
        self._lost = False  # frames of this stream are missing just before the next one
        self._redactor = redactor
        self._tail = b""
        self._in_piece = 0
        self._after_cr = False

    def resume(self, position: int) -> None:
        """The stream goes on at byte `position`; everything from the last whole line to there is lost."""
        self.bytes = position
        self._has_hole = False
        self._lost = True
        self._tail = b""
        self._in_piece = 0

    def feed(self, frame: Frame) -> bytes | None:
        if self._lost:
            self._lost = False
            self._has_hole = frame.column > 0
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
        self.damaged = len(pieces) + (first >= 0) if self._has_hole else 0
        if first < 0:
            return self._clean(b"\n".join(pieces)) if pieces else None
        self._has_hole = False
        last = payload.rfind(b"\n")
        complete = b"\n".join([*pieces, b"".join((self._tail, memoryview(payload)[first:last]))])
        self._tail = payload[last + 1 :]
        self._in_piece = len(self._tail)
        return self._clean(complete)

    def finish(self) -> bytes | None:
        if not self._in_piece:
            return None
        self.damaged = int(self._has_hole)
        rest, self._tail, self._in_piece = self._tail, b"", 0
        return self._clean(rest)

    def _pieces(self, segment: bytes) -> list[bytes]:
        """Add `segment` to the unfinished line; the pieces that grow full on the way."""
        pieces: list[bytes] = []
        while self._in_piece + len(segment) > PIECE:
            room = PIECE - self._in_piece
            piece = self._tail + segment[:room]
            segment = segment[room:]
            cut = len(piece) - self._redactor.open_end(piece)
            done = self._redactor.apply(piece[:cut])
            whole = len(done) - _open_character(done)
            pieces.append(done[:whole])
            self._tail, self._in_piece = done[whole:] + piece[cut:], 0
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
            return b"\n".join(map(_text, data.split(b"\n")))
        return data


def _text(line: bytes) -> bytes:
    """In UTF-8, with U+FFFD for what is none: three bytes for one. A line that is little else has `?` for it."""
    text = line.decode("utf-8", "replace")
    data = text.encode()
    return data if len(data) <= _LINE_BYTES else text.replace("\ufffd", "?").encode()


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
