"""One run in its pod: until it starts, its output from the pod's log, and how it ended.

Every replica that follows a run does it so; only its owner judges by the clock, and writes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.logs import NoFrames, follow
from k8s_mcp.cluster.objects import PodTemplate
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.base import Item, Pending, read_exit
from k8s_mcp.executors.kubernetes import endings
from k8s_mcp.executors.kubernetes.gate_log import GateLog
from k8s_mcp.executors.kubernetes.owned_execution import OwnedExecution
from k8s_mcp.executors.kubernetes.ownership import Standing
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, RunObjects, pause_after
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.recorded import Requests
from k8s_mcp.runner.frames import Frame

_MARGIN = 30.0  # seconds after timeout and grace period in which a runner may still report, before it counts as lost
_SEEN_SECONDS = 5.0  # in which a pod that was told to go is seen to have started, or to be gone
_HEARD_SECONDS = 10.0  # in which the log of a pod that is to go is reached: it goes with the pod
_SHORT_LOGS = 3  # how often that of a pod that has ended is read, before it counts as one without an exit frame

REFUSALS = 10
"""How often the log of a pod that has ended is asked for, while its node does not answer."""

_logger = logging.getLogger(__name__)


class PodExecution(OwnedExecution):
    """The `SharedExecution` of a run whose `objects` are made when it is iterated, if it is `made_here`."""

    def __init__(
        self,
        cluster: Cluster,
        spec: RunSpec,
        objects: RunObjects,
        template: PodTemplate,
        watched: Watched,
        *,
        made_here: bool,
        gate_log: GateLog | None,
    ) -> None:
        super().__init__(objects, watched)
        self._api = cluster.api
        self._watch = cluster.watch
        self._spec = spec
        self._made_here = made_here
        self._gate_log = gate_log
        self._template = template
        self._resumed = self._may_be_resumed = False
        self._pause = FIRST_PAUSE  # before the pod is asked for again
        self._cancelled_until = 0.0  # so long a pod that was told to go is waited for: it may have started unseen
        self._heard_until = 0.0  # so long a pod that is to go is kept for its log
        self._deadline = 0.0

    @property
    def place(self) -> Mapping[str, str]:
        return podstate.place(self._watched.pod)

    @property
    def requests(self) -> Requests | None:
        return self._gate_log.requests if self._gate_log else None

    async def __aiter__(self) -> AsyncIterator[Item]:
        failed = await (self._make() if self._made_here else self._find())
        if failed:
            yield failed
            return
        async for item in self._until_started():
            yield item
            if isinstance(item, Ended):
                return
        self._deadline = self._in(self._spec.timeout + self._template.grace + _MARGIN)
        async for item in self._output():
            yield item

    async def _make(self) -> Ended | None:
        try:
            await self._objects.create()
        except (ApiError, ApiUnreachable) as error:
            self._untold = endings.of_error(error)
        return self._untold

    async def stop(self) -> None:
        """Delete the pod: the kubelet passes SIGTERM to the runner, which ends the command and reports. A follower
        notes on the Job that its owner is to do that.
        """
        self._stopping = self._stopping or self._objects.judges
        self._watched.wake()
        pause = FIRST_PAUSE
        while self._objects.standing is not Standing.GONE and not self._watched.pod_deleted:
            try:
                if await self._end():
                    return
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("the run cannot be stopped yet: %s", error)
                pause = await pause_after(pause, self._watched)

    async def _end(self) -> bool:
        """Whether there is nothing left to do here for its end. Waits where there is nothing to be told yet."""
        if self._objects.standing in (Standing.THEIRS, Standing.ORPHANED):
            await self._objects.note_stop()
            return True
        if self._objects.standing is Standing.OVER:
            return True
        if self._objects.job is not None:
            await self._objects.note_stop()  # before the look: it can take a while, in which the pod starts
        if self._watched.pod is None:
            await self._watched.changed()  # until the iteration, which sees that it is to end, has ended
            return False
        self._heard_until = self._heard_until or self._in(_HEARD_SECONDS)
        unheard = podstate.has_started(self._watched.pod) and not self._decoder.next_seq
        if unheard and asyncio.get_running_loop().time() < self._heard_until:
            await pause_after(FIRST_PAUSE, self._watched)
            return False
        await self._objects.end_pod()
        return True

    async def _until_started(self) -> AsyncIterator[Item]:
        """Say why the pod cannot start, once for each reason, until it does; `Ended` when it will not."""
        deadline: float | None = None
        said: set[str] = set()
        why = ("StartTimeout", "the pod did not start")
        while not podstate.has_started(self._watched.pod):
            ended = await self._ended_early()
            if ended:
                yield ended
                return
            pending = None if self._cancelled_until else podstate.why_pending(self._watched)
            if pending:
                why = pending
                if pending[0] not in said:
                    said.add(pending[0])
                    yield Pending(*pending)
                    continue  # there may be news already
            if deadline is None and self.owned:
                deadline = self._in(self._template.start_timeout)
            try:
                async with asyncio.timeout_at(self._cancelled_until or (deadline if self.owned else None)):
                    if await self._until_news():
                        deadline = None  # it counts from then on
            except TimeoutError:
                if not (await self._look_for_pod() and self._watch.connected):
                    deadline, self._cancelled_until = None, 0.0
                elif not podstate.has_started(self._watched.pod):
                    yield self._too_late(*why)
                    return

    def _too_late(self, reason: str, message: str) -> Ended:
        """How a run ends whose pod has not started in its time, or not before it was told to go."""
        late = f"not started within {self._template.start_timeout:g} s: {message}"
        self._untold = Ended("cancelled") if self._cancelled_until else Ended("error", None, reason, late)
        return self._untold

    async def _ended_early(self) -> Ended | None:
        """How the run has ended before its pod started, if so. Takes up what a former owner did not come to."""
        if not self._objects.judges:
            return await self._ended_for_followers()
        if self._is_cancelled():
            # A pod can have started, and printed, without our having seen it yet: its log is what everybody reads.
            if podstate.why_gone(self._watched) or (self._watched.pod is None and not self._may_be_resumed):
                self._untold = self._unheard(Ended("cancelled"))
            self._cancelled_until = self._cancelled_until or self._in(_SEEN_SECONDS)
            return self._untold
        leaving = podstate.why_leaving(self._watched)
        if leaving:
            self._untold = self._unheard(Ended("error", None, *leaving))
        return self._untold

    async def _resume(self) -> None:
        """Have the pod started. Where the answer is lost it may have been: so that is no end, but tried again."""
        self._may_be_resumed = True
        try:
            self._resumed = await self._objects.resume_if_complete()
            if not self._resumed:
                self._untold = Ended("error", None, *endings.LOST)
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the run is not resumed yet: %s", error)
            if isinstance(error, ApiError) and not error.is_passing:
                self._untold = endings.of_error(error)

    async def _until_news(self) -> bool:
        """Wait for it, or have the pod started where that is ours to do. Whether it was: then there may be news."""
        if self._objects.judges and podstate.is_missed(self._watched):
            await self._look_for_pod()
            if podstate.is_missed(self._watched):
                self._pause = await pause_after(self._pause, self._watched)
            return False
        if self._resumed or self._is_cancelled() or not self._objects.judges:
            await self._watched.changed()
            return False
        await self._resume()
        if not (self._resumed or self._untold):
            self._pause = await pause_after(self._pause, self._watched)
        return self._resumed

    async def _output(self) -> AsyncIterator[Item]:
        """Follow the log from connection to connection, until the exit frame or a pod that will send none."""
        pause = FIRST_PAUSE
        refused = short = 0  # answers since the runner has ended
        while True:
            was_over = podstate.is_over(self._watched)
            answered = True  # else nothing is too late: its log is still to be read
            try:
                async with aclosing(self._log()) as stream:
                    async for frames in stream:
                        pause, refused = FIRST_PAUSE, 0
                        yield frames
                        ended = await self._exit(frames)
                        if ended:
                            yield ended
                            return
                short += was_over
            except ApiError as error:
                _logger.warning("log of %s: %s", self._pod_name, error)
                refused += was_over * (1 if error.is_passing else REFUSALS + 1)
            except NoFrames as error:
                _logger.warning("log of %s: %s", self._pod_name, error)
                short += was_over
            except ApiUnreachable as error:
                _logger.warning("log of %s: %s; connecting again", self._pod_name, error)
                answered = False
            self._untold = await self._in_vain()
            if self._untold:
                yield self._untold
                return
            if short > _SHORT_LOGS or refused > REFUSALS or (answered and self._is_late()):
                break
            pause = await pause_after(pause, self._watched)
        async for item in self._without_exit_frame():
            yield item

    def _log(self) -> AsyncGenerator[list[Frame]]:
        return follow(self._api, self._pod_name, self._decoder)

    async def _in_vain(self) -> Ended | None:
        """How the run has ended, if nothing will come to be read."""
        return None

    async def _exit(self, frames: list[Frame]) -> Ended | None:
        said = read_exit(frames)
        if self._gate_log is not None:
            self._gate_log.note(frames)
            if said:
                await self._gate_log.settled()
        if said is None:
            return None
        ended = await self._explained(said)
        if said.status == "cancelled":
            self._untold = ended  # its log goes with its pod, perhaps before all have read it
        return ended

    @property
    def _pod_name(self) -> str:
        pod = self._watched.pod
        return "" if pod is None else str(pod["metadata"]["name"])

    def _in(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds

    def _is_late(self) -> bool:
        return self.owned and self._watch.connected and asyncio.get_running_loop().time() > self._deadline

    async def _without_exit_frame(self) -> AsyncIterator[Item]:
        """The runner reported nothing in its log: the owner judges by what else there is."""
        told = None if self._objects.judges else await self._told_by_owner()
        if told is not None:
            yield told
            return
        frame, ended = endings.without_exit_frame(self._watched, self._decoder, cancelled=self._is_cancelled())
        self._untold = ended if frame else self._unheard(ended)
        if frame is not None:
            self._decoder.note(frame)
            yield [frame]
            self._untold = await self._explained(self._untold)
        yield self._untold

    def _unheard(self, ended: Ended) -> Ended:
        """How it ended by our own judgement: another replica may have shown more of it than was read here, be it an
        owner before us or one that read on while we could not; unless nothing can have run.
        """
        return replace(ended, whole=self._made_here and self._watched.pod is None and not self._may_be_resumed)

    async def _explained(self, ended: Ended) -> Ended:
        if ended.status != "cancelled" or self._stopping or self.told_to_stop:
            return ended
        return await endings.who_told(self._watched)
