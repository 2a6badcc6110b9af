"""`k8s-mcp runs replay --timed`: output comes when it came then; what has no times comes at once."""

from collections.abc import Iterator

import pytest

from k8s_mcp.cli.replay import paced
from k8s_mcp.client.event_source import Control, Event, Lines

ONE, TWO, END = Lines("stdout", b"1\n", 1), Lines("stderr", b"2\n", 2), Control({"status": "done", "exit_code": 0}, 3)
STARTED = Control({"status": "started"}, None)


def at(seconds: object) -> Control:
    return Control({"status": "at", "seconds": seconds}, None)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds


def test_events_come_as_far_apart_as_they_were_whatever_is_done_meanwhile() -> None:
    clock = Clock()
    seen: list[tuple[float, Event]] = []
    for event in paced([STARTED, at(2.5), ONE, at(4.0), TWO, END], clock.now, clock.sleep):
        seen.append((clock.time, event))
        clock.time += 0.5  # until it is written
    assert seen == [(1000.0, STARTED), (1000.5, ONE), (1002.0, TWO), (1002.5, END)]


def test_all_is_read_before_the_first_pause() -> None:
    """The service does not wait for a reader for hours."""
    given: list[Event] = []

    def stream() -> Iterator[Event]:
        for event in (at(0.0), ONE, at(3600.0), END):
            given.append(event)
            yield event

    next(iter(paced(stream(), lambda: 0.0, lambda _: None)))
    assert given[-1] == END


@pytest.mark.parametrize("seconds", ["1", None, {}, True])
def test_what_is_no_time_is_none(seconds: object) -> None:
    clock = Clock()
    assert list(paced([at(seconds), ONE, END], clock.now, clock.sleep))[-2:] == [ONE, END]
    assert clock.time == 1000.0
