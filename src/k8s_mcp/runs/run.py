"""One run: its state, its events, and the order of things from accepted to cleaned up."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from k8s_mcp.beside import beside
from k8s_mcp.executors.base import Execution, Executor, Item, Pending
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.log_format import about_run, later, now
from k8s_mcp.models import Control, Ended, Event, RunSpec, final_event
from k8s_mcp.observe.facts import CommandStarted, Observe, Outcome, OutputRead, RunEnded, RunFacts, RunReleased
from k8s_mcp.recorded import Requests
from k8s_mcp.run_state import describe, shortened
from k8s_mcp.runner.frames import Frame
from k8s_mcp.runs.eventlog import EventLog, Reader
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.output_limit import OutputLimit
from k8s_mcp.runs.transcript import Transcript

_FIRST_READER_SECONDS = 10.0
_OWN_BYTES = 16 * 1024  # of a run besides its texts and its output

_logger = logging.getLogger(__name__)


class Run:
    """One command being executed, and its events."""

    def __init__(
        self, facts: RunFacts, spec: RunSpec, redactor: Redactor, limits: Limits, observe: Observe = lambda _: None
    ) -> None:
        self.run_id = spec.run_id
        self.facts = facts
        self.spec = spec
        self.log = EventLog(limits.replay_bytes, limits.recorded_bytes)
        self.ended: Ended | None = None
        self.ours = True
        """Whether it is carried out here; else it is only followed."""
        self.released = False
        """Whether the run goes on, but no longer here: its streams end without a final event."""
        self.expected = 0.0  # seconds within which its client comes back if it is let go of here
        self._observe = observe
        self._execution: Execution | None = None
        self._asked: Requests | None = None  # of the cluster, when the execution is forgotten
        self._accepted = time.monotonic()
        self._took: float | None = None
        self._redactor = redactor
        self._transcript = Transcript(redactor)
        self._output_limit = OutputLimit(spec.max_output)
        self._resume_window = limits.resume_window
        self._replay_seconds = limits.replay_seconds
        self._kept = self._running = self._had_output = False
        self._stop_requested = asyncio.Event()
        self._readers = self._watching = 0
        self._command = shortened(facts.command)
        self._why: dict[str, str] = {}  # it does not start yet, or has ended as an error
        self._abandoned: asyncio.TimerHandle | None = None
        self._times: dict[str, str | None] = {"created": spec.created or now(), "started": None, "ended": None}
        self._cancel_unless_read_within(max(limits.resume_window, _FIRST_READER_SECONDS))

    def describe(self) -> dict[str, object]:
        """The run's state as `GET /runs/{id}` gives it."""
        status = "running" if self._running else "pending"
        return describe(self.spec, self.ended.status if self.ended else status) | {
            "exit_code": self.ended.exit_code if self.ended else None,
            **self._times,
            "handle": self.facts.target.handle or None,
            "command": self._command,
            "bytes": self._transcript.bytes,
            "lines": self._output_limit.last_id if self._output_limit.passed else self._transcript.lines,
            **self._why,
        }

    @contextmanager
    def events(self, after: int | None = None, *, watching: bool = False) -> Generator[Reader]:
        """Follow all events, or those behind id `after`; who is only `watching` keeps no run going, nor waiting."""
        if watching:
            self._watching += 1
            self._note_readers()
            try:
                with self.log.reader(after, watching=True) as reader:
                    yield reader
            finally:
                self._watching -= 1
                self._note_readers()
            return
        self._readers += 1
        self._note_readers()
        self._forget_timer()
        try:
            with self.log.reader(after) as reader:
                yield reader
        finally:
            self._readers -= 1
            self._note_readers()
            if self._readers == 0 and not self.log.ended:
                self._cancel_unless_read_within(self._resume_window)

    def started_event(self) -> Control:
        """The first event of every stream that begins at the beginning."""
        started: dict[str, object] = {"status": "started", "run_id": self.run_id}
        left_out = [{name: self.masked(text) for name, text in one.items()} for one in self.spec.left_out]
        return Control(started | ({"left_out": left_out} if left_out else {}))

    def masked(self, text: str) -> str:
        """`text` without the credentials of this run's kubeconfig."""
        return self._redactor.mask(text)

    def stop(self) -> None:
        """Ask for the end of the command; the final event follows. Does nothing to a run that has ended."""
        self._stop_requested.set()

    @property
    def is_replay(self) -> bool:
        """Whether the command had ended before it was followed here."""
        return bool(self.spec.ended)

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        spec = self.spec
        texts = (spec.command, spec.stdin or "", spec.kubeconfig, spec.proxied_kubeconfig, self.facts.command or "")
        return self.log.size + sum(map(len, texts)) + (self._recorded.size if self._recorded else 0) + _OWN_BYTES

    @property
    def requests(self) -> Requests | None:
        """What the command has asked of its cluster so far; None where that is not known here."""
        return self._recorded.masked(self.masked) if self._recorded else None

    @property
    def _recorded(self) -> Requests | None:
        return self._execution.requests if self._execution else self._asked

    @property
    def is_over(self) -> bool:
        """Whether its final event is there, or can be read at once."""
        return self.log.ended or self.is_replay

    @property
    def is_whole(self) -> bool:
        """Whether nobody can have seen more of it elsewhere than is known here, as far as it has ended."""
        return self.log.whole

    def keep(self) -> None:
        """Somebody may ask any replica for the rest, while a run can be replayed: said before its end is taken."""
        self._kept = True
        self.log.wake()

    def linger(self, seconds: float) -> None:
        """Somebody knows its id and will come back for it: it goes on that long without a reader. What nobody reads
        in time is forgotten then, rather than waited for.
        """
        self._resume_window = max(self._resume_window, seconds)
        if self._readers <= 1:
            self.log.stop_waiting()
        self.keep()

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far, from accepted on."""
        return self._seconds() if self._took is None else self._took

    @property
    def readable_until(self) -> str | None:
        """When its output is forgotten at the latest, in UTC; None while it goes on."""
        ended = self._times["ended"]
        return None if ended is None else later(ended, self._replay_seconds)

    async def carry_out(self, executor: Executor) -> None:
        """From start to cleaned up. Unless the run is released, the last event is a final one, whatever happens."""
        with about_run(self.run_id):
            ended = Ended("error", None, "InternalError", "the service failed; its log says why")
            try:
                ended = await self._carry_out(executor)
            except asyncio.CancelledError:
                ended = Ended("cancelled")
                raise
            except Exception:
                _logger.exception("the run failed")
            finally:
                self._finish(ended)

    async def _carry_out(self, executor: Executor) -> Ended:
        async with executor.start(self.spec) as execution:
            self._execution = execution
            async with self._stopping_when_asked(execution):
                ended = await self._follow(execution)
                self._finish(ended)
                await execution.settle()
        return ended

    async def _follow(self, execution: Execution) -> Ended:
        async for item in execution:
            if isinstance(item, Ended):
                return self._output_limit.ended() if self._output_limit.passed else item
            await self._record(item)
        raise RuntimeError("the executor said nothing about the end")

    async def _record(self, item: Item) -> None:
        if isinstance(item, Pending):
            self._why = {"reason": item.reason, "message": self.masked(item.message)}
            await self.log.append(Control({"status": "pending", **self._why}))
        elif isinstance(item, list):
            if not self._running:
                self._running, self._why = True, {}
                self._times["started"] = now()
                self._note_started()
            for event in self._output_limit.cut(self._feed(item)):
                await self.log.append(event)
            if self._output_limit.passed:
                self._on_limit_passed()

    def _feed(self, frames: list[Frame]) -> list[Event]:
        before = self._transcript.amounts()
        events = self._transcript.feed(frames)
        after = self._transcript.amounts()
        if after != before:
            first = None if self._had_output else self._seconds()
            self._had_output = True
            self._note_output(OutputRead({one: after[one].since(before[one]) for one in after}, first, self.run_id))
        return events

    def _note_readers(self) -> None:
        """The number of those who follow the run here has changed."""

    def _on_limit_passed(self) -> None:
        self.stop()

    def _note_started(self) -> None:
        self._observe(CommandStarted(self._seconds(), self.run_id))

    def _note_output(self, read: OutputRead) -> None:
        self._observe(read)

    def _seconds(self) -> float:
        return time.monotonic() - self._accepted

    @asynccontextmanager
    async def _stopping_when_asked(self, execution: Execution) -> AsyncGenerator[None]:
        async def stop() -> None:
            await self._stop_requested.wait()
            self.log.stop_waiting()
            await execution.stop()

        async with beside(stop):
            yield

    def _finish(self, ended: Ended) -> None:
        if self.ended is not None or self.released:
            return
        self._forget_timer()
        self._took = self._seconds()
        self.ended = replace(ended, message=self.masked(ended.message))
        self._times["ended"] = now()
        self._why = self.ended.why
        for event in self._output_limit.cut(self._transcript.finish()):
            self.log.add(event)
        last_id = self._output_limit.last_id if self._output_limit.passed else self._transcript.lines
        self.log.end(final_event(self.ended, self.spec.timeout, last_id + 1), whole=ended.whole)

    def last_word(self) -> RunEnded | RunReleased | None:
        """What there is to say of it when `carry_out` is through."""
        return RunEnded(self.facts, self._outcome(), self._running, self._seconds())

    def forget_request(self) -> None:
        """The run is over, and all was said about it: what it was asked with goes, and what is known of its pod."""
        self._asked, self._execution = self._recorded, None
        self.spec = replace(self.spec, command="", stdin=None, kubeconfig="", proxied_kubeconfig="")
        self.facts = replace(self.facts, command=None)
        self.log.recording = None

    def _outcome(self) -> Outcome:
        ended = self.ended or Ended("error", None, "InternalError")
        return Outcome(
            ended=Ended(ended.status, ended.exit_code, self.masked(ended.reason), ended.message),
            started_at=self._times["started"],
            ended_at=self._times["ended"] or now(),
            amounts=self._transcript.amounts(),
            gaps=self._transcript.gaps,
            lost_lines=self._transcript.lost_lines,
            place=self._execution.place if self._execution else {},
            left=self.masked(self._execution.left) if self._execution else "",
            requests=self.requests,
            sent=self.log.recording.kept() if self.log.recording else (),
        )

    def _cancel_unless_read_within(self, seconds: float) -> None:
        self._abandoned = asyncio.get_running_loop().call_later(seconds, self._abandon)

    def _abandon(self) -> None:
        """Nobody has followed the run for the resume window."""
        self.stop()

    def _forget_timer(self) -> None:
        if self._abandoned:
            self._abandoned.cancel()
