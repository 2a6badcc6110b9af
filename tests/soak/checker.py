"""What must hold for every run, whatever went wrong meanwhile. Pure: records in, what is wrong out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak.commands import CANCELLED
from tests.soak.follower import Follower
from tests.soak.workload import Record
from tests.support.events import Event

_MOST_CLOSED = 40
"""So often a run's stream may be closed without an end, by replicas that go or lose the cluster."""

_STARTS_LATE = 3.0
"""Seconds after its cancel within which a command may still start: or two thirds of what its start took. A node that
takes long to start a pod takes as long to hear that it is to go.
"""

_SEEN_WITHIN = 1.0
"""Seconds in which a node tells that a pod has started."""

_STARTS_WITHIN = 2.0
"""Seconds for which the API server may be away while a run is being started: the calls are tried again for longer."""

_NOT_MADE = {"ApiUnreachable", "InternalError", "ServiceUnavailable", "TooManyRequests"}
"""What the API server, or what answers in its place, has said to all tries of a call."""

_LAST_WORD_LOST = "its warm pod was out of reach, and its runner's word that nothing was started lost"
_UNSEEN = "followers were unseen while the API server was away"
_NOT_ASKED_AGAIN = "its Job could not be made, and without a key it was not asked for again"


@dataclass(frozen=True)
class Wrong:
    """One thing that must not be. `what` is its kind, in few words."""

    what: str
    detail: str


@dataclass(frozen=True)
class Weather:
    """What a verdict has to know. `outages`: of any replica's API server, and `nonsense`: when it often answered with
    that, or took seconds to; `kills`: when replicas were killed, `goings`: when they were killed or told to end.
    """

    resume_window: float
    outages: Sequence[tuple[float, float]] = ()
    kills: Sequence[float] = ()
    nonsense: Sequence[tuple[float, float]] = ()
    slow: Sequence[tuple[float, float]] = ()
    goings: Sequence[float] = ()


@dataclass
class Verdict:
    """`excused`: why an ending other than the command's own is right."""

    wrong: list[Wrong] = field(default_factory=list[Wrong])
    excused: str = ""


def judge(record: Record, starts: Sequence[float], weather: Weather) -> Verdict:
    """`starts`: when the run's command was started, by its own account."""
    verdict = Verdict()
    if record.planned.mode == "retried" and _again_after_the_end(record, starts):
        verdict.excused = "the request came again after the end was delivered"
    else:
        verdict.wrong += _executions(record, starts, weather)
    if record.overdue:
        verdict.wrong.append(Wrong("never ended", "its clients gave up waiting"))
        return verdict
    for follower in record.followers:
        verdict.wrong += (Wrong(_kind(problem), problem) for problem in follower.problems)
        if follower.closed_early > _MOST_CLOSED:
            verdict.wrong.append(Wrong("stream lost again and again", f"{follower.closed_early} times"))
        verdict.wrong += lines(follower, record, weather, starts)
        wrong, excuse = _ending(follower, record, weather, executed=bool(starts))
        verdict.wrong += wrong
        verdict.excused = verdict.excused or excuse
    verdict.wrong += _agreement(record)
    return verdict


def _kind(problem: str) -> str:
    return problem.partition(":")[0]


def _executions(record: Record, starts: Sequence[float], weather: Weather) -> Iterator[Wrong]:
    if len(starts) > 1:
        times = ", ".join(f"{at - record.began:.1f}" for at in starts)
        yield Wrong("executed twice", f"{times} s after its beginning")
    if not starts and any(final["status"] in ("done", "timeout") for final in _finals(record)):
        yield Wrong("never executed, though it ended", str(_finals(record)))
    late = max(_STARTS_LATE, (starts[0] - record.began) * 2 / 3) if starts else 0
    if starts and record.cancelled and starts[0] > record.cancelled + late:
        if _longest([*weather.outages, *weather.nonsense, *weather.slow], record.cancelled, starts[0]) > 0:
            return  # its owner, cut off, did not know yet, or its call to start it was under way
        yield Wrong("executed after it was cancelled", f"{starts[0] - record.cancelled:.1f} s later")


def _again_after_the_end(record: Record, starts: Sequence[float]) -> bool:
    """Whether one of two requests sent at once was held up until the other's run was over."""
    ends = [follower.ended_at for follower in record.followers if follower.ended]
    return len(starts) == 2 and bool(ends) and starts[1] > min(ends)


def _finals(record: Record) -> list[dict[str, Any]]:
    return [final for follower in record.followers for final in follower.finals]


def lines(follower: Follower, record: Record, weather: Weather, starts: Sequence[float] = ()) -> Iterator[Wrong]:
    """Whether they are the command's: in order, none twice, none missing but those that a gap names."""
    expected = {"stdout": record.planned.command.stdout, "stderr": record.planned.command.stderr}
    seen = {"stdout": 0, "stderr": 0}
    last = 0
    for event in follower.numbered:
        assert event.id is not None
        if event.name == "control":
            control = event.control
            if control["status"] != "gap":
                if event.id != last + 1:
                    yield Wrong("lines lost without a gap", f"the end has id {event.id}, the line before it {last}")
                continue
            if not record.hurt and not _went_unread(record, weather, starts):
                yield Wrong("gap without a cause", event.data)
            stream = control["stream"] or "stdout"
            seen[stream] += control["missing"]
            last = event.id
            continue
        if event.id != last + 1:
            yield Wrong("lines lost without a gap", f"id {event.id} after {last}")
            return
        last = event.id
        if not _is_wanted(event, follower, expected[event.name], seen[event.name]):
            which = f"line {seen[event.name] + 1} of {event.name} (id {event.id})"
            yield Wrong("another line than the command's", f"{which}: {event.data[:200]!r}")
            return
        seen[event.name] += 1
    if follower.finals and follower.finals[0]["status"] == "done":
        short = {name: len(wanted) - seen[name] for name, wanted in expected.items() if len(wanted) > seen[name]}
        if short:
            yield Wrong("lines lost without a gap", f"at the end, {short}")


def _is_wanted(event: Event, follower: Follower, wanted: Sequence[str], number: int) -> bool:
    """Whether it is that line, or of a command that was ended within it what it wrote last: `seq` writes blocks of
    4,096 bytes.
    """
    if number >= len(wanted) or wanted[number] == event.data:
        return number < len(wanted)
    is_last = event is [other for other in follower.numbered if other.name == event.name][-1]
    was_ended = bool(follower.finals) and follower.finals[0]["status"] != "done"
    return is_last and was_ended and wanted[number].startswith(event.data)


def _went_unread(record: Record, weather: Weather, starts: Sequence[float]) -> bool:
    """Whether the pod of a cancelled run can have gone before its log was reached: over a slow API server, by the
    replica that came behind its owner, or before it was seen to have started.
    """
    since = record.cancelled
    if since is None:
        return False
    if any(at > since - _SEEN_WITHIN for at in starts):
        return True
    return _longest(weather.slow, since, record.ended) > 0 or any(
        since - 1 <= at <= record.ended for at in weather.goings
    )


def _ending(follower: Follower, record: Record, weather: Weather, *, executed: bool) -> tuple[list[Wrong], str]:
    """What is wrong with it, and why another ending than the command's is right."""
    if record.planned.mode == "leaving" and not follower.ended:
        return [], ""
    if record.hurt and (follower.gone or follower.finals[0]["status"] == "error"):
        return [], record.hurt[0].text
    if follower.gone:
        if not follower.run_id:
            return [], "without a key it could not be asked for again"
        if any(other.ended for other in record.followers):
            return [], "the end was delivered to another client"
        if not executed and _killed(record, weather):
            return [], "its replica was killed before it had a Job"
        if _longest(weather.outages, record.began, record.ended) > weather.resume_window / 2:
            return [], _UNSEEN
        return [Wrong("end lost", f"no replica knows the run any more, after {len(follower.numbered)} events")], ""
    own, final = record.planned.command.ending, follower.finals[0]
    excuse = "" if final == own else _why_another(final, record, weather, executed=executed)
    if final == own or excuse:
        return [], excuse
    alone = longest_alone(record)
    return [Wrong("wrong ending", f"{final} instead of {own}; longest without a client: {alone:.1f} s")], ""


def _why_another(final: dict[str, Any], record: Record, weather: Weather, *, executed: bool) -> str:
    """Why an ending that is not the command's own is right; empty when it is not."""
    outage, nonsense = (
        _longest(spells, record.began, record.ended) for spells in (weather.outages, weather.nonsense)
    )
    if record.planned.command.ending == CANCELLED and not record.cancelled:
        return "its cancelling was never accepted"
    if final == CANCELLED and longest_alone(record) > weather.resume_window - 3:
        return "nobody followed for longer than the resume window"
    if outage > weather.resume_window / 2 and (final == CANCELLED or final.get("reason") == "NoExitFrame"):
        return _UNSEEN  # it was removed, perhaps when its command had ended and before that was read
    if final.get("reason") == "ReplicaLost" and not executed and _killed(record, weather):
        return "its replica was killed before its start, and its request did not come again"
    if final.get("reason") == "ApiUnreachable" and not executed and outage > _STARTS_WITHIN:
        return "it could not be started while the API server was away"
    if final.get("reason") in _NOT_MADE and not executed and nonsense > 0:
        return "it could not be made while the API server answered with nonsense"
    if final.get("reason") == "PodDeleted" and not executed:
        return _LAST_WORD_LOST
    if final.get("reason") == "ApiUnreachable" and not executed and record.planned.mode == "keyless":
        return _NOT_ASKED_AGAIN
    return ""


def longest_alone(record: Record) -> float:
    """Seconds for which no client followed the run at a stretch, before the last one was through with it."""
    followed = sorted(interval for follower in record.followers for interval in follower.connected)
    longest, until = 0.0, record.began
    for begin, end in followed:
        longest, until = max(longest, begin - until), max(until, end)
    return longest


def _status(event: Event) -> object:
    return event.control.get("status") if event.name == "control" else None


def _killed(record: Record, weather: Weather) -> bool:
    return any(record.began <= at <= record.ended for at in weather.kills)


def _longest(spells: Sequence[tuple[float, float]], since: float, until: float) -> float:
    """Seconds of the longest of them between these times."""
    overlaps = (min(end, until) - max(begin, since) for begin, end in spells)
    return max(overlaps, default=0.0)


def _agreement(record: Record) -> Iterator[Wrong]:
    """All who followed it, and who read it again, saw the same, as far as each came. Of a request that came again
    after the end there are two runs, each with its own order of lines.
    """
    everyone = [*record.followers, *([record.replayed] if record.replayed else [])]
    for other in everyone:
        first = next(one for one in everyone if one.run_id == other.run_id)
        for one, another in zip(first.numbered, other.numbered, strict=False):
            if one != another:
                if record.hurt and "error" in (_status(one), _status(another)):
                    break  # its log went with its pod, and its owner perhaps before: the end is where each client is
                yield Wrong("clients saw different events", f"{one} and {another}")
                break
