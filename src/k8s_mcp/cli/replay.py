"""`k8s-mcp runs replay --timed`: a run's output at the times at which it came then."""

import time
from collections.abc import Callable, Generator, Iterable
from itertools import chain

from k8s_mcp.client.event_source import Control, Event
from k8s_mcp.client.remote_run import RemoteRun


class TimedRun(RemoteRun):
    """A run whose events come as they came, if the service knows when that was; else as they come."""

    def events(self) -> Generator[Event]:
        yield from paced(super().events(), time.monotonic, time.sleep)


def paced(events: Iterable[Event], now: Callable[[], float], sleep: Callable[[float], None]) -> Generator[Event]:
    """The events, each when it is its time, from the first one that has a time on."""
    coming = iter(events)
    for event in coming:
        first = seconds_of(event)
        if first is None:
            yield event
            continue
        began = now() - first
        # All at once from the service, which would not wait for us for long.
        for later in [*chain([event], coming)]:
            at = seconds_of(later)
            if at is None:
                yield later
            else:
                sleep(max(began + at - now(), 0))


def seconds_of(event: Event) -> float | None:
    """What an event says about when the next ones were sent, in seconds since the run was accepted."""
    if not isinstance(event, Control) or event.data.get("status") != "at":
        return None
    seconds = event.data.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None
