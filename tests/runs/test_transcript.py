"""Frames to events: every line once, whole, under its number; or counted as lost. Never a credential."""

import codecs
import itertools
import random
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_mcp.kubeconfig.redact import MASK, Redactor
from k8s_mcp.models import Event, Output
from k8s_mcp.runner import frames
from k8s_mcp.runner.frames import EXIT, HEARTBEAT, HELLO, PIECE, STDERR, STDOUT, Decoder, Encoder, Frame
from k8s_mcp.runs import transcript
from k8s_mcp.runs.transcript import Contradiction, Transcript

Chunks = list[tuple[str, bytes]]

MANY = settings(max_examples=120, deadline=None)
NOTHING = Redactor([])
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
ENDS = [b"\n", b"\r", b"\r\n"]
WORDS = [b"a", b"word", b" ", b"\0", b"\xff", b"\xc3", b"\xe2\x82", b"\xe0\x80", b"\xf0\x9f\x97", b"\xf5", b"\x80"]
TEXTS = [text.encode() for text in ("é", "東京", "🗼", "\u2028", "\ufffd")]
BYTES = st.binary(max_size=40) | st.lists(st.sampled_from(ENDS + WORDS + TEXTS), max_size=20).map(b"".join)
KINDS = st.sampled_from([STDOUT, STDERR, STDOUT, HEARTBEAT])
CHUNKS = st.lists(st.tuples(KINDS, BYTES), max_size=14)
STREAM_NAMES = st.sampled_from([STDOUT, STDERR])
PIECES = st.sampled_from([4, 16, 50, PIECE])


class Line(NamedTuple):
    id: int
    stream: str
    text: str


class Gap(NamedTuple):
    id: int
    stream: str
    missing: int


@contextmanager
def pieces_of(size: int) -> Generator[None]:
    """Short pieces, so that short texts have long lines."""
    with mock.patch.object(frames, "PIECE", size), mock.patch.object(transcript, "PIECE", size):
        yield


def framed(chunks: Chunks) -> list[Frame]:
    encoder = Encoder()
    texts = [encoder.control(HELLO)]
    for kind, chunk in chunks:
        texts.append(encoder.control(kind) if kind == HEARTBEAT else encoder.output(kind, chunk))
    texts.append(encoder.control(EXIT, "done 0"))
    return Decoder().feed(b"".join(texts))


def told(events: Iterable[Event]) -> list[Line | Gap]:
    """The events as a client sees them, one for each line."""
    seen: list[Line | Gap] = []
    for event in events:
        if isinstance(event, Output):
            texts = event.data.decode().split("\n")
            assert len(texts) == event.count
            seen += [Line(event.first_id + n, event.stream, text) for n, text in enumerate(texts)]
        else:
            status, stream, missing = (event.data[name] for name in ("status", "stream", "missing"))
            assert status == "gap"
            assert isinstance(stream, str)
            assert isinstance(missing, int)
            assert event.id is not None
            seen.append(Gap(event.id, stream, missing))
    return seen


def followed(some: Sequence[Frame], redactor: Redactor = NOTHING) -> list[Line | Gap]:
    return told(Transcript(redactor).feed(some))


def lossless(some: Sequence[Frame], redactor: Redactor = NOTHING) -> list[Line]:
    lines = [event for event in followed(some, redactor) if isinstance(event, Line)]
    assert len(lines) == len(followed(some, redactor))
    return lines


def naive_lines(output: bytes) -> list[bytes]:
    lines = re.split(rb"\r\n|\r|\n", output)
    return lines if lines[-1] else lines[:-1]


def pieces_in(line: bytes, piece: int) -> int:
    return max(1, -(-len(line) // piece))


def assert_as_read_line_by_line(chunks: Chunks, redactor: Redactor, piece: int) -> None:
    """The pieces of each line, put together, are the line: masked and decoded as a whole."""
    with pieces_of(piece):
        lines = lossless(framed(chunks), redactor)
    assert [line.id for line in lines] == list(range(1, len(lines) + 1))
    for kind, name in NAMES.items():
        texts = iter([line.text for line in lines if line.stream == name])
        for whole in naive_lines(b"".join(chunk for other, chunk in chunks if other == kind)):
            got = list(itertools.islice(texts, pieces_in(whole, piece)))
            assert len(got) == pieces_in(whole, piece)
            assert "".join(got) == redactor.apply(whole).decode("utf-8", "replace")
        assert list(texts) == []


@MANY
@given(CHUNKS, PIECES)
@example([(STDOUT, b"a\r"), (STDERR, b"\n"), (STDOUT, b"\nb\r\r\n\n")], PIECE)
@example([(STDOUT, "ab🗼".encode()), (STDOUT, "東京".encode())], 4)
def test_events_are_the_lines_whatever_the_chunks(chunks: Chunks, piece: int) -> None:
    assert_as_read_line_by_line(chunks, NOTHING, piece)


@MANY
@given(st.lists(st.tuples(STREAM_NAMES, BYTES), max_size=14), PIECES)
def test_an_id_is_the_number_of_lines_the_runner_had_counted(chunks: Chunks, piece: int) -> None:
    with pieces_of(piece):
        reader = Transcript(NOTHING)
        for frame in framed(chunks):
            before = reader.lines
            ids = [line.id for line in told(reader.feed([frame]))]
            assert ids == list(range(before + 1, frame.out_lines + frame.err_lines + 1))
            assert reader.lines == frame.out_lines + frame.err_lines
            assert reader.bytes == frame.out_bytes + frame.err_bytes


@MANY
@given(CHUNKS, PIECES, st.lists(st.integers(0, 40), max_size=10))
def test_ids_and_texts_do_not_depend_on_how_frames_are_batched(chunks: Chunks, piece: int, cuts: list[int]) -> None:
    with pieces_of(piece):
        some = framed(chunks)
        places = [0, *sorted(min(cut, len(some)) for cut in cuts), len(some)]
        reader = Transcript(NOTHING)
        batched = [line for start, end in itertools.pairwise(places) for line in told(reader.feed(some[start:end]))]
        one_by_one = Transcript(NOTHING)
        assert batched == followed(some) == [line for frame in some for line in told(one_by_one.feed([frame]))]


@MANY
@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), st.integers(1, 60))
def test_a_character_is_never_cut_by_chunks_or_pieces(text: str, chunk: int) -> None:
    output = text.encode()
    chunks: Chunks = [(STDOUT, output[start : start + chunk]) for start in range(0, len(output), chunk)]
    with pieces_of(8):
        lines = lossless(framed(chunks))
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    assert [line.text for line in lines[:-1]] == [
        decoder.decode(output[8 * n : 8 * n + 8]) for n in range(len(lines) - 1)
    ]
    assert "".join(line.text for line in lines) == text


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 5_000_000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_long_line_comes_in_pieces_of_32_kib(length: int, end: bytes) -> None:
    source = random.Random(length)
    line = bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=length))
    chunks: Chunks = [(STDOUT, line[start : start + 50_000]) for start in range(0, length, 50_000)]
    lines = lossless(framed([*chunks, (STDOUT, end)]))
    assert [len(line.text) for line in lines[:-1]] == [PIECE] * (len(lines) - 1)
    assert len(lines) == pieces_in(line, PIECE)
    assert "".join(line.text for line in lines) == line.decode()


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        pytest.param(b"x", "x", id="text"),
        pytest.param(b"8letters", MASK.decode(), id="what is masked"),
        pytest.param(b"\xff", "?", id="no text at all"),
        pytest.param(b"\xffa", "?a", id="no text, in part"),
        pytest.param(b"\xff8letters", f"\ufffd{MASK.decode()}", id="masked, between what is no text"),
    ],
)
def test_no_line_is_over_60_kib(unit: bytes, text: str) -> None:
    output = unit * (200_000 // len(unit))
    chunks: Chunks = [(STDOUT, output[start : start + 20_000]) for start in range(0, len(output), 20_000)]
    lines = lossless(framed([*chunks, (STDOUT, b"\n\xff")]), Redactor(["8letters"]))
    assert max(len(line.text.encode()) for line in lines) <= 60 * 1024
    assert lines[0].text.startswith(text)
    everything = "".join(line.text for line in lines[:-1]).replace("?", "\ufffd")
    assert everything.count(text.replace("?", "\ufffd")) >= 200_000 // len(unit) - len(lines)
    assert lines[-1].text == "\ufffd"


def is_dropped(number: int, some: Sequence[Frame], lost: Sequence[int]) -> bool:
    """Whether frame `number` is among the lost ones; the exit frame never is."""
    return number != len(some) - 1 and number in {other % len(some) for other in lost}


def lossy(chunks: Chunks, piece: int, lost: Sequence[int], redactor: Redactor) -> tuple[list[Line], list[Line | Gap]]:
    """What is told without and with the loss of those frames."""
    with pieces_of(piece):
        some = framed(chunks)
        kept = [frame for number, frame in enumerate(some) if not is_dropped(number, some, lost)]
        reader = Transcript(redactor)
        got = [event for frame in kept for event in told(reader.feed([frame]))]
        everything = lossless(some, redactor)
        assert got == followed(kept, redactor), "batching"
        assert reader.lines == len(everything), "the id of the final event"
    return everything, got


def untouched(chunks: Chunks, piece: int, lost: Sequence[int], kind: str) -> list[bool]:
    """For each piece of a stream: whether all of its line arrived, from the beginning to the first byte behind it."""
    with pieces_of(piece):
        some = framed(chunks)
    output, arrived = b"", b""
    for number, frame in enumerate(some):
        if frame.type == kind:
            output += frame.payload
            arrived += bytes([not is_dropped(number, some, lost)]) * len(frame.payload)
    whole: list[bool] = []
    for line in re.finditer(rb"([^\r\n]*)(\r\n|\r|\n|\Z)", output):
        if line[0]:
            start, end = line.span(1)
            ends = [min(start + n * piece, end) for n in range(1, pieces_in(line[1], piece) + 1)]
            whole += [all(arrived[start : end + 1]) for end in ends]
    return whole


SECRET = "s3cr3t-t0ken-9"
SECRET_PARTS = [SECRET.encode()[start:end] for start in range(0, 14, 3) for end in range(start + 1, 15, 4)]
SECRET_BYTES = st.lists(st.sampled_from([*SECRET_PARTS, SECRET.encode(), *ENDS, b"x", b"yy"]), max_size=16).map(
    b"".join
)


LOSSY_CHUNKS = st.lists(st.tuples(KINDS, BYTES | SECRET_BYTES), max_size=14)
LOST = st.lists(st.integers(0, 100), min_size=1, max_size=12)


@MANY
@given(LOSSY_CHUNKS, PIECES, LOST)
@example([(STDOUT, b"abc"), (HEARTBEAT, b"")], PIECE, [1])
@example([(STDOUT, b"abc"), (STDERR, b"lost"), (HEARTBEAT, b"")], PIECE, [2])
@example([(STDOUT, b"abc"), (STDERR, b"lost")], PIECE, [2])
@example([(STDOUT, "abc東".encode()), (STDOUT, b"xyz\nabc")], 4, [1])
@example([(STDOUT, b"lost\r"), (STDOUT, b"\nkept\n")], PIECE, [1])
def test_a_line_is_delivered_as_without_loss_or_counted_in_one_gap(
    chunks: Chunks, piece: int, lost: list[int]
) -> None:
    everything, got = lossy(chunks, piece, lost, Redactor([SECRET]))
    lines = [event for event in got if isinstance(event, Line)]
    gaps = [event for event in got if isinstance(event, Gap)]
    assert set(lines) <= set(everything)
    assert [event.id for event in got] == sorted({event.id for event in got})
    numbers = [line.id for line in lines] + [gap.id - n for gap in gaps for n in range(gap.missing)]
    assert sorted(numbers) == [line.id for line in everything]
    missing = Counter(line.stream for line in everything)
    missing.subtract(line.stream for line in lines)
    for gap in gaps:
        assert gap.missing > 0
        missing[gap.stream] -= gap.missing
    assert not any(missing.values())


@MANY
@given(LOSSY_CHUNKS, PIECES, LOST)
@example([(STDOUT, b"one\ntwo\nthree"), (STDOUT, b"lost"), (STDOUT, b"end\nfour\n"), (STDOUT, b"five\n")], PIECE, [2])
def test_only_lines_that_a_loss_touches_are_missing(chunks: Chunks, piece: int, lost: list[int]) -> None:
    everything, got = lossy(chunks, piece, lost, Redactor([SECRET]))
    for kind, name in NAMES.items():
        delivered = [line in got for line in everything if line.stream == name]
        assert delivered == untouched(chunks, piece, lost, kind)


@MANY
@given(st.lists(st.tuples(KINDS, BYTES), max_size=14), PIECES, st.sets(st.integers(0, 40)))
def test_no_loss_raises_even_that_of_the_end(chunks: Chunks, piece: int, lost: set[int]) -> None:
    with pieces_of(piece):
        kept = [frame for number, frame in enumerate(framed(chunks)) if number not in lost]
        reader = Transcript(NOTHING)
        got = told([*reader.feed(kept), *reader.finish()])
    assert [event.id for event in got] == sorted({event.id for event in got})
    assert reader.lines == (got[-1].id if got else 0)


def test_without_an_exit_frame_the_last_unfinished_lines_are_still_told_once() -> None:
    reader = Transcript(NOTHING)
    reader.feed(framed([(STDOUT, b"one\ntwo"), (STDERR, b"three")])[:-1])
    assert told(reader.finish()) == [Line(2, "stdout", "two"), Line(3, "stderr", "three")]
    assert reader.finish() == []


def test_a_log_that_begins_late_tells_what_is_missing() -> None:
    some = framed([(STDOUT, b"one\n" * 500), (STDERR, b"e\n"), (STDOUT, b"half"), (STDOUT, b" lost\nkept\n")])
    assert followed(some[4:]) == [
        Gap(500, "stdout", 500),
        Gap(501, "stderr", 1),
        Gap(502, "stdout", 1),
        Line(503, "stdout", "kept"),
    ]


@pytest.mark.parametrize("chunk", [1, 3, 7, 40])
@pytest.mark.parametrize("piece", [5, 16, 41, PIECE])
@pytest.mark.parametrize(
    "form", [SECRET, b64encode(SECRET.encode()).decode(), b64encode(f"xy{SECRET}".encode()).decode()]
)
def test_a_credential_is_masked_however_it_is_cut(form: str, piece: int, chunk: int) -> None:
    output = f"{form}{form}\nbearer: {form}, again {form}x{form[:-1]}\n{form}".encode()
    chunks: Chunks = [(STDOUT, output[start : start + chunk]) for start in range(0, len(output), chunk)]
    assert_as_read_line_by_line(chunks, Redactor([SECRET]), piece)


@MANY
@given(
    st.lists(st.text("ab", min_size=8, max_size=11), min_size=1, max_size=4),
    st.lists(st.tuples(STREAM_NAMES, st.text("ab", max_size=40).map(str.encode)), max_size=8),
    st.sampled_from([8, 9, 20]),
)
@example(["abababab"], [(STDOUT, b"x" * 12 + b"abababab"), (STDOUT, b"zz")], 20)
@example(["aaaabbbb", "bbbbcccc"], [(STDOUT, b"x" * 12 + b"aaaabbbb"), (STDOUT, b"zz")], 20)
def test_values_that_overlap_are_masked_in_pieces_as_in_the_whole_line(
    values: list[str], chunks: Chunks, piece: int
) -> None:
    assert_as_read_line_by_line(chunks, Redactor(values), piece)


BINARY = [
    b"\x80\x81" + "東京".encode() + b"\xe2\x82",
    b"\xe2\x82\x81\xf0\x9f\x97" + "é".encode(),
    b"\xffsecret\xe2\x82",
]
BINARY_PARTS = [value[start:end] for value in BINARY for start in (0, 2, 5) for end in (3, 6, 8, len(value))]


@MANY
@given(
    st.lists(st.tuples(STREAM_NAMES, st.lists(st.sampled_from(BINARY + BINARY_PARTS + WORDS + TEXTS)).map(b"".join))),
    PIECES,
)
@example([(STDOUT, b"x" * 8 + BINARY[0]), (STDOUT, b"y" * 16)], 16)
def test_a_value_that_is_no_text_is_masked_and_cuts_no_character(chunks: Chunks, piece: int) -> None:
    redactor = Redactor(b64encode(value).decode() for value in BINARY)
    assert_as_read_line_by_line(chunks, redactor, piece)


def test_a_credential_across_the_real_piece_boundary_is_masked_at_every_place() -> None:
    redactor = Redactor([SECRET])
    for place in range(PIECE - len(SECRET) - 1, PIECE + 2):
        line = b"x" * place + SECRET.encode() + b"y" * 10
        chunks: Chunks = [(STDERR, line[:PIECE]), (STDERR, line[PIECE:])]
        lines = lossless(framed(chunks), redactor)
        assert "".join(line.text for line in lines) == "x" * place + MASK.decode() + "y" * 10


def test_a_line_that_never_ends_is_not_kept() -> None:
    for output in (b"aaaabbbb" * 40_000, b"ab" * 160_000, b"x" * 320_000):
        reader = Transcript(Redactor(["aaaabbbb", "bbbbaaaa", "abababab"]))
        reader.feed(framed([(STDOUT, output)])[:-1])
        (rest,) = told(reader.finish())
        assert isinstance(rest, Line)
        assert len(rest.text) < 2 * PIECE


@pytest.mark.parametrize(
    ("seq", "lines"),
    [
        pytest.param(1, 2, id="a line that does not count"),
        pytest.param(1, 9, id="lines that are not there"),
        pytest.param(7, 0, id="fewer than before"),
    ],
)
def test_frames_that_contradict_each_other_make_no_events(seq: int, lines: int) -> None:
    """Found by fuzzing: an event that counts other lines than it has would break every stream that it comes to."""
    first = Frame(0, STDOUT, (2, 8, 0, 0), 0, b"one\ntwo\n")
    with pytest.raises(Contradiction):
        Transcript(NOTHING).feed([first, Frame(seq, STDOUT, (lines, 8, 0, 0), 0, b"3\n")])
