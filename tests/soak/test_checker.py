"""The checker finds what is wrong, and only that: a soak without findings says something."""

import json
from collections.abc import Sequence
from random import Random

import httpx
import pytest

from tests.soak.checker import Weather, judge
from tests.soak.commands import CANCELLED, Command, done
from tests.soak.follower import Follower, Note
from tests.soak.plan import Planned
from tests.soak.workload import Record
from tests.support.events import Event

_WEATHER = Weather(resume_window=20)
_DONE = done(0)
_LINES = ["one", "two", "three"]


def line(number: int, text: str, stream: str = "stdout") -> Event:
    return Event(stream, text, number, 0)


def control(number: int, **data: object) -> Event:
    return Event("control", json.dumps(data), number, 0)


def whole() -> list[Event]:
    return [*(line(number, text) for number, text in enumerate(_LINES, 1)), control(4, **_DONE)]


def follower(events: Sequence[Event], connected: Sequence[tuple[float, float]] = ((100, 110),)) -> Follower:
    one = Follower(httpx.AsyncClient(), ["http://127.0.0.1:1"], {}, "key", Random(1))
    one.run_id = "0" * 32
    one.numbered = list(events)
    one.finals = [event.control for event in events if event.is_final]
    one.connected = list(connected)
    one.gone = not one.finals
    return one


def record(*followers: Follower, mode: str = "alone", command: Command | None = None) -> Record:
    planned = Planned(1, "instant", command or Command("…", _LINES), mode, stored=False, seed="1-1")
    return Record(planned, list(followers), began=100, ended=110)


def found(one: Record, starts: Sequence[float] = (101,), weather: Weather = _WEATHER) -> list[str]:
    return [wrong.what for wrong in judge(one, starts, weather).wrong]


def test_a_run_as_it_should_be_is_right() -> None:
    assert found(record(follower(whole()), follower(whole()))) == []


def test_a_gap_that_a_fault_explains_is_right() -> None:
    events = [line(1, "one"), control(3, status="gap", stream="stdout", missing=2), control(4, **_DONE)]
    hurt = record(follower(events))
    assert found(hurt) == ["gap without a cause"]
    hurt.hurt.append(Note(105, "pod deleted"))
    assert found(hurt) == []


@pytest.mark.parametrize(
    ("events", "what"),
    [
        pytest.param([*whole()[:1], *whole()[2:]], "lines lost without a gap", id="a line is missing"),
        pytest.param([*whole()[:2], control(3, **_DONE)], "lines lost without a gap", id="the last line is missing"),
        pytest.param(
            [*whole()[:3], control(9, **_DONE)], "lines lost without a gap", id="ids are skipped before the end"
        ),
        pytest.param(
            [line(1, "one"), line(2, "one"), line(3, "two"), control(4, **_DONE)],
            "another line than the command's",
            id="a line comes twice",
        ),
        pytest.param([*whole()[:3], control(4, **done(1))], "wrong ending", id="another exit code"),
        pytest.param([*whole()[:3], control(4, **CANCELLED)], "wrong ending", id="cancelled by nobody"),
        pytest.param(
            [*whole()[:3], control(4, status="error", exit_code=None, reason="PodDeleted")],
            "wrong ending",
            id="an error without a cause",
        ),
        pytest.param(whole()[:2], "end lost", id="no end"),
    ],
)
def test_what_is_wrong_with_a_stream_is_found(events: list[Event], what: str) -> None:
    assert what in found(record(follower(events)))


def test_a_command_that_is_ended_within_a_line_leaves_a_part_of_it() -> None:
    ended = [line(1, "one"), line(2, "tw"), control(3, **CANCELLED)]
    stopped = record(follower(ended), command=Command("…", _LINES, ending=CANCELLED))
    stopped.cancelled = 105
    assert found(stopped) == []
    for events in ([*ended[:2], control(3, **_DONE)], [*ended[:2], line(3, "three"), control(4, **CANCELLED)]):
        assert "another line than the command's" in found(record(follower(events)))


def test_ids_that_do_not_grow_are_found() -> None:
    one = follower([])
    for event in (whole()[0], whole()[1], whole()[0]):
        one.take(event)
    assert [problem.partition(":")[0] for problem in one.problems] == ["repeated"]


def test_anything_after_the_end_is_found() -> None:
    one = follower([])
    for event in (*whole(), whole()[0]):
        one.take(event)
    assert one.problems[0].startswith("after the final event")


@pytest.mark.parametrize(
    ("starts", "what"), [((101, 107), "executed twice"), ((), "never executed, though it ended")]
)
def test_how_often_it_was_executed_is_checked(starts: tuple[float, ...], what: str) -> None:
    assert found(record(follower(whole())), starts) == [what]


def test_a_request_that_comes_again_after_its_end_may_start_another_run() -> None:
    for mode, expected in (("retried", []), ("alone", ["executed twice"])):
        one = follower(whole())
        one.ended_at = 106
        assert found(record(one, mode=mode), (101, 107)) == expected
        assert "executed twice" in found(record(one, mode=mode), (101, 105))


def test_the_two_runs_of_such_a_request_may_differ_in_their_order() -> None:
    one, other = follower(whole()), follower([*whole()[:1], *whole()[2:]])
    one.run_id, other.run_id = "1", "2"
    assert "clients saw different events" not in found(record(one, other, mode="retried"), (101,))
    other.run_id = "1"
    assert "clients saw different events" in found(record(one, other, mode="retried"), (101,))


def test_a_start_long_after_the_cancel_is_found() -> None:
    command = Command("…", _LINES, ending=CANCELLED)
    one = record(follower([control(1, **CANCELLED)]), command=command)
    one.cancelled = 102
    assert found(one, ()) == []
    assert found(one, (103,)) == []
    assert found(one, (109,)) == ["executed after it was cancelled"]
    assert found(one, (109,), Weather(20, [(90, 101)])) == ["executed after it was cancelled"]
    assert found(one, (109,), Weather(20, [(90, 103)])) == [], "its owner may have been cut off"


def test_clients_that_saw_different_events_are_found() -> None:
    other = [*whole()[:3], control(4, **done(1))]
    assert "clients saw different events" in found(record(follower(whole()), follower(other)))


def test_a_run_that_nobody_followed_may_be_cancelled() -> None:
    events = [line(1, "one"), control(2, **CANCELLED)]
    for gap, expected in ((5.0, ["wrong ending"]), (25.0, [])):
        connected = [(100.0, 101.0), (101.0 + gap, 110.0 + gap)]
        assert found(record(follower(events, connected))) == expected


def test_an_end_that_another_client_got_may_be_gone() -> None:
    assert found(record(follower(whole()), follower(whole()[:2]))) == []


def test_without_a_key_a_run_whose_answer_was_lost_may_have_been_or_not() -> None:
    for starts, expected in (((), []), ((101,), []), ((101, 102), ["executed twice"])):
        one = follower([])
        one.run_id, one.gone = "", True
        assert found(record(one, mode="keyless"), starts) == expected


@pytest.mark.parametrize(
    ("reason", "mode", "expected"),
    [
        ("PodDeleted", "alone", []),
        ("PodDeleted", "keyless", []),
        ("ApiUnreachable", "keyless", []),
        ("ApiUnreachable", "alone", ["wrong ending"]),
    ],
)
def test_a_run_may_end_so_if_it_was_not_executed(reason: str, mode: str, expected: list[str]) -> None:
    failed = [control(1, status="error", exit_code=None, reason=reason)]
    assert found(record(follower(failed), mode=mode), ()) == expected
    assert found(record(follower(failed), mode=mode), (101,)) == ["wrong ending"]


def test_a_client_that_left_for_ever_needs_no_end() -> None:
    one = follower(whole()[:2])
    one.gone = False
    assert found(record(one, mode="leaving")) == []


def test_a_run_that_does_not_end_is_found() -> None:
    one = record(follower([]))
    one.overdue = True
    assert found(one) == ["never ended"]


@pytest.mark.parametrize(
    ("outage", "starts", "expected"),
    [((99, 105), (), []), ((99, 101), (), ["wrong ending"]), ((99, 105), (101,), ["wrong ending"])],
)
def test_what_cannot_be_started_in_an_outage_may_end_so(
    outage: tuple[float, float], starts: Sequence[float], expected: list[str]
) -> None:
    error = control(1, status="error", exit_code=None, reason="ApiUnreachable", message="…")
    assert found(record(follower([error])), starts, Weather(20, [outage])) == expected


@pytest.mark.parametrize(
    ("kills", "starts", "expected"),
    [((100.5,), (), []), ((), (), ["wrong ending"]), ((100.5,), (101,), ["wrong ending"])],
)
def test_what_was_not_started_when_its_replica_was_killed_may_end_as_lost(
    kills: Sequence[float], starts: Sequence[float], expected: list[str]
) -> None:
    error = control(1, status="error", exit_code=None, reason="ReplicaLost", message="…")
    assert found(record(follower([error])), starts, Weather(20, (), kills)) == expected


@pytest.mark.parametrize(
    ("reason", "nonsense", "starts", "expected"),
    [
        ("InternalError", (100, 104), (), []),
        ("ApiUnreachable", (100, 104), (), []),
        ("InternalError", (90, 99), (), ["wrong ending"]),
        ("InternalError", (100, 104), (101,), ["wrong ending"]),
        ("JobDeleted", (100, 104), (), ["wrong ending"]),
    ],
)
def test_what_cannot_be_made_for_nonsense_may_end_so(
    reason: str, nonsense: tuple[float, float], starts: Sequence[float], expected: list[str]
) -> None:
    error = control(1, status="error", exit_code=None, reason=reason, message="…")
    assert found(record(follower([error])), starts, Weather(20, nonsense=[nonsense])) == expected


_CUT_SHORT = Command("…", _LINES, ending=CANCELLED, cancel_after=1)


@pytest.mark.parametrize(
    ("weather", "expected"),
    [
        (_WEATHER, ["gap without a cause"]),
        (Weather(20, slow=[(90, 102.5)]), ["gap without a cause"]),
        (Weather(20, slow=[(104, 105)]), []),
        (Weather(20, goings=[104]), []),
        (Weather(20, goings=[101, 111]), ["gap without a cause"]),
    ],
)
def test_the_log_of_a_cancelled_run_may_go_unread_when_its_owner_goes_or_is_slow(
    weather: Weather, expected: list[str]
) -> None:
    events = [control(2, status="gap", stream="stdout", missing=2), control(3, **CANCELLED)]
    cancelled = record(follower(events), command=_CUT_SHORT)
    cancelled.cancelled = 103
    assert found(cancelled, weather=weather) == expected
    assert found(cancelled, (102.5,), weather) == [], "its start was not seen yet"
    cancelled.cancelled = None
    assert "gap without a cause" in found(cancelled, weather=weather)


@pytest.mark.parametrize(
    ("start", "weather", "expected"),
    [
        (112, _WEATHER, ["executed after it was cancelled"]),
        (112, Weather(20, slow=[(103.5, 104)]), []),
        (112, Weather(20, slow=[(99, 102)]), ["executed after it was cancelled"]),
        (105.9, _WEATHER, []),
    ],
)
def test_a_command_may_start_behind_its_cancel_for_as_long_as_the_node_or_a_call_takes(
    start: float, weather: Weather, expected: list[str]
) -> None:
    cancelled = record(follower([line(1, "one"), control(2, **CANCELLED)]), command=_CUT_SHORT)
    cancelled.cancelled = 103
    assert found(cancelled, [start], weather) == expected


def test_on_a_node_that_takes_long_to_start_it_may_take_longer() -> None:
    cancelled = record(follower([line(1, "one"), control(2, **CANCELLED)]), command=_CUT_SHORT)
    cancelled.cancelled = 107
    assert found(cancelled, [115]) == []
    assert found(cancelled, [130]) == ["executed after it was cancelled"]


@pytest.mark.parametrize(("outage", "expected"), [((100, 109), ["end lost"]), ((97, 110.5), ["end lost"])])
def test_the_end_is_not_lost_by_a_short_outage(outage: tuple[float, float], expected: list[str]) -> None:
    assert found(record(follower([])), weather=Weather(20, [outage])) == expected


def test_a_run_whose_followers_were_unseen_for_long_may_be_gone() -> None:
    long = record(follower([]))
    long.ended = 130
    assert found(long, weather=Weather(20, [(105, 117)])) == []


def test_a_run_may_be_removed_unread_while_followers_are_unseen_and_not_otherwise() -> None:
    removed = record(follower([control(1, status="error", exit_code=None, reason="NoExitFrame", message="…")]))
    removed.ended = 130
    assert found(removed, weather=Weather(20, [(105, 117)])) == []
    assert found(removed, weather=Weather(20, [(105, 110)])) == ["wrong ending"]


def test_clients_of_a_run_that_was_hurt_may_come_to_its_end_at_different_places() -> None:
    error = control(1, status="error", exit_code=None, reason="PodDeleted", message="…")
    seen = follower([line(1, "one"), control(2, status="error", exit_code=None, reason="PodDeleted", message="…")])
    hurt = record(follower([error]), seen, mode="twice")
    assert "clients saw different events" in found(hurt)
    hurt.hurt.append(Note(105, "pod deleted"))
    assert found(hurt) == []
    hurt.followers[1].numbered[0] = line(1, "another")
    assert "another line than the command's" in found(hurt)
