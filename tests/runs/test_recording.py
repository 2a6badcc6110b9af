"""What is kept of a run's output: its beginning and its end within a bound, and how much lies between."""

import pytest

from k8s_mcp.models import Control, Ended, Event, Output, final_event, gap
from k8s_mcp.runs.recording import Recording

FINAL = final_event(Ended("done", 0), 60, 10_001)


def recorded(most: int, *events: Event) -> list[Event]:
    recording = Recording(most)
    for event in events:
        recording.add(event)
    times = [at for at, _ in recording.kept()]
    assert times == sorted(times)
    return [event for _, event in recording.kept()]


def lines(events: list[Event]) -> list[tuple[int, bytes]]:
    """Every line and its id; a gap has those that it stands for."""
    found: list[tuple[int, bytes]] = []
    for event in events:
        if isinstance(event, Output):
            found += zip(range(event.first_id, event.last_id + 1), event.data.split(b"\n"), strict=True)
        elif event.data["status"] == "gap":
            missing = event.data["missing"]
            assert isinstance(missing, int)
            assert event.id is not None
            found += [(number, b"(gap)") for number in range(event.id - missing + 1, event.id + 1)]
    return found


def test_little_output_is_kept_as_it_was_sent() -> None:
    started = Control({"status": "started", "run_id": "r"})
    events: list[Event] = [Output("stdout", 1, 2, b"a\nb"), gap("stderr", 3, 5), Output("stderr", 6, 1, b""), FINAL]
    assert recorded(1 << 20, started, *events) == events


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000], ids=lambda size: f"{size} lines at a time")
def test_of_long_output_the_middle_goes_and_is_counted(size: int) -> None:
    whole = [b"%d %s" % (number, b"x" * (number % 40)) for number in range(1, 10_001)]
    events = [
        Output("stdout", first + 1, len(whole[first : first + size]), b"\n".join(whole[first : first + size]))
        for first in range(0, len(whole), size)
    ]
    most = 40_000
    kept = recorded(most, *events, FINAL)
    assert kept[-1] == FINAL
    found = lines(kept)
    assert [number for number, _ in found] == list(range(1, 10_001)), "no line is unaccounted for"
    assert all(line in (whole[number - 1], b"(gap)") for number, line in found)
    texts = [event.data for event in kept if isinstance(event, Output)]
    assert sum(map(len, texts)) <= most
    assert sum(map(len, texts)) > most / 5
    assert (found[0][1], found[-1][1]) == (whole[0], whole[-1])


def test_a_line_longer_than_the_bound_is_a_gap() -> None:
    kept = recorded(2000, Output("stderr", 1, 1, b"x" * 60_000), Output("stdout", 2, 1, b"end"), FINAL)
    assert kept == [gap("stderr", 1, 1), Output("stdout", 2, 1, b"end"), FINAL]


def test_what_both_streams_miss_is_one_gap_of_both() -> None:
    long = [Output(("stdout", "stderr")[n % 2], n + 1, 1, b"x" * 500) for n in range(100)]
    kept = recorded(4000, *long, gap("stdout", 5, 105), FINAL)
    between = [event for event in kept if isinstance(event, Control) and event.data["status"] == "gap"]
    assert between[0].data["stream"] is None
    assert [number for number, _ in lines(kept)] == list(range(1, 106))
