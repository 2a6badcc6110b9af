"""One run in a warm pod: claimed, handed over, and followed as any other; or, if the pod never took it, given up."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from enum import Enum

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.logs import NoFrames, follow, is_waiting
from k8s_mcp.cluster.objects import PodTemplate
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes import endings
from k8s_mcp.executors.kubernetes.gate_log import GateLog
from k8s_mcp.executors.kubernetes.pod_execution import REFUSALS, PodExecution
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, pause_after
from k8s_mcp.executors.kubernetes.warm_objects import WarmObjects
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.runner.frames import EXIT, NEVER_STARTED, Frame, decode

_START_SECONDS = 2.0  # in which a claimed pod takes its run; if its log, read then, says that it waits, it loses it
_UNKNOWN_SECONDS = 10.0  # for which the log may be out of reach; then the run is followed in that pod, come what may
_WRITE_SECONDS = 9.0
"""For the claim, and for the Secret: together less than until anybody can take this replica for gone."""
_AGAIN_SECONDS = (0.4, 0.6)
_LAST_WORD_SECONDS = 10.0  # in which the runner of a pod that was taken away says whether it ever started a command

_LATE = Ended("error", None, "StartTimeout", "the command started too late, and was ended at once")
_logger = logging.getLogger(__name__)


class Begun(Enum):
    """What became of an attempt to run in a warm pod."""

    YES = "the pod has the run, or may have it: this execution is the run's"
    TAKEN = "somebody else has the pod; nothing of the run is there"
    NEVER = "the command was not started there, and will not be"


class WarmExecution(PodExecution):
    """As `PodExecution`, in a pod that was there before its run. If it is `made_here`, `begin` comes first."""

    def __init__(
        self,
        cluster: Cluster,
        spec: RunSpec,
        objects: WarmObjects,
        template: PodTemplate,
        watched: Watched,
        *,
        made_here: bool,
        gate_log: GateLog | None,
    ) -> None:
        super().__init__(cluster, spec, objects, template, watched, made_here=made_here, gate_log=gate_log)
        self._warm = objects
        self._first: list[Frame] = []
        self._stream: AsyncGenerator[list[Frame]] | None = None
        self._late = False
        self._looked = made_here
        self.claimed = False
        """Whether Job and pod were the run's, be it for a moment."""

    @property
    def can_go_on(self) -> bool:
        """Whether it was begun, as far as can be seen here, or the request is known."""
        return bool(self._spec.command or self._decoder.next_seq)

    async def begin(self) -> Begun:
        """Claim the pod, hand the run over, and wait for the runner's first word."""
        async with _meanwhile(self._warm.wake):
            return await self._begun()

    async def _begun(self) -> Begun:
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                if not await self._warm.claim():
                    # Adopted by another replica, or somebody else's.
                    return Begun.YES if await self._objects.is_there() else Begun.TAKEN
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            _logger.warning("the warm pod is not used: %s", error or "no answer in time")
            if isinstance(error, ApiError) and not error.is_passing:
                return Begun.NEVER
            # It may be ours, and others may see it so: no second Job for the run.
            known = ApiUnreachable("no answer in time") if isinstance(error, TimeoutError) else error
            self._untold = endings.of_error(known)
            return Begun.YES
        self.claimed = True
        return await self._judged() if await self._hand_over() else await self._give_up()

    async def _hand_over(self) -> bool:
        """Whether the runner was heard. The kubelet takes longer to look than the Secret to be there, so it is told
        at the same time; and again, for when it was not so.
        """
        async with _meanwhile(self._tell) as told:
            there = True  # where nobody knows
            with suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_SECONDS):
                    there = await self._warm.hand_over()
            return there and await self._is_taken(told)

    async def _tell(self) -> None:
        await self._warm.tell()
        for seconds in _AGAIN_SECONDS:
            await asyncio.sleep(seconds)
            await self._warm.tell()

    async def _is_taken(self, told: asyncio.Task[None]) -> bool:
        """Whether the runner was heard, before its log, read in a while, said that it still waits. Where neither
        comes, because the log cannot be read, it may have the run: that says nothing of the pod.
        """
        heard = asyncio.create_task(self._hear())
        waits = asyncio.create_task(self._still_waits(told))
        try:
            known, _ = await asyncio.wait(
                (heard, waits), timeout=_UNKNOWN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in known:
                task.result()
            return self._stream is not None or not known
        finally:
            heard.cancel()
            waits.cancel()
            await asyncio.wait((heard, waits))

    async def _still_waits(self, told: asyncio.Task[None]) -> None:
        """Until it is known that the pod had its time, and has not taken the run."""
        await asyncio.sleep(_START_SECONDS)
        await asyncio.wait((told,), timeout=_START_SECONDS)
        pause = FIRST_PAUSE
        while True:
            try:
                if await is_waiting(self._api, self._pod_name):
                    return
            except (ApiError, ApiUnreachable) as error:
                _logger.info("log of %s: %s", self._pod_name, error)
            pause = await pause_after(pause, self._watched)

    async def _give_up(self) -> Begun:
        """Take the pod away, and believe only its runner that it has not started the command."""
        if not self.owned:
            return Begun.YES
        _logger.warning("the warm pod did not take the run in time, and is removed")
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                while not await self._is_taken_away():
                    await pause_after(FIRST_PAUSE, self._watched)
        self._late = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._hear()
        if self._stream is not None:
            return await self._judged()
        message = (podstate.terminated(self._watched.pod or {}) or {}).get("message", "")
        frame = decode(message.strip().encode())
        return await self._never() if frame is not None and _never_started(frame) else Begun.YES

    async def _is_taken_away(self) -> bool:
        try:
            await self._warm.end_pod()
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the warm pod cannot be removed yet: %s", error)
            return False
        return True

    async def _judged(self) -> Begun:
        if self._stream is not None and _never_started(self._first[-1]):
            await self._stream.aclose()
            return await self._never()
        return Begun.YES

    async def _never(self) -> Begun:
        """It was not started here, and may be elsewhere: unless it was ended or taken over meanwhile."""
        try:
            return Begun.NEVER if await self._warm.take_back() else Begun.YES
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the warm pod's Job cannot be given back: %s", error)
            return Begun.YES

    async def _hear(self) -> None:
        """The runner's first frames, and the log that goes on behind them; nothing, when that goes with the pod."""
        pause, refused = FIRST_PAUSE, 0  # since the pod has ended
        while self._stream is None and not self._watched.pod_deleted and refused <= REFUSALS:
            was_over = podstate.is_over(self._watched)
            stream = follow(self._api, self._pod_name, self._decoder)
            try:
                self._first = await anext(stream)
            except (ApiError, ApiUnreachable, StopAsyncIteration) as error:
                _logger.info("log of %s: %s", self._pod_name, error)
                is_answer = isinstance(error, NoFrames) or not isinstance(error, ApiUnreachable)
                refused += was_over and is_answer
                pause = await pause_after(pause, self._watched)
            else:
                self._stream = stream

    async def _make(self) -> Ended | None:
        return self._untold

    async def _log(self) -> AsyncGenerator[list[Frame]]:
        stream, self._stream = self._stream, None
        if stream is None:
            async for frames in super()._log():
                yield frames
            return
        try:
            yield self._first
            self._first = []
            async for frames in stream:
                yield frames
        finally:
            await stream.aclose()

    async def _explained(self, ended: Ended) -> Ended:
        if self._late and ended.status == "cancelled" and not (self._stopping or self.told_to_stop):
            return _LATE
        return await super()._explained(ended)

    async def _in_vain(self) -> Ended | None:
        """Of a run that was taken over: the pod is told of it. If its former owner had not come to hand it over, who
        has its request does; else it ends here. The Secret's name is free only once, whoever creates it.
        """
        if self._looked or not self.owned or self._decoder.next_seq:
            return None
        try:
            self._looked = True
            if not await self._warm.is_handed_over() and not (self._spec.command and await self._warm.hand_over()):
                return Ended("error", None, *endings.LOST)
            await self._warm.tell()
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("not known whether the run was handed over: %s", error)
            self._looked = False
        return None


@asynccontextmanager
async def _meanwhile(work: Callable[[], Coroutine[object, object, None]]) -> AsyncGenerator[asyncio.Task[None]]:
    """Do `work` until it is done, or the context ends. It raises nothing."""
    task = asyncio.create_task(work())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _never_started(frame: Frame) -> bool:
    return frame.type == EXIT and frame.payload == NEVER_STARTED.encode()
