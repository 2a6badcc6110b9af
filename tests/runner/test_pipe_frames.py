"""Raw frames: the local executor's pipe carries every byte as it is, however cut; a pod's log never has one."""

import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_mcp.runner.frames import EXIT, HELLO, PIECE, STDERR, STDOUT, TAG, Decoder, Encoder, Frame, PipeDecoder

PARTS = [b"\n", b"\r", b"\r\n", b"word", b"\0", b"\xff", b"k8sm1 ", b"k8sm1 00000000 1 o 1 1 0 0 0 r 5\nhello"]
OUTPUT = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map(b"".join) | st.binary(min_size=1, max_size=50)
CHUNKS = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), OUTPUT), max_size=12)
CUTS = st.lists(st.integers(0, 2000), max_size=10)


def encoded(chunks: list[tuple[str, bytes]], encoder: Encoder) -> bytes:
    hello = encoder.control(HELLO)
    output = [encoder.output(stream, chunk) for stream, chunk in chunks]
    return b"".join([hello, *output, encoder.control(EXIT, "done 0")])


def what_matters(frames: list[Frame]) -> list[tuple[object, ...]]:
    return [tuple(getattr(frame, name) for name in Frame.__slots__) for frame in frames]


@settings(max_examples=150, deadline=None)
@given(CHUNKS, CUTS)
def test_a_pipe_cut_anywhere_says_the_same_as_a_log(chunks: list[tuple[str, bytes]], cuts: list[int]) -> None:
    text = encoded(chunks, Encoder(raw=True))
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    decoder = PipeDecoder()
    frames = [frame for start, end in pairwise(places) for frame in decoder.feed(text[start:end])]
    assert what_matters(frames) == what_matters(Decoder().feed(encoded(chunks, Encoder(limit=4 * PIECE))))


def test_a_full_chunk_is_one_frame_as_long_as_itself_and_a_header() -> None:
    chunk = bytes(range(256)) * (PIECE // 256)
    text = Encoder(raw=True).output(STDOUT, chunk)
    assert text.endswith(chunk)
    assert len(text) < PIECE + 100
    assert [frame.payload for frame in PipeDecoder().feed(text)] == [chunk]


def test_lines_that_are_no_frames_are_passed_over() -> None:
    text = encoded([(STDOUT, b"one\n")], Encoder(raw=True))
    frames = PipeDecoder().feed(b"Traceback\n" + text.replace(b"\nk8sm1", b"\nnoise\nk8sm1"))
    assert [frame.type for frame in frames] == [HELLO, STDOUT, EXIT]


def test_a_log_holds_no_raw_frames() -> None:
    decoder = Decoder()
    frames = decoder.feed(encoded([(STDOUT, b"one\n")], Encoder(raw=True)))
    assert [frame.type for frame in frames] == [HELLO, EXIT]
    assert decoder.foreign


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"1 o 1 6 0 0 0 r -30", id="a size that leads back"),
        pytest.param(b"1 o 1 6 0 0 0 r " + b"9" * 5000, id="a size of 5,000 digits"),
        pytest.param(b"1 o 1 6 0 0 0 r 65537", id="more than a frame has"),
        pytest.param(b"1 o 1 6 0 0 0 r five", id="no number"),
        pytest.param(b"1 o 1 6 0 0 0 b A", id="half a group of base64"),
        pytest.param(b"1 o 1 6 0 0 65537 b QQ==", id="a column behind the longest piece"),
    ],
)
def test_a_frame_with_nonsense_in_it_is_passed_over(rest: bytes) -> None:
    """Each was found by fuzzing, or follows from what was."""
    text = encoded([(STDOUT, b"one\n")], Encoder(raw=True))
    frames = PipeDecoder().feed(b"%b %08x %b\n" % (TAG, zlib.crc32(rest), rest) + text)
    assert [frame.type for frame in frames] == [HELLO, STDOUT, EXIT]
