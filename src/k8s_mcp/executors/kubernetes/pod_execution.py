"""One run in its pod: until it starts, its output from the pod's log, and how it ended."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.logs import NoFrames, follow
from k8s_mcp.cluster.objects import PodTemplate
from k8s_mcp.cluster.watch import Watched
from k8s_mcp.executors.base import Item, Pending, read_exit
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, RunObjects, end_pod, pause_after
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.runner.frames import Decoder, decode

_MARGIN = 30.0  # seconds after timeout and grace period in which a runner may still report, before it counts as lost
_REASON_SECONDS = 5.0  # in which Kubernetes says why it has ended a pod
_JOB_SECONDS = 1.0  # in which the Job says why, after its pod is seen to be deleted: they come on two connections
_KILLED = 137  # then a termination message is the command's: the runner did not come to write one
_MADE_UP = ("ContainerStatusUnknown",)  # with it the kubelet reports an exit code that it has not seen
_EMPTY_LOGS = 3  # how often that of a pod that has ended is asked for, before an answer without frames is believed
_REFUSALS = 10  # how often the log of a pod that has ended is asked for, while its node does not answer

_logger = logging.getLogger(__name__)


class PodExecution:
    """The `Execution` of a run whose `objects` are made, or taken over (`adopt`), when it is iterated."""

    def __init__(
        self,
        cluster: Cluster,
        spec: RunSpec,
        adopt: bool,
        objects: RunObjects,
        template: PodTemplate,
        watched: Watched,
    ) -> None:
        self._api = cluster.api
        self._spec = spec
        self._adopt = adopt
        self._objects = objects
        self._template = template
        self._watched = watched
        self._stopping = False
        self._deadline = 0.0

    @property
    def left(self) -> str:
        return self._objects.left

    @property
    def place(self) -> Mapping[str, str]:
        pod = self._watched.pod
        if pod is None:
            return {}
        found = {
            "pod": pod["metadata"]["name"],
            "pod_uid": pod["metadata"]["uid"],
            "node": pod["spec"].get("nodeName", ""),
        }
        return {name: value for name, value in found.items() if value}

    async def __aiter__(self) -> AsyncIterator[Item]:
        try:
            await (self._objects.take_over() if self._adopt else self._objects.create())
        except ApiError as error:
            yield Ended("error", None, error.reason or "ApiError", error.message)
            return
        except ApiUnreachable as error:
            yield Ended("error", None, "ApiUnreachable", str(error))
            return
        async for item in self._until_started():
            yield item
            if isinstance(item, Ended):
                return
        async for item in self._output():
            yield item

    async def stop(self) -> None:
        """Delete the pod: the kubelet passes SIGTERM to the runner, which ends the command and reports."""
        self._stopping = True
        self._watched.wake()
        pause = FIRST_PAUSE
        while not self._watched.pod_deleted:
            pod = self._watched.pod
            if pod is None:
                await self._watched.changed()
                continue
            try:
                await end_pod(self._api, self._spec.name, pod)
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("the run cannot be stopped yet: %s", error)
                pause = await pause_after(pause, self._watched)
            else:
                return

    async def taken(self) -> None:
        while not self._objects.is_taken():
            await self._watched.changed()

    async def settle(self) -> None:
        await self._objects.settle()

    async def keep(self, status: str, seconds: float) -> None:
        await self._objects.keep(status, seconds)

    def let_go(self) -> None:
        self._objects.let_go()

    async def _until_started(self) -> AsyncIterator[Item]:
        """Say why the pod cannot start, once for each reason, until it does; `Ended` when it will not."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._template.start_timeout
        said: set[str] = set()
        why = ("StartTimeout", "the pod did not start")
        while not self._has_started():
            ended = self._ended_early()
            if ended:
                yield ended
                return
            pending = podstate.why_pending(self._watched)
            if pending:
                why = pending
                if pending[0] not in said:
                    said.add(pending[0])
                    yield Pending(*pending)
                    continue  # there may be news already
            try:
                async with asyncio.timeout_at(deadline):
                    await self._watched.changed()
            except TimeoutError:
                reason, message = why
                yield Ended(
                    "error", None, reason, f"not started within {self._template.start_timeout:g} s: {message}"
                )
                return
        self._deadline = clock.time() + self._spec.timeout + self._template.grace + _MARGIN

    def _has_started(self) -> bool:
        pod = self._watched.pod
        return pod is not None and podstate.has_started(pod)

    def _ended_early(self) -> Ended | None:
        if self._is_cancelled():
            return Ended("cancelled")
        leaving = podstate.why_leaving(self._watched)
        return Ended("error", None, *leaving) if leaving else None

    def _is_cancelled(self) -> bool:
        return self._stopping or podstate.is_cancelled(self._watched)

    async def _output(self) -> AsyncIterator[Item]:
        """Follow the log from connection to connection, until the exit frame or a pod that will send none."""
        decoder = Decoder()
        pause = FIRST_PAUSE
        refused = empty = 0
        over = False  # the runner has ended, and the log was read to its end since
        while True:
            was_over = self._is_over()
            try:
                async with aclosing(follow(self._api, self._pod_name, decoder)) as stream:
                    async for frames in stream:
                        pause, refused = FIRST_PAUSE, 0
                        yield frames
                        ended = read_exit(frames)
                        if ended:
                            yield await self._explained(ended)
                            return
                over = was_over
            except ApiError as error:
                _logger.warning("log of %s: %s", self._pod_name, error)
                refused += 1
                over = was_over and (refused > _REFUSALS or not error.is_passing)
            except NoFrames as error:
                _logger.warning("log of %s: %s", self._pod_name, error)
                empty += 1
                over = was_over and empty > _EMPTY_LOGS
            except ApiUnreachable as error:
                _logger.warning("log of %s: %s; connecting again", self._pod_name, error)
            if over or self._is_late():
                break
            pause = await pause_after(pause, self._watched)
        async for item in self._without_exit_frame(decoder):
            yield item

    @property
    def _pod_name(self) -> str:
        pod = self._watched.pod
        return "" if pod is None else str(pod["metadata"]["name"])

    def _is_over(self) -> bool:
        pod = self._watched.pod
        ended = pod is not None and podstate.terminated(pod) is not None
        return ended or podstate.why_gone(self._watched) is not None

    def _is_late(self) -> bool:
        return asyncio.get_running_loop().time() > self._deadline

    async def _without_exit_frame(self, decoder: Decoder) -> AsyncIterator[Item]:
        """The runner reported nothing in its log. Believe the termination message, the container's exit code, the
        pod's reason.

        Never 0: the command can write the termination message, and could so call itself a success.
        """
        pod = self._watched.pod
        state = (podstate.terminated(pod) if pod else None) or {}
        code = None if state.get("reason") in _MADE_UP else state.get("exitCode")
        said = state.get("message", "").strip()
        frame = decode(said.encode())
        reported = read_exit([frame]) if frame else None
        if frame and reported and code not in (None, 0, _KILLED) and reported.exit_code in (None, code):
            yield [frame]
            yield await self._explained(reported)
            return
        if self._is_cancelled():
            yield Ended("cancelled")
            return
        foreign = b"\n".join(decoder.foreign).decode("utf-8", "replace")
        message = foreign or (not frame and said) or "the runner did not report an exit code"
        reason, message = podstate.why_gone(self._watched) or (state.get("reason", "RunnerLost"), message)
        if reason == "Completed":
            reason, message = "NoExitFrame", "the pod ended, but its log does not say how the command did"
        yield Ended("error", code or None, reason, message)

    async def _explained(self, ended: Ended) -> Ended:
        """Whoever takes the pod away has the runner told to end: then that is how the run ended, and nobody cancelled
        it.
        """
        if ended.status != "cancelled" or self._is_cancelled():
            return ended
        leaving = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_REASON_SECONDS):
                while (leaving := podstate.why_leaving(self._watched)) is None:
                    await self._watched.changed()
        with suppress(TimeoutError):
            async with asyncio.timeout(_JOB_SECONDS):
                while leaving == podstate.POD_DELETED:
                    await self._watched.changed()
                    leaving = podstate.why_leaving(self._watched)
        return Ended("error", None, *(leaving or ("Terminated", "somebody told the runner to end")))
