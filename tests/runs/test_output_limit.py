"""Output within the limit is sent, to the byte; the first line that does not fit ends it."""

import random
from itertools import pairwise

import pytest

from k8s_mcp.models import Event, Output, gap
from k8s_mcp.runs.output_limit import OutputLimit


def output(first_id: int, *lines: str) -> Output:
    return Output("stdout", first_id, len(lines), "\n".join(lines).encode())


@pytest.mark.parametrize(
    ("most", "kept"),
    [(1, []), (3, []), (4, ["one"]), (7, ["one"]), (8, ["one", "two"]), (13, ["one", "two"])],
)
def test_whole_lines_up_to_the_limit(most: int, kept: list[str]) -> None:
    limit = OutputLimit(most)
    events = limit.cut([output(1, "one", "two", "three")])
    assert events == ([output(1, *kept)] if kept else [])
    assert limit.passed
    assert limit.last_id == len(kept)
    assert limit.cut([output(4, "")]) == []  # not even what would fit


@pytest.mark.parametrize("most", [14, 15, None])
def test_exactly_the_limit_is_no_error(most: int | None) -> None:
    limit = OutputLimit(most)
    events = [output(1, "one", "two", "three")]
    assert limit.cut(events) == events
    assert not limit.passed


def test_lost_lines_do_not_count_and_keep_their_ids() -> None:
    limit = OutputLimit(8)
    events: list[Event] = [output(1, "one"), gap("stdout", 5, 6), output(7, "two", "three")]
    assert limit.cut(events) == [output(1, "one"), gap("stdout", 5, 6), output(7, "two")]
    assert limit.last_id == 7


def test_empty_lines_count_for_their_ends() -> None:
    limit = OutputLimit(3)
    assert limit.cut([output(1, "", "", "", "")]) == [output(1, "", "", "")]


def test_however_output_is_grouped_the_same_lines_are_sent() -> None:
    chance = random.Random(1)
    lines = ["x" * chance.randrange(9) for _ in range(300)]
    sent: set[tuple[bytes, int]] = set()
    for _ in range(50):
        cuts = sorted({0, len(lines), *chance.choices(range(len(lines)), k=20)})
        limit = OutputLimit(777)
        events = [output(begin + 1, *lines[begin:end]) for begin, end in pairwise(cuts)]
        kept = [event for event in limit.cut(events) if isinstance(event, Output)]
        sent.add((b"\n".join(event.data for event in kept), limit.last_id))
    assert len(sent) == 1
    [(text, _)] = sent
    assert 777 - 9 <= len(text) + 1 <= 777


def test_end_says_the_limit() -> None:
    ended = OutputLimit(1000).ended()
    assert (ended.status, ended.exit_code, ended.reason) == ("error", None, "OutputLimit")
    assert "1000 bytes" in ended.message
