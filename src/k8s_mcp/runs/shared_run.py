"""A run that every replica can follow, and one of them carries out."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from k8s_mcp.beside import beside
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import Executor, Released, SharedExecution, SharedExecutor
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.observe.facts import CommandStarted, Observe, OutputRead, RunEnded, RunFacts, RunReleased, RunStarted
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.run import Run

_LEAST_WINDOW = 2.0  # seconds in which followers elsewhere are heard of, however short the resume window is
_TAKE_OVER_PAUSE = 1.0
_AGAIN_SECONDS = 2.0  # after which what could not be noted is tried again

_logger = logging.getLogger(__name__)


class SharedRun(Run):
    """One run, followed here; while this replica is its owner, also carried out here.

    It begins as the owner's, or, with `facts.adopted`, as another's. `may_take_over` says whether an orphaned run may
    become ours. Audit log and metrics hear of it while it is ours only: so each run is told of once at a time.
    """

    def __init__(
        self,
        facts: RunFacts,
        spec: RunSpec,
        redactor: Redactor,
        limits: Limits,
        observe: Observe,
        executor: SharedExecutor,
        may_take_over: Callable[[], bool],
    ) -> None:
        super().__init__(facts, spec, redactor, limits, observe)
        self._executor = executor
        self._shared: SharedExecution | None = None
        self._may_take_over = may_take_over
        self._window = max(limits.resume_window, _LEAST_WINDOW)
        self.ours = not facts.adopted
        self._repeatable = facts.idempotent and facts.via == "http"  # MCP has keys to cancel by
        self._release_requested = asyncio.Event()
        self._news = asyncio.Event()
        self._was_followed = False  # somebody has followed it here, and may come back
        self._lingers = 0.0  # seconds for which it goes on without a client, on whatever replica
        self._orphaned_at = 0.0  # when it was first seen to be, by the loop's clock

    def release(self) -> None:
        """Let go of the run: streams end without a final event, and another replica can take it over."""
        self._release_requested.set()

    def linger(self, seconds: float) -> None:
        super().linger(seconds)
        self._lingers = max(self._lingers, seconds)
        self._news.set()

    async def stopped(self, seconds: float) -> bool:
        """End the command. Whether all replicas can know of that within so many seconds, or the run has ended: what
        this one alone knows goes with it.
        """
        self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._is_stop_known or self.released):
                    await self.log.changed()
        return self._is_stop_known

    @property
    def _is_stop_known(self) -> bool:
        return self.ended is not None or (self._shared is not None and self._shared.told_to_stop)

    async def _carry_out(self, executor: Executor) -> Ended:  # noqa: ARG002 - it is the shared one
        ended = Ended("error", None, "InternalError", "the run was released")
        async with self._opened() as execution:
            self._execution = self._shared = execution
            try:
                async with (
                    self._until_released(),
                    self._attended(execution),
                    self._stopping_when_asked(execution),
                ):
                    ended = await self._follow(execution)
                    self._finish(ended)
                    if execution.orphaned and self._may_take_over():
                        await self._become_owner(execution)  # else it stays, as one that goes on, until nobody waits
                    if self.ours:
                        await self._end(execution, ended)
                    elif self.is_replay and await self._read_to_end():
                        await execution.remove_read()
            except* Released:
                await self._let_go(execution)
        return ended

    def _opened(self) -> AbstractAsyncContextManager[SharedExecution]:
        if self.facts.adopted:
            return self._executor.follow(self.spec)
        return self._executor.start(self.spec)

    async def _end(self, execution: SharedExecution, ended: Ended) -> None:
        """What is the owner's to do when the run has ended."""
        await execution.settle()
        if not (self._repeatable or self._kept):
            await self._until_delivered(execution)
        await self._keep_in_cluster(execution, ended)

    async def _keep_in_cluster(self, execution: SharedExecution, ended: Ended) -> None:
        """Leave the run to be read, if somebody may ask any replica for it."""
        if self._kept:
            await execution.keep(ended.status, self._replay_seconds, always=self._repeatable)
        elif self._repeatable:
            # A final event that was written need not have arrived: whoever repeats the request is to find the run.
            await execution.keep(ended.status, self._window, always=True)

    async def _read_to_end(self) -> bool:
        """Wait until somebody has read the final event; False when nobody will, or will ask for more later."""
        try:
            async with asyncio.timeout(self._resume_window):
                while not (self.log.read_to_end or self._kept):
                    await self.log.changed()
        except TimeoutError:
            return False
        return not self._kept

    async def _until_delivered(self, execution: SharedExecution) -> None:
        """Wait until somebody has read the final event, or nobody came for it within the resume window; and until
        nobody has followed the run on another replica for a while.
        """
        if not await self._read_to_end() and not self._kept:
            _logger.info("nobody read the final event")
        while (ago := execution.followed_ago) < self._window and not self._kept:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._window - ago):
                    await self.log.changed()

    @asynccontextmanager
    async def _until_released(self) -> AsyncGenerator[None]:
        """Raises Released (in a group) when this replica is to let the run go."""

        async def asked() -> None:
            await self._release_requested.wait()
            raise Released

        async with beside(asked):
            yield

    async def _let_go(self, execution: SharedExecution) -> None:
        """Others may have it. A run that has ended is left to them to be read."""
        if self.ended is not None:
            if self.ours:
                await execution.keep(self.ended.status, self._window, always=self._repeatable)
            return
        self._forget_timer()
        await self._say_awaited(execution, max(self._lingers, self.expected))
        self.released = True
        self.log.close()
        await execution.release()

    @asynccontextmanager
    async def _attended(self, execution: SharedExecution) -> AsyncGenerator[None]:
        async def listen() -> None:
            while True:
                await execution.changed()
                self._news.set()
                if execution.told_to_stop:
                    self.log.wake()

        async def attend() -> None:
            while True:
                self._news.clear()
                seconds = await self._look_after(execution)
                if self.ended is None and not await self._say_awaited(execution, self._lingers):
                    seconds = min(seconds or _AGAIN_SECONDS, _AGAIN_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._news.wait()

        async with beside(listen), beside(attend):
            yield

    async def _say_awaited(self, execution: SharedExecution, seconds: float) -> bool:
        """Whether that is known to all replicas now."""
        if seconds > execution.awaited:
            await execution.say_awaited(seconds)
        return execution.awaited >= seconds

    async def _look_after(self, execution: SharedExecution) -> float | None:
        """Do what the run's standing asks for; returns in how many seconds to look again, at the latest."""
        self._note_whose(execution)
        if self.ended is not None:
            return None
        if execution.awaited > self._resume_window:
            super().linger(execution.awaited)
        if execution.owned:
            if execution.told_to_stop:
                self.stop()
            followed_elsewhere = execution.followed_ago < self._window
            self.log.wait_for_readers(not followed_elsewhere)
            return self._window if followed_elsewhere else None
        self.log.wait_for_readers(self._was_followed or not self._watching)
        wanted = execution.orphaned and (self._readers or execution.told_to_stop) and self._may_take_over()
        if wanted and self._is_our_turn(execution):
            await self._take_over(execution)
        if wanted:
            return _TAKE_OVER_PAUSE
        self._orphaned_at = 0.0
        if self._readers:
            await execution.say_followed(self._window)
            # Again half a window after it was said last, by whomever: the other half is for saying it. Not all at the
            # same moment: who is a little later sees that it was said.
            apart = random.uniform(0, self._window / 16)  # noqa: S311 - nobody gains by guessing it
            return max(self._window / 2 - execution.followed_ago, self._window / 8) + apart
        return None

    def _is_our_turn(self, execution: SharedExecution) -> bool:
        """Who cannot go on with an orphaned run leaves it, for half of the resume window, to replicas that can."""
        now = asyncio.get_running_loop().time()
        self._orphaned_at = self._orphaned_at or now
        return execution.can_go_on or execution.told_to_stop or now >= self._orphaned_at + self._window / 2

    async def _take_over(self, execution: SharedExecution) -> None:
        if not await self._become_owner(execution):
            return
        if execution.told_to_stop or self._stop_requested.is_set():
            self.stop()
            await execution.stop()

    async def _become_owner(self, execution: SharedExecution) -> bool:
        if not await execution.take_over():
            return False
        try:
            self._note_whose(execution)
        except Unavailable as error:  # the audit log is full: without it nothing is carried out
            _logger.warning("the run is not carried out here: %s", error)
            raise Released from error
        return True

    def _note_whose(self, execution: SharedExecution) -> None:
        """Tell of a change of owner, from or to us."""
        if execution.owned and not self.ours:
            self.ours = True
            _logger.info("carrying the run out")
            self._observe(RunStarted(self.facts))
            if self._running:
                self._observe(CommandStarted(None, self.run_id))
        elif self.ours and execution.lost:
            self.ours = False
            _logger.warning("another replica has taken the run over; it is followed here")
            self._observe(RunReleased(self.facts, self._running))

    def _note_readers(self) -> None:
        self._was_followed = self._was_followed or self._readers > 0
        self._news.set()

    def _abandon(self) -> None:
        execution = self._shared
        if execution is not None and not self.ours:
            if self._watching:  # they hold nothing up, and lose nothing
                self._was_followed = False
                self._news.set()
                self._cancel_unless_read_within(self._window)
            else:
                self.release()
        elif execution is not None and (ago := execution.followed_ago) < (
            window := max(self._window, execution.awaited)
        ):
            self._cancel_unless_read_within(window - ago)
        else:
            self.stop()

    def _on_limit_passed(self) -> None:
        if self.ours:
            self.stop()

    def _note_started(self) -> None:
        if self.ours:
            self._observe(CommandStarted(None if self.facts.adopted else self._seconds(), self.run_id))

    def _note_output(self, read: OutputRead) -> None:
        if self.ours:
            self._observe(OutputRead(read.amounts, None if self.facts.adopted else read.seconds, self.run_id))

    def forget_request(self) -> None:
        super().forget_request()
        self._shared = None

    def last_word(self) -> RunEnded | RunReleased | None:
        if not self.ours:
            return None
        return RunReleased(self.facts, self._running) if self.released else super().last_word()
