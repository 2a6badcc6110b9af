"""What an execution lets others know and do about whose its run is, and what it hears from the owner."""

import asyncio

from k8s_mcp.cluster.verdict import read_verdict
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.base import Released
from k8s_mcp.executors.kubernetes.ownership import Standing
from k8s_mcp.executors.kubernetes.run_objects import RunObjects
from k8s_mcp.models import Ended

_VERDICT_SECONDS = 60.0  # in which the owner says how a run ended whose log does not: its own tries come first


class OwnedExecution:
    """The part of `SharedExecution` that is about its owner."""

    def __init__(self, objects: RunObjects, watched: Watched) -> None:
        self._objects = objects
        self._watched = watched
        self._stopping = False

    @property
    def left(self) -> str:
        return self._objects.left

    @property
    def owned(self) -> bool:
        return self._objects.owned

    @property
    def lost(self) -> bool:
        return self._objects.lost

    @property
    def orphaned(self) -> bool:
        return self._objects.standing is Standing.ORPHANED

    @property
    def can_go_on(self) -> bool:
        return self._objects.can_go_on

    @property
    def told_to_stop(self) -> bool:
        return self._objects.told_to_stop

    @property
    def followed_ago(self) -> float:
        return self._objects.followed_ago()

    async def changed(self) -> None:
        await self._watched.changed()

    async def take_over(self) -> bool:
        return await self._objects.take_over()

    async def say_followed(self, window: float) -> None:
        await self._objects.say_followed(window)

    async def release(self) -> None:
        await self._objects.release()

    async def keep(self, status: str, seconds: float, *, always: bool) -> None:
        await self._objects.keep(status, seconds, always=always)

    async def remove_read(self) -> None:
        await self._objects.remove_read()

    async def _ended_for_followers(self) -> Ended | None:
        gone = self._objects.standing is Standing.GONE
        return await self._told_by_owner() if gone else read_verdict(self._objects.verdict)

    async def _told_by_owner(self) -> Ended | None:
        """The owner's word on how the run ended; None when this replica is the owner now. Raises Released when there
        is none.
        """
        try:
            async with asyncio.timeout(_VERDICT_SECONDS):
                while not self._objects.judges:
                    told = read_verdict(self._objects.verdict)
                    if told is not None:
                        return told
                    if self._is_cancelled():
                        return Ended("cancelled")
                    if self._watched.gone or self._objects.standing is Standing.OVER:
                        raise Released
                    await self._watched.changed()
        except TimeoutError:
            raise Released from None
        return None

    def _is_cancelled(self) -> bool:
        """Whether we end it, or the one has done so who is to act on the note that it is to end."""
        to_be_ended = self._objects.standing in (Standing.THEIRS, Standing.ORPHANED)
        return self._stopping or (self.told_to_stop and not to_be_ended)
