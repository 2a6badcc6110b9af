"""Frames: what the runner writes to its own stdout, one line each, and how they are read back.

A frame is one line of ASCII, its fields separated by single spaces:

    k8sm1 CRC SEQ TYPE OUT_LINES OUT_BYTES ERR_LINES ERR_BYTES COLUMN CODING PAYLOAD

CRC is the CRC-32 of everything after it, in hex. SEQ counts frames from 0. The four counters are the lines and bytes
of stdout and stderr up to and including this frame, so the size of a hole is known at the next frame that arrives.
COLUMN says where in a line the payload begins (`AFTER_CR`, or bytes of the current piece), so every frame can be read
without those before it; in an exit frame it is 1 when stderr ended within a line. CODING is `z` (zlib, then base64)
or `b` (base64). A line longer than `PIECE` bytes counts as one line for each piece.

On a pipe that nobody but the runner writes to CODING is `r` for output: PAYLOAD is a number of bytes, which follow
behind the line as they are. That saves the local executor two thirds of the work.

This module imports little: it is on the path of every command's start.
"""

import binascii
import zlib

TAG = b"k8sm1"
PIECE = 32 * 1024
"""Longest line in bytes; a longer one is passed on in pieces of this size. Many readers of streams stop at lines of
64 KiB, and what is masked or is no UTF-8 can make a piece longer.
"""
LOG_FRAME_BYTES = 15 * 1024
"""Longest frame for a pod's log: container runtimes split log lines at 16 KiB."""
AFTER_CR = -1

HELLO, STDOUT, STDERR, HEARTBEAT, RECORDED, EXIT = "h", "o", "e", "b", "g", "x"
"""RECORDED: how many lines the gate's record had when the command had ended, and how many requests were open."""
WAITING = "w"
"""Of a warm pod, before any run has come: a log that ends with this one is known to be whole, and to say nothing. It
is no frame of a run: its SEQ is that of the next one, and a Decoder passes over it.
"""
NEVER_STARTED = "cancelled - never started"
"""The text of EXIT, with no HELLO before it, of a warm pod that ended before any run came: no command was started in
it, and none will be.
"""
_RAW = b"r"
_TYPES = frozenset((WAITING, HELLO, STDOUT, STDERR, HEARTBEAT, RECORDED, EXIT))
_HEADER_BYTES = 192
_MAX_PAYLOAD = 1024 * 1024


class LineCounter:
    """Counts the lines of one stream, chunk by chunk, without splitting it.

    A line ends at LF, CRLF or CR. `lines` counts what a reader has seen complete; an unfinished last line counts once
    `finish` is called.
    """

    __slots__ = ("after_cr", "column", "lines", "size")

    def __init__(self, column: int = 0) -> None:
        self.lines = 0
        self.size = 0
        self.after_cr = column == AFTER_CR
        self.column = max(column, 0)

    @property
    def position(self) -> int:
        """COLUMN of a frame that would begin here."""
        return AFTER_CR if self.after_cr else self.column

    def feed(self, chunk: bytes) -> None:
        """Count `chunk`, of 1 to PIECE bytes: within one chunk only its first line can grow longer than a piece."""
        self.size += len(chunk)
        start = 1 if self.after_cr and chunk.startswith(b"\n") else 0
        self.after_cr = chunk.endswith(b"\r")
        line_feed, carriage_return = chunk.find(b"\n", start), chunk.find(b"\r", start)
        ends = [index for index in (line_feed, carriage_return) if index >= 0]
        first = min(ends) if ends else len(chunk)
        grown = self.column + first - start
        full = max(grown - 1, 0) // PIECE
        self.lines += full
        if not ends:
            self.column = grown - full * PIECE
            return
        self.lines += chunk.count(b"\n", start)
        if carriage_return >= 0:
            self.lines += chunk.count(b"\r", start) - chunk.count(b"\r\n", start)
        self.column = len(chunk) - 1 - max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))

    def finish(self) -> None:
        """The stream has ended: a last line without its newline is still a line."""
        if self.column:
            self.lines += 1
            self.column = 0


class Frame:
    """One decoded frame. The counters include this frame's payload."""

    __slots__ = ("column", "err_bytes", "err_lines", "out_bytes", "out_lines", "payload", "seq", "type")

    def __init__(self, seq: int, kind: str, counters: tuple[int, int, int, int], column: int, payload: bytes) -> None:
        self.seq = seq
        self.type = kind
        self.out_lines, self.out_bytes, self.err_lines, self.err_bytes = counters
        self.column = column
        self.payload = payload

    def __repr__(self) -> str:
        return f"Frame(seq={self.seq}, type={self.type!r}, bytes={len(self.payload)})"


class Encoder:
    """Turns chunks of output into frames of at most `limit` bytes each, newline included; or, `raw`, of any length
    with the output as it is, for a PipeDecoder.
    """

    def __init__(self, limit: int = LOG_FRAME_BYTES, *, raw: bool = False) -> None:
        self.frames = 0
        self._raw = raw
        self._room = limit - _HEADER_BYTES
        self._take = PIECE
        self._counters = {STDOUT: LineCounter(), STDERR: LineCounter()}

    def output(self, stream: str, chunk: bytes) -> bytes:
        """The frames for `chunk` of `stream` (STDOUT or STDERR), joined. A raw one takes at most PIECE bytes."""
        if self._raw:
            column = self._counters[stream].position
            self._counters[stream].feed(chunk)
            return self._line(stream, column, _RAW, b"%d" % len(chunk)) + chunk
        frames: list[bytes] = []
        start = 0
        while start < len(chunk):
            part = chunk[start : start + self._take]
            coding, coded = _pack(part)
            if len(coded) > self._room:
                self._take = max(len(part) // 2, self._room // 2)
                continue
            counter = self._counters[stream]
            column = counter.position
            counter.feed(part)
            frames.append(self._line(stream, column, coding, coded))
            start += len(part)
            if 2 * len(coded) < self._room:
                self._take = min(2 * self._take, PIECE)
        return b"".join(frames)

    def control(self, kind: str, text: str = "") -> bytes:
        """A frame that carries no output: WAITING, HELLO, HEARTBEAT, RECORDED or EXIT."""
        column = 0
        if kind == EXIT:
            column = int(self._counters[STDERR].column > 0)
            for counter in self._counters.values():
                counter.finish()
        return self._line(kind, column, b"b", binascii.b2a_base64(text.encode(), newline=False))

    def _line(self, kind: str, column: int, coding: bytes, coded: bytes) -> bytes:
        out, err = self._counters[STDOUT], self._counters[STDERR]
        rest = b"%d %s %d %d %d %d %d %b %b" % (
            self.frames,
            kind.encode(),
            out.lines,
            out.size,
            err.lines,
            err.size,
            column,
            coding,
            coded,
        )
        self.frames += kind != WAITING
        return b"%b %08x %b\n" % (TAG, zlib.crc32(rest), rest)


class Decoder:
    """Reads frames from bytes that come in any pieces, each frame once.

    Lines that are not frames, and frames seen before (a log read again after its connection broke), are passed over;
    the last lines that were no frames are kept in `foreign`, since they say what is wrong when a container cannot
    start the runner at all.
    """

    _FOREIGN_LINES = 20

    def __init__(self, limit: int = 256 * 1024) -> None:
        self.next_seq = 0
        self.output = 0
        """Bytes of both streams up to the last frame, by its own account."""
        self.foreign: list[bytes] = []
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The whole frames that `data` completes, in order."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[: self._limit]
        frames: list[Frame] = []
        for line in lines:
            frame = decode(line)
            if frame is None:
                self.foreign = [*self.foreign, line[:500]][-self._FOREIGN_LINES :]
            elif frame.seq >= self.next_seq and frame.type != WAITING:
                self.note(frame)
                frames.append(frame)
        return frames

    def note(self, frame: Frame) -> None:
        """This one was read, be it from somewhere else."""
        self.next_seq = frame.seq + 1
        self.output = frame.out_bytes + frame.err_bytes

    def restart(self) -> None:
        """The source will be read again from an earlier place:

        forget the piece of a line that was waiting for its end.
        """
        self._rest = b""


class PipeDecoder:
    """Reads frames, raw ones as well, from a pipe that nobody but the runner writes to."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The whole frames that `data` completes, in order."""
        data = self._rest + data
        frames: list[Frame] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            frame, coding, coded = _parse(data[start:end]) or (None, b"", b"")
            size = _raw_size(coded) if coding == _RAW else 0
            stop = end + 1 + size
            if stop > len(data):
                break
            if frame is not None:
                payload = data[end + 1 : stop] if size else _unpacked(coding, coded)
                if payload is not None:
                    frame.payload = payload
                    frames.append(frame)
            start = stop
        self._rest = data[start:]
        return frames


def decode(line: bytes) -> Frame | None:
    """The frame in `line` (without its newline), or None when the line is not a whole, undamaged frame."""
    parsed = _parse(line)
    if parsed is None:
        return None
    frame, coding, coded = parsed
    payload = _unpacked(coding, coded)
    if payload is None:
        return None
    frame.payload = payload
    return frame


def _parse(line: bytes) -> tuple[Frame, bytes, bytes] | None:
    """A frame without its payload, that one's coding, and what PAYLOAD says."""
    tag, _, rest = line.partition(b" ")
    crc, _, rest = rest.partition(b" ")
    if tag != TAG or crc != b"%08x" % zlib.crc32(rest):
        return None
    fields = rest.split(b" ")
    try:
        seq, kind, *numbers, coding, coded = fields
        out_lines, out_bytes, err_lines, err_bytes, column = map(int, numbers)
        number = int(seq)
    except ValueError:
        return None
    if kind.decode("ascii", "replace") not in _TYPES or not AFTER_CR <= column <= PIECE:
        return None
    frame = Frame(number, kind.decode(), (out_lines, out_bytes, err_lines, err_bytes), column, b"")
    return frame, coding, coded


def _pack(chunk: bytes) -> tuple[bytes, bytes]:
    packed = zlib.compress(chunk, 1)
    if len(packed) < len(chunk):
        return b"z", binascii.b2a_base64(packed, newline=False)
    return b"b", binascii.b2a_base64(chunk, newline=False)


def _unpacked(coding: bytes, coded: bytes) -> bytes | None:
    """What `coded` stands for; None if it is damaged."""
    try:
        data = binascii.a2b_base64(coded)
        if coding == b"b":
            return data
        return zlib.decompressobj().decompress(data, _MAX_PAYLOAD) if coding == b"z" else None
    except (ValueError, zlib.error):
        return None


def _raw_size(coded: bytes) -> int:
    """How many bytes follow a raw frame's line; 0 if it says anything but 1 to PIECE."""
    size = int(coded) if len(coded) < 9 and coded.isdigit() else 0
    return size if size <= PIECE else 0
