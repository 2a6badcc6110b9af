"""The gate's record of a run, read by the replica that carries the run out. It ends no run, and holds none up."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable
from k8s_mcp.cluster.gate_record import GateRecord
from k8s_mcp.cluster.logs import follow_record
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, pause_after
from k8s_mcp.recorded import Requests
from k8s_mcp.runner.frames import RECORDED, Frame

_SETTLE_SECONDS = 0.5  # both logs come the same way: when the runner's has ended, the gate's is milliseconds behind
_DIGITS = 20

_logger = logging.getLogger(__name__)


class GateLog:
    """Of one run; `is_ours` says whether this replica carries it out."""

    def __init__(self, api: Api, watched: Watched, is_ours: Callable[[], bool]) -> None:
        self._api = api
        self._watched = watched
        self._is_ours = is_ours
        self._record = GateRecord()
        self._is_read = False
        self._lines: int | None = None  # that the record had when the command had ended, if that is known
        self._grown = asyncio.Event()

    @property
    def requests(self) -> Requests | None:
        """What the command has asked for so far; None where others read that."""
        if not self._is_read:
            return None
        surely = self._record.is_whole(None)
        # The runner's word counts while the gate has lived: what answers in its place would be the command.
        told = self._record.is_whole(self._lines) and not podstate.has_gate_died(self._watched.pod)
        return self._record.requests(complete=surely or told)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[None]:
        """Read it while the context lasts."""
        task = asyncio.create_task(self._read_on(), name="record of a gate")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    def note(self, frames: list[Frame]) -> None:
        """Take the runner's word for how long the record is."""
        for frame in frames:
            if frame.type == RECORDED:
                lines, _, still_open = frame.payload.decode("ascii", "replace").partition(" ")
                is_settled = still_open == "0" and lines.isdecimal() and len(lines) < _DIGITS
                self._lines = int(lines) if is_settled else None

    async def settled(self) -> None:
        """The command has ended: wait until all that it asked for was read, for a moment at most."""
        if not self._is_read or self._lines is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                while self._record.next_seq < self._lines:
                    self._grown.clear()
                    await self._grown.wait()

    async def _read_on(self) -> None:
        try:
            while not (self._is_ours() and self._watched.pod and podstate.has_started(self._watched.pod)):
                await self._watched.changed()
            self._is_read = True
            await self._read_to_end(str(self._watched.pod["metadata"]["name"]))
        except Exception:
            _logger.exception("the record of the gate is not read any more; the run goes on")

    async def _read_to_end(self, pod: str) -> None:
        """From connection to connection, until the gate's last line or the end of its pod."""
        pause = FIRST_PAUSE
        while not self._record.has_ended:
            was_gone = self._watched.pod_deleted
            try:
                async with aclosing(follow_record(self._api, pod, self._record)) as stream:
                    async for _ in stream:
                        pause = FIRST_PAUSE
                        self._grown.set()
                        if self._record.has_ended:
                            return
            except (ApiError, ApiUnreachable) as error:
                _logger.info("record of %s: %s", pod, error)
            if was_gone:
                return
            pause = await pause_after(pause, self._watched)
