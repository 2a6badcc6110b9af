"""A client that stays with its run whatever happens to its connections, as `k8s-mcp exec` does, and notes it all."""

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.soak.balancer import GARBAGE
from tests.support.events import Event, Parser

_RETRIED = frozenset((400, 408, 429, 502, 503, 504))  # 400: the request was garbled on its way
_LONGEST_PAUSE = 1.0
_LOST_AFTER = 5
"""So many times every replica says that there is no such run, before it is believed."""


def http_client() -> httpx.AsyncClient:
    """For any number of followers; every request has a connection of its own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    silence = httpx.Timeout(45, connect=10)  # the service writes something every 15 s
    headers = {"Accept-Encoding": "identity"}  # what is garbled on the way is an event to be judged
    return httpx.AsyncClient(timeout=silence, limits=limits, trust_env=False, headers=headers)


@dataclass(frozen=True)
class Note:
    """What happened, when by time.monotonic()."""

    at: float
    text: str


class Follower:
    """Follows one run to its end. `doors` are the addresses to try: the first one first, then any of them. Without a
    `key` its request is not sent again, unless it was refused.

    `numbered` has every event with an id once; `problems` what no client should see; `connected` when it followed.
    """

    def __init__(
        self, http: httpx.AsyncClient, doors: Sequence[str], request: Mapping[str, Any], key: str, rng: random.Random
    ) -> None:
        self.run_id = ""
        self.numbered: list[Event] = []
        self.finals: list[dict[str, Any]] = []
        self.notes: list[Note] = []
        self.problems: list[str] = []
        self.connected: list[tuple[float, float]] = []
        self.closed_early = 0
        self.gone = False
        self.ended_at = 0.0
        self.started = asyncio.Event()
        self._http = http
        self._doors = doors
        self._next_door = doors[0]
        self._request = request
        self._key = key
        self._rng = rng
        self._pause = 0.0
        self._missed = 0
        self._was_refused = False

    @property
    def ended(self) -> bool:
        return bool(self.finals)

    async def to_end(self) -> None:
        """Read until the final event, or until the run is gone."""
        while not (self.ended or self.gone):
            await self._attempt()
            self._next_door = self._rng.choice(self._doors)

    async def once(self) -> None:
        """Read what one connection gives."""
        await self._attempt()

    async def for_a_while(self, seconds: float) -> None:
        """Read until so many seconds after the start, then leave; or to the end, when that is sooner."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self.to_end())
            starting = group.create_task(self.started.wait())
            await asyncio.wait({reading, starting}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({reading}, timeout=seconds)
            if not reading.done():
                self.note("leaves")
            reading.cancel()
            starting.cancel()

    async def _attempt(self) -> None:
        """One connection, and the pause after it."""
        self._was_refused = False
        try:
            async with self._open() as response:
                await self._read(response)
        except httpx.HTTPError as error:
            self.note(f"{type(error).__name__} {error}")
        except UnicodeDecodeError as error:
            if not any(piece in error.object for piece in (GARBAGE[:2], GARBAGE[2:4])):
                raise
            self.note("garbled")
        if not (self._key or self.run_id or self._was_refused):
            self.note("nobody knows whether the run began")
            self.gone = True
        if not (self.ended or self.gone):
            await asyncio.sleep(self._pause * self._rng.uniform(0.5, 1))
            self._pause = min(_LONGEST_PAUSE, max(0.1, 2 * self._pause))

    def _open(self) -> AbstractAsyncContextManager[httpx.Response]:
        http = self._http
        if not self.run_id:
            headers = {"Idempotency-Key": self._key} if self._key else {}
            return http.stream("POST", f"{self._next_door}/sse", json=self._request, headers=headers)
        last = next((event.id for event in reversed(self.numbered)), None)
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        return http.stream("GET", f"{self._next_door}/runs/{self.run_id}/events", headers=headers)

    async def _read(self, response: httpx.Response) -> None:
        how = f"{response.request.method} {self._next_door.rpartition(':')[2]}: {response.status_code}"
        if response.status_code != 200:
            self._was_refused = True
            text = (await response.aread()).decode(errors="replace")
            self._refused(response.status_code, how, text)
            return
        self.note(how)
        self._missed = 0
        began = time.monotonic()
        parser = Parser()
        try:
            async for chunk in response.aiter_raw():
                for event in parser.feed(chunk):
                    self.take(event)
        finally:
            self.connected.append((began, time.monotonic()))
        if not self.ended:
            self.closed_early += 1
            self.note("the stream was closed without an end")

    def _refused(self, status: int, how: str, text: str) -> None:
        self.note(f"{how} {text[:300]}")
        if status == 404 and self.run_id:
            self._missed += 1
            self.gone = self._missed > _LOST_AFTER * len(self._doors)
        elif status not in _RETRIED:
            self.problems.append(f"unexpected answer: {how} {text[:300]}")
            self._pause = _LONGEST_PAUSE

    def take(self, event: Event) -> None:
        if event.name == "comment":
            return
        if self.ended:
            self.problems.append(f"after the final event came {event}")
            return
        self._pause = 0.0
        if event.id is None:
            self._unnumbered(json.loads(event.data))
            return
        last = self.numbered[-1].id if self.numbered else 0
        assert last is not None
        if event.id <= last:
            self.problems.append(f"repeated: id {event.id} after {last}: {event.data[:200]}")
            return
        self.numbered.append(event)
        if event.is_final:
            self.finals.append(event.control)
            self.ended_at = time.monotonic()
            self.note(event.data)
        elif event.name == "control":
            self.note(event.data)

    def _unnumbered(self, control: Mapping[str, Any]) -> None:
        if control.get("status") == "started":
            if self.run_id not in ("", control["run_id"]):
                self.problems.append(f"another run: {control['run_id']} instead of {self.run_id}")
            self.run_id = control["run_id"]
            self.note(f"run {self.run_id}")
            self.started.set()
        else:
            self.note(json.dumps(control)[:300])

    def note(self, text: str) -> None:
        self.notes.append(Note(time.monotonic(), text))
