"""What `Runs` relies on in every executor."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.recorded import Requests
from k8s_mcp.runner.frames import EXIT, NEVER_STARTED, Frame


@dataclass(frozen=True, slots=True)
class Pending:
    """The command cannot start yet, in Kubernetes' own words."""

    reason: str
    message: str


Item = list[Frame] | Pending | Ended


class Released(Exception):
    """The run goes on, but no longer here, or what became of it cannot be known here: streams end without a final
    event, and nothing of the run is touched.
    """


class Execution(Protocol):
    """A run being carried out. Iterating it gives frames as they come, and one `Ended`, always last."""

    @property
    def left(self) -> str:
        """What could not be removed, and why; empty when all is gone. To be read when the context is left."""
        ...

    @property
    def place(self) -> Mapping[str, str]:
        """Where the command runs, by name: `pod`, `pod_uid`, `node`; empty where there is no such thing."""
        ...

    @property
    def requests(self) -> Requests | None:
        """What the command has asked of its cluster so far; None where nobody keeps account of that, or others do.

        When the iteration gives a command's end, it is all there, if it can be. To be read again when the context is
        left.
        """
        ...

    def __aiter__(self) -> AsyncIterator[Item]: ...

    async def stop(self) -> None:
        """End the command now: SIGTERM, the grace period, SIGKILL. The iteration goes on to its `Ended`."""
        ...

    async def settle(self) -> None:
        """The run has ended: remove what holds credentials at once, whatever is kept for a replay."""
        ...


class Executor(Protocol):
    """Carries runs out."""

    name: str
    loopback_clusters: bool
    """Whether a cluster on a loopback address is the caller's (the command runs on this host) or the service's own
    surroundings.
    """

    can_be_read_only: bool
    """Whether a run's credential is kept from its command, by something that can refuse what is not reading."""

    def check(self) -> None:
        """Raise Unavailable when no run can be started right now."""
        ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """For the life of the service: clean up what a killed service left, keep what is shared by all runs."""
        ...

    def start(self, spec: RunSpec) -> AbstractAsyncContextManager[Execution]:
        """Start a run. Leaving the context removes all traces of it."""
        ...


class SharedExecution(Execution, Protocol):
    """A run that every replica can follow, and one carries out: its owner. Iterating it writes nothing, unless it is
    started here; a follower's iteration raises Released where it cannot know how the run ended.

    `stop`, for a follower, tells the owner. `settle`, and leaving the context, do something for the owner alone.
    """

    @property
    def owned(self) -> bool:
        """Whether this replica is the owner, as far as is known here."""
        ...

    @property
    def lost(self) -> bool:
        """Whether the run is somebody else's, or nobody's, now."""
        ...

    @property
    def orphaned(self) -> bool:
        """Whether nobody is the owner: it has gone, or has let the run go."""
        ...

    @property
    def can_go_on(self) -> bool:
        """Whether this replica could carry the run out. Where its owner went before it was started, only those can
        that know the request.
        """
        ...

    @property
    def told_to_stop(self) -> bool:
        """Whether some replica was asked to end the run."""
        ...

    @property
    def followed_ago(self) -> float:
        """Seconds since a follower on another replica was last heard of; infinite when there was none."""
        ...

    @property
    def awaited(self) -> float:
        """Seconds for which the run goes on without any client, on whatever replica; 0 if nobody said so."""
        ...

    async def changed(self) -> None:
        """Wait until one of these may have changed."""
        ...

    async def take_over(self) -> bool:
        """Become the owner of an orphaned run; False when somebody else was faster, or it cannot be done now."""
        ...

    async def say_followed(self, window: float) -> None:
        """Let the owner know that the run is followed here, unless some follower said so within half of `window`."""
        ...

    async def say_awaited(self, seconds: float) -> None:
        """Let all replicas know that a client comes back within so many seconds. Where that cannot be, it is not."""
        ...

    async def keep(self, status: str, seconds: float, *, always: bool) -> None:
        """The run has ended, with that status, and somebody may read on: leave its output to every replica for so
        many seconds. Where that cannot be, it goes as always; or, with `always`, leave at least the fact that it was.
        """
        ...

    async def remove_read(self) -> None:
        """A run that had ended, and was kept for a reader, was read to its end: remove it."""
        ...

    async def release(self) -> None:
        """Let the run go: nothing of it is touched here any more, and whoever finds it can take it over."""
        ...


class SharedExecutor(Executor, Protocol):
    """An executor whose runs outlive this process: every replica knows of all, and one of them carries each out."""

    def start(self, spec: RunSpec) -> AbstractAsyncContextManager[SharedExecution]: ...

    async def reserve(self, spec: RunSpec) -> RunSpec | None:
        """Make sure that no other run of that name is started, on whatever replica, before `start`.

        Where there is one already, that one, without its secrets. Raises Unavailable while a former one is on its way
        out. When the cluster does not answer, nothing is reserved, and `start` will say so.
        """
        ...

    async def unreserve(self, spec: RunSpec) -> None:
        """There will be no `start`."""
        ...

    def elsewhere(self) -> list[tuple[RunSpec, str]]:
        """Runs that other replicas started, with their status: pending or running. Without their secrets."""
        ...

    async def shown(self, spec: RunSpec) -> None:
        """Wait until `elsewhere` knows all that was started, on whatever replica, before this started run was."""
        ...

    async def recover(self, spec: RunSpec) -> RunSpec | None:
        """A run from `elsewhere` with its kubeconfig, as needed to follow it; None when it cannot be had any more."""
        ...

    def follow(self, spec: RunSpec) -> AbstractAsyncContextManager[SharedExecution]:
        """Follow a run from `elsewhere`."""
        ...

    async def cancel(self, spec: RunSpec) -> None:
        """Have a run from `elsewhere` ended by its owner."""
        ...


async def uninterrupted(cleanup: Coroutine[object, object, None]) -> None:
    """Run `cleanup` to its end even if we are cancelled meanwhile; the cancellation goes on after it.

    `cleanup` must be bounded.
    """
    task = asyncio.ensure_future(cleanup)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def read_exit(frames: list[Frame]) -> Ended | None:
    """How the run ended, if the last of these frames says so: its text is `STATUS CODE [MESSAGE]`.

    The command may have written that text, for it can write the termination log.
    """
    if not frames or frames[-1].type != EXIT:
        return None
    text = frames[-1].payload.decode("utf-8", "replace")
    if text == NEVER_STARTED:
        return None  # the pod's end, not the run's
    match = re.fullmatch(r"(done|timeout|cancelled|error) (-|[0-9]{1,3})( .*)?", text, re.DOTALL)
    if not match:
        return None
    status, code, message = match.groups(default="")
    if status == "done":
        return None if code == "-" else Ended("done", int(code))
    if status == "timeout":
        return Ended("timeout", 124)
    if status == "cancelled":
        return Ended("cancelled")
    return Ended("error", None, "StartError", message.strip())
