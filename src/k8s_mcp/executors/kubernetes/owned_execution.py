"""What an execution lets others know and do about whose its run is: all of it is its objects'."""

from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes.ownership import Standing
from k8s_mcp.executors.kubernetes.run_objects import RunObjects


class OwnedExecution:
    """The part of `SharedExecution` that is about its owner."""

    def __init__(self, objects: RunObjects, watched: Watched) -> None:
        self._objects = objects
        self._watched = watched

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
