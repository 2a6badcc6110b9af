"""Runs: one command each, from accepted to cleaned up.

Both front ends call this, and nothing else starts a command.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from k8s_mcp.cluster.objects import FIRST_PROXY_PORT
from k8s_mcp.errors import InvalidRequest, NotFound, TooLarge, TooManyRuns, Unavailable
from k8s_mcp.eventlog import EventLog, Reader
from k8s_mcp.executors.base import Execution, Executor, Item, Pending
from k8s_mcp.kubeconfig import Allowed, Kubeconfig, parse
from k8s_mcp.models import REQUEST_BYTES, Control, Ended, Principal, RunRequest, RunSpec, final_event
from k8s_mcp.redact import Redactor
from k8s_mcp.transcript import Transcript

DEFAULT_TIMEOUT = 300
_FIRST_READER_SECONDS = 10.0
_STOP_MARGIN = 15.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds on what callers can hold. Times in seconds, sizes in bytes."""

    max_timeout: int
    max_runs: int
    grace_period: float
    resume_window: float
    replay_seconds: float
    replay_bytes: int
    replay_total_bytes: int


class Run:
    """One command being executed, and its events."""

    def __init__(self, principal: Principal, spec: RunSpec, kubeconfig: Kubeconfig, limits: Limits) -> None:
        self.run_id = spec.run_id
        self.principal = principal
        self.spec = spec
        self.log = EventLog(limits.replay_bytes)
        self.ended: Ended | None = None
        self._cluster = kubeconfig.server
        self._redactor = Redactor(kubeconfig.secrets())
        self._transcript = Transcript(self._redactor)
        self._resume_window = limits.resume_window
        self._running = False
        self._stop_requested = asyncio.Event()
        self._readers = 0
        self._abandoned: asyncio.TimerHandle | None = None
        self._times: dict[str, str | None] = {"created": _now(), "started": None, "ended": None}
        self._cancel_unless_read_within(max(limits.resume_window, _FIRST_READER_SECONDS))

    def describe(self) -> dict[str, object]:
        """The run's state as `GET /runs/{id}` gives it."""
        status = "running" if self._running else "pending"
        state: dict[str, object] = {
            "run_id": self.run_id,
            "status": self.ended.status if self.ended else status,
            "exit_code": self.ended.exit_code if self.ended else None,
            **self._times,
            "cluster": self._cluster,
            "timeout": self.spec.timeout,
            "bytes": self._transcript.bytes,
            "lines": self._transcript.lines,
        }
        if self.ended and self.ended.status == "error":
            state |= {"reason": self.ended.reason, "message": self.ended.message}
        return state

    @contextmanager
    def events(self, after: int | None = None) -> Generator[Reader]:
        """Follow the run's events:

        all of them, or those behind id `after`. Without any follower the run is cancelled after a while.
        """
        self._readers += 1
        if self._abandoned:
            self._abandoned.cancel()
        try:
            with self.log.reader(after) as reader:
                yield reader
        finally:
            self._readers -= 1
            if self._readers == 0 and self.ended is None:
                self._cancel_unless_read_within(self._resume_window)

    def started_event(self) -> Control:
        """The first event of every stream that begins at the beginning."""
        return Control({"status": "started", "run_id": self.run_id})

    def stop(self) -> None:
        """Ask for the end of the command; the final event follows. Does nothing to a run that has ended."""
        self._stop_requested.set()

    async def carry_out(self, executor: Executor) -> None:
        """From start to cleaned up. Whatever happens, the last event is a final one."""
        ended = Ended("error", None, "InternalError", "the service failed; its log says why")
        try:
            async with executor.start(self.spec) as execution:
                ended = await self._follow(execution)
                self._finish(ended)
        except asyncio.CancelledError:
            ended = Ended("cancelled")
            raise
        except Exception:
            _logger.exception("run %s failed", self.run_id)
        finally:
            self._finish(ended)

    async def _follow(self, execution: Execution) -> Ended:
        async with asyncio.TaskGroup() as group:
            stopper = group.create_task(self._stop_when_asked(execution))
            try:
                async for item in execution:
                    if isinstance(item, Ended):
                        return item
                    await self._keep(item)
            finally:
                stopper.cancel()
        raise RuntimeError("the executor said nothing about the end")

    async def _keep(self, item: Item) -> None:
        if isinstance(item, Pending):
            await self.log.append(
                Control({"status": "pending", "reason": item.reason, "message": self._masked(item.message)})
            )
        elif isinstance(item, list):
            if not self._running:
                self._running = True
                self._times["started"] = _now()
            for event in self._transcript.feed(item):
                await self.log.append(event)

    async def _stop_when_asked(self, execution: Execution) -> None:
        await self._stop_requested.wait()
        self.log.stop_waiting()
        await execution.stop()

    def _finish(self, ended: Ended) -> None:
        if self.ended is not None:
            return
        if self._abandoned:
            self._abandoned.cancel()
        self.ended = Ended(ended.status, ended.exit_code, ended.reason, self._masked(ended.message))
        self._times["ended"] = _now()
        for event in self._transcript.finish():
            self.log.add(event)
        self.log.end(final_event(self.ended, self.spec.timeout, self._transcript.lines + 1))

    def _masked(self, text: str) -> str:
        return self._redactor.apply(text.encode()).decode("utf-8", "replace")

    def _cancel_unless_read_within(self, seconds: float) -> None:
        self._abandoned = asyncio.get_running_loop().call_later(seconds, self.stop)


class Runs:
    """All runs of this service. Use it as an async context manager, for the service's life."""

    def __init__(self, executor: Executor, limits: Limits, allowed: Allowed) -> None:
        self.accepting = False
        self._executor = executor
        self._limits = limits
        self._allowed = allowed
        self._runs: dict[str, Run] = {}
        self._keys: dict[tuple[Principal, str], tuple[str, Run]] = {}
        self._tasks = asyncio.TaskGroup()
        self._active: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Accept runs until the context ends; those still going then are cancelled and cleaned up."""
        async with self._executor.open(), self._tasks:
            self.accepting = True
            try:
                yield
            finally:
                await self.drain(0)
                for run in list(self._runs.values()):
                    self._drop(run)

    def check(self) -> None:
        """Raise Unavailable when runs cannot be started right now."""
        if not self.accepting:
            raise Unavailable("the service is shutting down; send the request again, another replica will take it")
        self._executor.check()

    @property
    def executor(self) -> str:
        return self._executor.name

    def start(self, principal: Principal, request: RunRequest, key: str | None = None) -> Run:
        """Start a run; with the idempotency key of one that can still be read, return that one.

        Raises InvalidRequest, KubeconfigError, NotFound (cluster), TooLarge, TooManyRuns or Unavailable.
        """
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest() if key is not None else ""
        if key is not None and (principal, key) in self._keys:
            known, run = self._keys[principal, key]
            if known != digest:
                raise InvalidRequest(
                    "Idempotency-Key", "was used for another request; use a new key for every command"
                )
            return run
        spec, kubeconfig = self._read(request)
        self.check()
        if len(self._active) >= self._limits.max_runs:
            raise TooManyRuns(
                f"{self._limits.max_runs} runs are in progress, the most this service allows; try again later"
            )
        run = Run(principal, spec, kubeconfig, self._limits)
        self._runs[run.run_id] = run
        if key is not None:
            self._keys[principal, key] = (digest, run)
        self._active[run.run_id] = self._tasks.create_task(self._carry_out(run), name=f"run {run.run_id}")
        return run

    def get(self, principal: Principal, run_id: str) -> Run:
        """The principal's run of that id. NotFound also for somebody else's."""
        run = self._runs.get(run_id)
        if run is None or run.principal != principal:
            raise NotFound("no such run; a finished run can be read for a limited time only")
        return run

    def list(self, principal: Principal) -> list[Run]:
        """The principal's runs, oldest first."""
        return [run for run in self._runs.values() if run.principal == principal]

    async def drain(self, grace: float) -> None:
        """Take no more runs, give those in progress `grace` seconds, then cancel them; returns when all are cleaned
        up.
        """
        self.accepting = False
        if await self._all_ended_within(grace):
            return
        for run in self._runs.values():
            run.stop()
        if await self._all_ended_within(self._limits.grace_period + _STOP_MARGIN):
            return
        for task in self._active.values():
            task.cancel()
        await self._all_ended_within(_STOP_MARGIN)

    async def _all_ended_within(self, seconds: float) -> bool:
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=seconds)
        return not self._active

    def _read(self, request: RunRequest) -> tuple[RunSpec, Kubeconfig]:
        if request.size() > REQUEST_BYTES:
            raise TooLarge(f"command, kubeconfig and stdin together are over {REQUEST_BYTES} bytes")
        timeout = request.timeout or min(DEFAULT_TIMEOUT, self._limits.max_timeout)
        if timeout > self._limits.max_timeout:
            raise InvalidRequest("timeout", f"must be at most {self._limits.max_timeout}, the maximum of this server")
        if request.kubeconfig is None:
            raise NotFound("no such cluster; send the kubeconfig itself as `kubeconfig`")
        kubeconfig = parse(request.kubeconfig, self._allowed)
        run_id = secrets.token_hex(16)
        contexts = tuple(context.name for context in kubeconfig.contexts)
        servers = {name: f"http://127.0.0.1:{FIRST_PROXY_PORT + number}" for number, name in enumerate(contexts)}
        proxied = kubeconfig.without_credentials(servers).dump()
        spec = RunSpec(run_id, request.command, kubeconfig.dump(), timeout, request.stdin, proxied, contexts)
        return spec, kubeconfig

    async def _carry_out(self, run: Run) -> None:
        try:
            await run.carry_out(self._executor)
        finally:
            del self._active[run.run_id]
            self._keep_for_replay(run)

    def _keep_for_replay(self, run: Run) -> None:
        asyncio.get_running_loop().call_later(self._limits.replay_seconds, self._drop, run)
        finished = [run for run in self._runs.values() if run.run_id not in self._active]
        held = sum(run.log.size for run in finished)
        for oldest in finished:
            if held <= self._limits.replay_total_bytes:
                return
            held -= oldest.log.size
            self._drop(oldest)

    def _drop(self, run: Run) -> None:
        self._runs.pop(run.run_id, None)
        for name, (_, known) in list(self._keys.items()):
            if known is run:
                del self._keys[name]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
