"""What the service writes, its client reads, wherever the connection cuts it into chunks."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp import models
from k8s_mcp.client.event_source import Control, Event, EventSource, Lines, NotOurs
from k8s_mcp.web import sse

LINES = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8),
        st.sampled_from(
            ["", "data: x", "id: 7", "event: control", ": ping", "\x00", "\x0b\x0c\x85\u2028\u2029", "{}"]
        ),
    ),
    min_size=1,
    max_size=20,
)
CONTROL = st.fixed_dictionaries({"status": st.sampled_from(["pending", "gap"]), "message": st.text(max_size=8)})


def outputs(first_id: int, stream: models.StreamName, lines: list[str]) -> models.Output:
    return models.Output(stream, first_id, len(lines), "\n".join(lines).encode())


def read(data: bytes, cuts: list[int]) -> list[Event]:
    source = EventSource()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [event for start, end in pairwise(edges) for event in source.feed(data[start:end])]


def joined(events: list[Event]) -> list[Event]:
    """Neighbouring lines of one stream as one event, however they were batched."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Lines) and isinstance(last, Lines) and event.stream == last.stream:
            result[-1] = Lines(last.stream, last.data + event.data, event.id)
        else:
            result.append(event)
    return result


@given(
    st.lists(st.one_of(st.tuples(st.sampled_from(["stdout", "stderr"]), LINES), CONTROL, st.none()), max_size=6),
    st.integers(0, 3000),
    st.lists(st.integers(0), max_size=8),
)
def test_reads_what_the_service_writes_wherever_it_is_cut(
    content: list[tuple[models.StreamName, list[str]] | dict[str, str] | None], last_id: int, cuts: list[int]
) -> None:
    data = b""
    expected: list[Event] = []
    for item in content:
        if item is None:
            data += sse.PING
        elif isinstance(item, dict):
            number = None if item["status"] == "pending" else (last_id := last_id + 1)
            data += sse.encode([models.Control(item, number)])
            expected.append(Control({**item}, number))
        else:
            stream, lines = item
            data += sse.encode([outputs(last_id + 1, stream, lines)])
            last_id += len(lines)
            expected.append(Lines(stream, "".join(f"{line}\n" for line in lines).encode(), last_id))
    assert joined(read(data, cuts)) == joined(expected)


def test_an_unfinished_event_is_no_event() -> None:
    data = sse.encode([outputs(1, "stdout", ["one", "two"])])
    assert read(data[:-1], []) == [Lines("stdout", b"one\n", 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"<html>\n\n</html>\n\n",
        b"event: stdout\ndata: one\ndata: two\nid: 1\n\n",
        b"event: stdout\ndata: without an id\n\n",
        b"event: message\ndata: one\nid: 1\n\n",
        b"event: control\ndata: no json\n\n",
        b"event: control\ndata: [1]\n\n",
        json.dumps({"a": 1}).encode() + b"\n\n",
    ],
)
def test_a_stream_that_the_service_does_not_write_is_not_taken_for_one(data: bytes) -> None:
    with pytest.raises(NotOurs):
        list(EventSource().feed(data))
