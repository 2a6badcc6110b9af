"""How many connections the service holds, whose requests they carry, and which goes when there are too many.

A connection is busy while a request of somebody known is in progress on it. Any other can be closed at any time: one
that has not sent its request yet, one kept open for the next request, one whose request is being refused. So whoever
opens connections and sends nothing keeps nobody out, and holds no more memory than the number allows.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from k8s_mcp.errors import TooManyRequests

HOLD = "k8s_mcp.hold"
"""In a request's scope: to be called when it is known who has sent it."""


@dataclass(eq=False)
class Slot:
    """The place of one connection. `drop` closes it at once."""

    address: str
    drop: Callable[[], None]


class Connections:
    """All connections, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: set[Slot] = set()
        self._free: dict[str, dict[Slot, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, slot: Slot) -> bool:
        """Take it in; if there are too many, in the place of one that is not busy. False when all are."""
        if len(self._all) >= self._most and not self._drop_one():
            return False
        self._all.add(slot)
        self.free(slot)
        return True

    def occupy(self, slot: Slot) -> None:
        """A request of somebody known has begun."""
        self._forget(slot)

    def free(self, slot: Slot) -> None:
        """That request is over, or there was none."""
        if slot in self._all:
            self._free.setdefault(slot.address, {})[slot] = None

    def remove(self, slot: Slot) -> None:
        """The connection is closed."""
        self._all.discard(slot)
        self._forget(slot)

    def _drop_one(self) -> bool:
        """Of the address that has most, the one that came first: who holds many makes room for others."""
        if not self._free:
            return False
        slot = next(iter(max(self._free.values(), key=len)))
        self.remove(slot)
        slot.drop()
        return True

    def _forget(self, slot: Slot) -> None:
        slots = self._free.get(slot.address, {})
        slots.pop(slot, None)
        if not slots:
            self._free.pop(slot.address, None)


class InProgress:
    """The requests of each principal that are in progress, at most `most`: nobody takes all connections."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = Counter[str]()

    @contextmanager
    def one_more(self, name: str) -> Generator[None]:
        """As long as the request lasts. Raises TooManyRequests."""
        if self._count[name] >= self._most:
            raise TooManyRequests(f"{self._most} of your requests are in progress, the most that one caller may have")
        self._count[name] += 1
        try:
            yield
        finally:
            self._count[name] -= 1
            if not self._count[name]:
                del self._count[name]
