"""What `Runs` relies on in every executor."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.runner.frames import EXIT, Frame


@dataclass(frozen=True, slots=True)
class Pending:
    """The command cannot start yet, in Kubernetes' own words."""

    reason: str
    message: str


Item = list[Frame] | Pending | Ended


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

    def __aiter__(self) -> AsyncIterator[Item]: ...

    async def stop(self) -> None:
        """End the command now: SIGTERM, the grace period, SIGKILL. The iteration goes on to its `Ended`."""
        ...

    async def taken(self) -> None:
        """Wait until another replica has taken the run over; for ever, where that cannot be."""
        ...

    async def settle(self) -> None:
        """The run has ended: remove what holds credentials at once, whatever is kept for a replay."""
        ...

    async def keep(self, status: str, seconds: float) -> None:
        """The run has ended, with that status, and somebody will read on: leave its output to every replica for so
        many seconds. Where that cannot be, it goes as always.
        """
        ...

    def let_go(self) -> None:
        """Leave everything of the run as it is for another replica, also when the context is left."""
        ...


class Executor(Protocol):
    """Carries runs out."""

    name: str
    loopback_clusters: bool
    """Whether a cluster on a loopback address is the caller's (the command runs on this host) or the service's own
    surroundings.
    """

    durable: bool
    """Whether a run outlives this process, so that another replica can go on with it."""

    can_be_read_only: bool
    """Whether a run's credential is kept from its command, by something that can refuse what is not reading."""

    def check(self) -> None:
        """Raise Unavailable when no run can be started right now."""
        ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """For the life of the service: clean up what a killed service left, keep what is shared by all runs."""
        ...

    def start(self, spec: RunSpec, *, adopt: bool) -> AbstractAsyncContextManager[Execution]:
        """Start a run, or take over (`adopt`) one from `elsewhere`. Leaving the context removes all traces of it."""
        ...

    def elsewhere(self) -> list[tuple[RunSpec, str]]:
        """Runs that other replicas started, with their status: pending or running. Without their secrets."""
        ...

    async def shown(self, spec: RunSpec) -> None:
        """Wait until `elsewhere` knows all that was started, on whatever replica, before this started run was."""
        ...

    async def recover(self, spec: RunSpec) -> RunSpec | None:
        """The same run with its kubeconfig, as needed to adopt it; None when it cannot be had any more."""
        ...

    async def cancel(self, spec: RunSpec) -> None:
        """End the command of a run from `elsewhere`; the replica that serves it tells its client."""
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
