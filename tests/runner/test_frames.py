"""Frames: every byte of both streams comes back, and nothing but whole frames is ever read."""

import base64
import itertools
import random
import re
import tracemalloc
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_mcp.runner import frames
from k8s_mcp.runner.frames import (
    AFTER_CR,
    EXIT,
    HEARTBEAT,
    HELLO,
    LOG_FRAME_BYTES,
    PIECE,
    STDERR,
    STDOUT,
    TAG,
    Decoder,
    Encoder,
    Frame,
    LineCounter,
    decode,
)

Chunks = list[tuple[str, bytes]]

MANY = settings(max_examples=150, deadline=None)
PARTS = [b"\n", b"\r", b"\r\n", b"a", b"word", b" ", b"\0", "東京 🗼".encode(), b"\xff", b"\xe2\x82", b"k8sm1 "]
BYTES = st.binary(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=20).map(b"".join)
STREAMS = st.sampled_from([STDOUT, STDERR])
CHUNKS = st.lists(st.tuples(STREAMS, BYTES), max_size=12)
LIMITS = st.sampled_from([300, LOG_FRAME_BYTES, 128 * 1024])


@contextmanager
def pieces_of(size: int) -> Generator[None]:
    """Short pieces, so that short texts have long lines."""
    with mock.patch.object(frames, "PIECE", size):
        yield


def encoded(chunks: Chunks, limit: int = LOG_FRAME_BYTES) -> bytes:
    encoder = Encoder(limit)
    return (
        encoder.control(HELLO)
        + b"".join(encoder.output(stream, chunk) for stream, chunk in chunks)
        + encoder.control(HEARTBEAT)
        + encoder.control(EXIT, "done 0")
    )


def frames_of(text: bytes) -> list[Frame]:
    return Decoder().feed(text)


def fields(frame: Frame) -> tuple[object, ...]:
    return tuple(getattr(frame, name) for name in Frame.__slots__)


def all_fields(some: list[Frame]) -> list[tuple[object, ...]]:
    return [fields(frame) for frame in some]


def joined(chunks: Chunks, stream: str) -> bytes:
    return b"".join(chunk for name, chunk in chunks if name == stream)


def payloads(some: list[Frame], stream: str) -> bytes:
    return b"".join(frame.payload for frame in some if frame.type == stream)


@contextmanager
def traced_memory() -> Generator[Callable[[], int]]:
    """Gives a function that tells the most bytes allocated inside so far."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def naive_count(output: bytes, ended: bool, piece: int) -> int:
    """Lines of `output`, one by one; while it goes on (not `ended`), only those that are complete."""
    *lines, last = re.split(rb"\r\n|\r|\n", output)
    pieces = sum(max(1, -(-len(line) // piece)) for line in lines)
    return pieces + (-(-len(last) // piece) if ended else max(len(last) - 1, 0) // piece)


def naive_position(output: bytes, piece: int) -> int:
    """COLUMN of what comes behind `output`."""
    if output.endswith(b"\r"):
        return AFTER_CR
    last = re.split(rb"[\r\n]", output)[-1]
    return (len(last) - 1) % piece + 1 if last else 0


@MANY
@given(CHUNKS, LIMITS)
def test_every_byte_comes_back_in_order_on_its_own_stream(chunks: Chunks, limit: int) -> None:
    text = encoded(chunks, limit)
    for stream in (STDOUT, STDERR):
        assert payloads(frames_of(text), stream) == joined(chunks, stream)


@MANY
@given(CHUNKS, LIMITS)
def test_a_frame_is_one_line_of_printable_ascii_within_the_limit(chunks: Chunks, limit: int) -> None:
    lines = encoded(chunks, limit).split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert len(line) < limit
        assert re.fullmatch(rb"[ -~]+", line)


@pytest.mark.parametrize("limit", [300, LOG_FRAME_BYTES, 128 * 1024])
@pytest.mark.parametrize("kind", ["random", "dense", "mixed"])
def test_dense_output_keeps_the_limit_and_every_byte(limit: int, kind: str) -> None:
    source = random.Random(limit)
    random_chunks = [source.randbytes(source.randrange(1, PIECE + 1)) for _ in range(6)]
    dense_chunks = [b"pod-%d Running\n" % n * source.randrange(1, 6000) for n in range(6)]
    mixed_chunks = [chunk for pair in zip(random_chunks, dense_chunks, strict=True) for chunk in pair]
    chosen = {"random": random_chunks, "dense": dense_chunks, "mixed": mixed_chunks}[kind]
    chunks: Chunks = [(source.choice([STDOUT, STDERR]), chunk) for chunk in chosen]
    text = encoded(chunks, limit)
    assert max(map(len, text.splitlines(keepends=True))) <= limit
    for stream in (STDOUT, STDERR):
        assert payloads(frames_of(text), stream) == joined(chunks, stream)


def test_output_that_compresses_well_takes_fewer_bytes_than_it_has() -> None:
    output = b"NAMESPACE     NAME    READY   STATUS    RESTARTS\n" * 1000
    assert len(encoded([(STDOUT, output)])) < len(output) / 20


@MANY
@given(CHUNKS, LIMITS, st.sampled_from([1, 2, 3, 7, 16, PIECE]))
def test_counters_and_columns_are_those_of_counting_line_by_line(chunks: Chunks, limit: int, piece: int) -> None:
    with pieces_of(piece):
        decoded = frames_of(encoded(chunks, limit))
    seen = {STDOUT: b"", STDERR: b""}
    for number, frame in enumerate(decoded):
        if frame.type in seen:
            assert frame.column == naive_position(seen[frame.type], piece)
            seen[frame.type] += frame.payload
        counted = [
            count
            for output in seen.values()
            for count in (naive_count(output, frame.type == EXIT, piece), len(output))
        ]
        assert [frame.out_lines, frame.out_bytes, frame.err_lines, frame.err_bytes] == counted
        assert frame.seq == number
    assert decoded[-1].column == (naive_position(seen[STDERR], piece) > 0)


@pytest.mark.parametrize("around", range(-2, 3))
@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\r\n\r"])
def test_a_line_of_about_so_many_pieces_counts_as_so_many(around: int, pieces: int, end: bytes) -> None:
    output = b"x" * (pieces * PIECE + around) + end
    exit_frame = frames_of(encoded([(STDERR, output)]))[-1]
    assert exit_frame.err_lines == naive_count(output, ended=True, piece=PIECE)


@MANY
@given(st.lists(BYTES.filter(bool), max_size=12), st.sampled_from([4, 60]))
def test_a_counter_that_begins_anywhere_counts_the_rest(chunks: list[bytes], piece: int) -> None:
    parts = [chunk[start : start + piece] for chunk in chunks for start in range(0, len(chunk), piece)]
    with pieces_of(piece):
        whole = LineCounter()
        for number, part in enumerate(parts):
            before = whole.lines
            rest = LineCounter(whole.position)
            for later in parts[number:]:
                rest.feed(later)
            output = b"".join(parts)
            assert before + rest.lines == naive_count(output, ended=False, piece=piece)
            whole.feed(part)


@MANY
@given(CHUNKS, st.lists(st.integers(0, 3000), max_size=20))
def test_any_split_of_the_bytes_gives_the_same_frames(chunks: Chunks, cuts: list[int]) -> None:
    text = encoded(chunks)
    decoder = Decoder()
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    split = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert all_fields(split) == all_fields(frames_of(text))


def test_bytes_that_come_one_by_one_give_the_same_frames() -> None:
    text = encoded([(STDOUT, b"one\ntwo"), (STDERR, b"\r\n"), (STDOUT, b"\nthree")])
    decoder = Decoder()
    split = [frame for n in range(len(text)) for frame in decoder.feed(text[n : n + 1])]
    assert all_fields(split) == all_fields(frames_of(text))


def damaged(line: bytes, how: str, place: int, byte: int) -> bytes:
    place %= len(line)
    if how == "changed" and line[place] != byte:
        return line[:place] + bytes([byte]) + line[place + 1 :]
    if how == "cut":
        return line[:place]
    if how == "without its beginning":
        return line[place + 1 :]
    return b"bash: line 1: " + line


@MANY
@given(
    CHUNKS.filter(bool),
    st.lists(
        st.tuples(
            st.sampled_from(["changed", "cut", "without its beginning", "behind something else"]),
            st.integers(0, 10_000),
            st.integers(0, 255),
        )
        | st.none(),
        min_size=1,
        max_size=8,
    ),
)
def test_a_damaged_line_is_no_frame_and_spoils_no_other(
    chunks: Chunks, damages: list[tuple[str, int, int] | None]
) -> None:
    lines = encoded(chunks).splitlines()
    expected: list[Frame] = []
    text = b""
    for number, line in enumerate(lines):
        damage = damages[number % len(damages)]
        text += (damaged(line, *damage) if damage else line) + b"\n"
        if damage is None:
            expected += frames_of(line + b"\n")
    assert all_fields(Decoder().feed(text)) == all_fields(expected)


@MANY
@given(st.binary())
@example(TAG)
@example(TAG + b" ")
@example(b"k8sm1 00000000 ")
def test_bytes_that_are_no_frames_are_passed_over(line: bytes) -> None:
    assert decode(line) is None
    assert Decoder().feed(line + b"\n") == []


WORDS = st.sampled_from([b"0", b"1", b"-1", b"o", b"e", b"h", b"x", b"z", b"b", b"", b"eJw=", b"eJ", b"\xff"])
NUMBERS = st.sampled_from([b"1" * 5000, b"1_0", b"+1", b"1.5", b"0x1", "１".encode()])


@MANY
@given(st.lists(WORDS | NUMBERS | st.binary(max_size=4), max_size=11).map(b" ".join))
@example(b"0 o 0 0 0 0 0 z eJw=")
@example(b"0 \xff 0 0 0 0 0 b ")
@example(b"0 ox 0 0 0 0 0 b ")
@example(b"0 o 0 0 0 0 0 q ")
@example(b"0 o 0 0 0 0 0 b A")
@example(b"0 o 0 0 0 0 0 z AAAA")
def test_a_right_checksum_over_anything_raises_nothing(rest: bytes) -> None:
    frame = decode(b"%b %08x %b" % (TAG, zlib.crc32(rest), rest))
    assert frame is None or frame.type in {HELLO, STDOUT, STDERR, HEARTBEAT, EXIT}


@MANY
@given(CHUNKS, st.lists(st.integers(0, 3000), max_size=4))
def test_a_log_read_again_from_its_beginning_gives_nothing_twice(chunks: Chunks, breaks: list[int]) -> None:
    text = encoded(chunks)
    decoder = Decoder()
    seen: list[Frame] = []
    for place in breaks:
        seen += decoder.feed(text[:place])
        decoder.restart()
    seen += decoder.feed(text)
    assert all_fields(seen) == all_fields(frames_of(text))


@MANY
@given(CHUNKS, st.integers(0, 3000), st.integers(0, 3000))
def test_a_log_read_again_from_any_line_loses_nothing(chunks: Chunks, broken: int, back: int) -> None:
    text = encoded(chunks)
    again = text.rfind(b"\n", 0, max(min(broken, len(text)) - back, 0)) + 1
    decoder = Decoder()
    seen = decoder.feed(text[:broken])
    decoder.restart()
    seen += decoder.feed(text[again:])
    assert all_fields(seen) == all_fields(frames_of(text))


def test_decompression_is_bounded() -> None:
    rest = b"0 o 0 0 0 0 0 z " + base64.b64encode(zlib.compress(bytes(64 << 20)))
    line = b"%b %08x %b" % (TAG, zlib.crc32(rest), rest)
    with traced_memory() as peak:
        decode(line)
        assert peak() < 4 << 20


def test_a_line_that_never_ends_is_not_kept() -> None:
    decoder = Decoder()
    with traced_memory() as peak:
        for _ in range(200):
            assert decoder.feed(b"x" * PIECE) == []
        assert peak() < 4 << 20
    assert all_fields(decoder.feed(b"\n" + encoded([]))) == all_fields(frames_of(encoded([])))


def test_the_last_lines_that_are_no_frames_are_kept_to_say_what_is_wrong() -> None:
    decoder = Decoder()
    decoder.feed(b"".join(b"line %d\n" % n for n in range(1000)))
    decoder.feed(encoded([(STDOUT, b"output\n")]) + b"exec format error" + b"!" * 5000 + b"\n")
    assert decoder.foreign[0] == b"line 981"
    assert decoder.foreign[-1].startswith(b"exec format error!")
    assert sum(map(len, decoder.foreign)) < 20 * 1000


def test_the_text_of_a_control_frame_comes_back() -> None:
    (frame,) = frames_of(Encoder().control(EXIT, "error - kein Bäcker da 🗼"))
    assert (frame.type, frame.payload.decode()) == (EXIT, "error - kein Bäcker da 🗼")


def test_a_frame_shows_no_output_in_its_repr() -> None:
    frame = frames_of(encoded([(STDOUT, b"token")]))[1]
    assert repr(frame) == "Frame(seq=1, type='o', bytes=5)"
