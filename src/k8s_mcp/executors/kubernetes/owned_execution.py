"""What an execution lets others know and do about whose its run is, and what it hears from the owner."""

import asyncio
import logging

from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.verdict import Verdict
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.base import Released
from k8s_mcp.executors.kubernetes.ownership import Standing
from k8s_mcp.executors.kubernetes.run_objects import RunObjects
from k8s_mcp.models import Ended
from k8s_mcp.runner.frames import Decoder

_VERDICT_SECONDS = 60.0  # in which the owner says how a run ended whose log does not: its own tries come first

_logger = logging.getLogger(__name__)


class OwnedExecution:
    """The part of `SharedExecution` that is about its owner."""

    def __init__(self, objects: RunObjects, watched: Watched) -> None:
        self._objects = objects
        self._watched = watched
        self._stopping = False
        self._decoder = Decoder()  # has read what was read of the run's log
        self._untold: Ended | None = None  # how the run ended, where its log does not tell everybody

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

    @property
    def awaited(self) -> float:
        return self._objects.awaited

    async def changed(self) -> None:
        await self._watched.changed()

    async def take_over(self) -> bool:
        return await self._objects.take_over()

    async def say_followed(self, window: float) -> None:
        await self._objects.say_followed(window)

    async def say_awaited(self, seconds: float) -> None:
        await self._objects.say_awaited(seconds)

    async def release(self) -> None:
        await self._objects.release()

    async def keep(self, status: str, seconds: float, *, always: bool) -> None:
        await self._objects.keep(status, seconds, self._verdict, always=always)

    async def settle(self) -> None:
        await self._objects.settle(self._verdict)

    async def remove_read(self) -> None:
        await self._objects.remove_read()

    async def _find(self) -> None:
        """See that the run is there to be followed. Raises Released when it is not, or that is not known."""
        try:
            there = await self._objects.is_there()
            if there and self.owned and not self.can_go_on:
                await self._objects.disown()
        except (ApiError, ApiUnreachable) as error:
            raise Released from error
        if not there:
            raise Released

    async def _look_for_pod(self) -> bool:
        """See how the pod is now, and not when the watch last told of it. Whether the API server said so."""
        try:
            await self._objects.look_for_pod()
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("not known whether the pod has started: %s", error)
            return False
        return True

    async def _ended_for_followers(self) -> Ended | None:
        """How a run ended whose pod was not seen to start, as far as it has. Raises Released as `_told_by_owner`."""
        standing = self._objects.standing
        if standing is Standing.GONE or (standing is Standing.OVER and not self._watched.has_pod):
            return await self._told_by_owner()
        told = self._objects.verdict
        return told.ended if told is not None and told.output <= self._decoder.output else None

    async def _told_by_owner(self) -> Ended | None:
        """The owner's word on how the run ended, when there is no more to be read here; None when this replica is the
        owner now. Raises Released when there is no word, or when the owner had read more: then it cannot be known
        here which lines came before the end.
        """
        try:
            async with asyncio.timeout(_VERDICT_SECONDS):
                while not self._objects.judges:
                    told = self._objects.verdict
                    if told is not None and told.output <= self._decoder.output:
                        return told.ended
                    if told is not None or self._watched.gone or self._objects.standing is Standing.OVER:
                        raise Released
                    await self._watched.changed()
        except TimeoutError:
            raise Released from None
        return None

    @property
    def _verdict(self) -> Verdict | None:
        return Verdict(self._untold, self._decoder.output) if self._untold else None

    def _is_cancelled(self) -> bool:
        """Whether the run of which we are the owner is to end."""
        return self._stopping or self.told_to_stop
