"""The event stream: whatever a command prints, a client that follows the specification reads exactly that."""

import json
import re
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_mcp.models import Control, Ended, Event, Output, StreamName, final_event, gap
from k8s_mcp.web.sse import PING, encode

MANY = settings(max_examples=200, deadline=None)
LIKE_FIELDS = [
    "",
    " ",
    "  two spaces first",
    ":",
    ": ping",
    "data: x",
    "id: 7",
    "id:",
    "event: control",
    "retry: 1",
    '{"status": "done", "exit_code": 0}',
    "\0",
    "a\0b",
    "\ufeff",
    "\u2028\u2029\x85\v\f\x1c",
    "東京 🗼",
]
LINES = st.sampled_from(LIKE_FIELDS) | st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20
)
STREAMS = st.sampled_from(["stdout", "stderr"])
BLOCKS = st.lists(st.tuples(STREAMS, st.lists(LINES, min_size=1, max_size=8)), max_size=6)
FIRST_IDS = st.integers(1, 2000) | st.sampled_from([9, 10, 99, 999, 1000, 1001, 999_999, 10**9 - 1])


class Message(NamedTuple):
    name: str
    data: str
    last_id: str


def received(stream: bytes) -> list[Message]:
    """What an EventSource makes of it, by section 9.2.6: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    messages: list[Message] = []
    name, data, last_id = "", "", ""
    *lines, _unfinished = re.split("\r\n|\n|\r", stream.decode("utf-8-sig"))
    for line in lines:
        if not line:
            if data:
                messages.append(Message(name or "message", data.removesuffix("\n"), last_id))
            name, data = "", ""
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data += value + "\n"
        elif key == "id" and "\0" not in value:
            last_id = value
    return messages


def block(stream: StreamName, first_id: int, lines: list[str]) -> Output:
    return Output(stream, first_id, len(lines), "\n".join(lines).encode())


@MANY
@given(BLOCKS, FIRST_IDS)
@example([("stdout", LIKE_FIELDS), ("stderr", LIKE_FIELDS)], 1)
def test_every_line_is_one_event_with_its_own_id_and_nothing_else(
    blocks: list[tuple[StreamName, list[str]]], first_id: int
) -> None:
    events: list[Event] = []
    expected: list[Message] = []
    for stream, lines in blocks:
        events.append(block(stream, first_id, lines))
        expected += [Message(stream, line, str(first_id + n)) for n, line in enumerate(lines)]
        first_id += len(lines)
    assert received(encode(events)) == expected
    assert b"".join(encode([event]) for event in events) == encode(events)


@pytest.mark.parametrize("first_id", [1, 2, 9, 10, 99, 100, 999, 1000, 1001, 9999, 999_999, 1_000_000, 10**9, 10**15])
@pytest.mark.parametrize("count", [1, 2, 10, 999, 1000, 1001, 2500])
def test_ids_are_the_lines_numbers_at_every_boundary(first_id: int, count: int) -> None:
    messages = received(encode([block("stdout", first_id, [f"line {n}" for n in range(count)])]))
    assert [message.last_id for message in messages] == [str(first_id + n) for n in range(count)]
    assert [message.data for message in messages] == [f"line {n}" for n in range(count)]


def test_an_output_event_is_written_as_documented() -> None:
    assert encode([block("stderr", 41, ["one", " two"])]) == (
        b"event: stderr\ndata: one\nid: 41\n\nevent: stderr\ndata:  two\nid: 42\n\n"
    )


TEXTS = st.text(max_size=20) | st.sampled_from(
    ["\n\nevent: stdout\ndata: forged\n\n", "\r\rid: 9\r\r", "\ud800", "\ufeff"]
)


@MANY
@given(st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), min_size=1), st.none() | FIRST_IDS)
def test_a_control_event_is_one_event_whatever_its_text(data: dict[str, object], number: int | None) -> None:
    (message,) = received(encode([Control(data, number)]))
    as_sent = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()
    assert message.name == "control"
    assert json.loads(message.data) == json.loads(as_sent)
    assert message.last_id == ("" if number is None else str(number))


def test_a_control_event_without_an_id_leaves_the_last_id_as_it_was() -> None:
    events = [block("stdout", 7, ["x"]), Control({"status": "pending"}), gap("stdout", 2, 9)]
    assert [message.last_id for message in received(encode(events))] == ["7", "7", "9"]


@pytest.mark.parametrize(
    ("ended", "data"),
    [
        (Ended("done", 0), {"status": "done", "exit_code": 0}),
        (Ended("timeout", 124), {"status": "timeout", "exit_code": 124, "timeout": 300}),
        (Ended("cancelled"), {"status": "cancelled", "exit_code": None}),
        (
            Ended("error", 137, "OOMKilled", "no\nmemory"),
            {"status": "error", "exit_code": 137, "reason": "OOMKilled", "message": "no\nmemory"},
        ),
    ],
)
def test_the_final_event_has_exactly_the_documented_fields(ended: Ended, data: dict[str, object]) -> None:
    (message,) = received(encode([final_event(ended, 300, 12)]))
    assert (message.name, json.loads(message.data), message.last_id) == ("control", data, "12")


def test_a_ping_is_no_event() -> None:
    assert received(PING) == []
    assert received(PING + encode([block("stdout", 1, ["x"])]) + PING) == [Message("stdout", "x", "1")]


def test_no_events_are_no_bytes() -> None:
    assert encode([]) == b""
