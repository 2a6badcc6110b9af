"""How much output of a run is passed on, where the policy sets a limit. Pure.

Counted are the lines as they are sent, masked and in UTF-8, each with one byte for its end. The first line that does
not fit passes the limit; it and what comes after it are not sent. So every replica makes the same events of a run.
"""

from collections.abc import Iterable

from k8s_mcp.models import Ended, Event, Output

REASON = "OutputLimit"


class OutputLimit:
    """Counts one run's output. `most` is in bytes; None sets no limit."""

    def __init__(self, most: int | None) -> None:
        self.passed = False
        self.last_id = 0
        """Of the last event that was let through."""
        self._most = most
        self._left = most

    def cut(self, events: Iterable[Event]) -> list[Event]:
        """Those of the events that are still within the limit."""
        if self._left is None:
            return list(events)
        kept: list[Event] = []
        for event in events:
            within = None if self.passed else self._within(event)
            if within is not None:
                kept.append(within)
        return kept

    def ended(self) -> Ended:
        """How a run ends that has passed it."""
        message = f"the command wrote more than {self._most} bytes, the most that the policy allows; it was ended"
        return Ended("error", None, REASON, message)

    def _within(self, event: Event) -> Event | None:
        """The event, or as many of its lines as fit."""
        if not isinstance(event, Output):
            self.last_id = event.id or self.last_id
            return event
        left = self._left or 0
        if len(event.data) + 1 <= left:
            self._left = left - len(event.data) - 1
            self.last_id = event.last_id
            return event
        self.passed = True
        self.last_id = event.first_id - 1
        end = event.data.rfind(b"\n", 0, left)
        if end < 0:
            return None
        count = event.data.count(b"\n", 0, end) + 1
        self.last_id += count
        return Output(event.stream, event.first_id, count, event.data[:end])
