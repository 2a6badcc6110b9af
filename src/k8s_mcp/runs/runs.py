"""All runs of this service: both front ends call this, and nothing else starts a command."""

import asyncio
import secrets
import weakref
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from k8s_mcp.cluster.objects import FIRST_PROXY_PORT
from k8s_mcp.errors import InvalidRequest, NotFound, TooLarge, Unavailable
from k8s_mcp.executors.base import Executor
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.limits import REQUEST_BYTES
from k8s_mcp.log_format import now
from k8s_mcp.models import Access, Principal, RunRequest, RunSpec, digest, owner_of
from k8s_mcp.observe.facts import CancelRequested, Observe, RunFacts, RunStarted, Target, Via, run_facts
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.quotas import Quotas
from k8s_mcp.policy.rules import Grant
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.run import Limits, Run, describe

DEFAULT_TIMEOUT = 300
_SECRET_BYTES = 1024 * 1024 - 16 * 1024  # what a Secret holds, less the small files
_STOP_MARGIN = 15.0
_SHOWN_SECONDS = 10.0  # for the Job of a run to be created and seen


class Runs:
    """All runs of this service. Use `open()` as an async context manager, for the service's life."""

    def __init__(
        self,
        executor: Executor,
        handles: Handles,
        admission: Admission,
        limits: Limits,
        quotas: Quotas,
        observe: Observe,
    ) -> None:
        self.accepting = False
        self.drained = asyncio.Event()
        """Set when `drain` is through."""
        self._executor = executor
        self._handles = handles
        self._admission = admission
        self._limits = limits
        self._quotas = quotas
        self._observe = observe
        self._starting = asyncio.Lock()
        self._latest_shown: asyncio.Task[None] | None = None
        self._runs: dict[str, Run] = {}
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

    @property
    def executor(self) -> str:
        return self._executor.name

    def check(self) -> None:
        """Raise Unavailable when runs cannot be started right now."""
        if not self.accepting:
            raise Unavailable("the service is shutting down; send the request again, another replica will take it")
        self._executor.check()

    async def start(
        self, principal: Principal, request: RunRequest, key: str | None = None, via: Via = "http"
    ) -> Run:
        """Start a run; with the idempotency key of one that can still be read, return that one.

        Raises Forbidden, InvalidRequest, KubeconfigError, NotFound (cluster), TooLarge, TooManyRuns or Unavailable.
        """
        text, handle = await self._kubeconfig(principal, request)
        kubeconfig, grant = self._admission.admit(principal, text, handle)
        spec = self._spec(principal, request, key, kubeconfig, grant)
        known = self._find(principal, name=spec.name)
        if known is None:
            await self._admission.check_addresses(kubeconfig)
            async with self._starting:
                await self._until_latest_is_shown()
                known = self._find(principal, name=spec.name)
                if known is None:
                    self.check()
                    running = {spec.run_id: spec for spec, _ in self._executor.elsewhere() if not spec.ended}
                    running |= {run_id: self._runs[run_id].spec for run_id in self._active}
                    self._quotas.check(spec, grant, running.values())
                    redactor = Redactor(kubeconfig.secrets())
                    facts = run_facts(spec, principal, via, _target(kubeconfig, request.cluster), redactor.mask)
                    run = self._begin(facts, spec, redactor)
                    self._latest_shown = self._tasks.create_task(self._until_shown(spec, self._active[run.run_id]))
                    return run
        if known.digest != spec.digest:
            raise InvalidRequest("Idempotency-Key", "was used for another request; use a new key for every command")
        return await self._get(principal, known, via)

    def in_progress(self, runs: Iterable[Run]) -> set[asyncio.Task[None]]:
        """What carries these runs out here, to the end of their cleaning up. So long each takes a slot."""
        return {self._active[run.run_id] for run in runs if run.run_id in self._active}

    @property
    def can_be_read_only(self) -> bool:
        """Whether a run can be kept to reading here."""
        return self._executor.can_be_read_only

    def only_reads(self, principal: Principal) -> bool:
        """Whether the policy lets the principal read only."""
        return self._admission.only_reads(principal)

    def started_with(self, principal: Principal, key: str) -> str | None:
        """The id of the run that the principal's idempotency key has started, on whatever replica; or None."""
        spec = self._find(principal, name=_name(principal, key))
        return spec.run_id if spec else None

    async def follow(self, principal: Principal, run_id: str, via: Via = "http") -> Run:
        """The principal's run of that id, to be followed here: a run of another replica is taken over.

        Raises NotFound, also for somebody else's run.
        """
        return await self._get(principal, self._known(principal, run_id), via)

    def describe(self, principal: Principal, run_id: str) -> dict[str, object]:
        """One run's state. Raises NotFound, also for somebody else's run."""
        spec = self._known(principal, run_id)
        return next(state for state in self.list(principal) if state["run_id"] == spec.run_id)

    def list(self, principal: Principal) -> list[dict[str, object]]:
        """The states of the principal's runs, oldest first, on whatever replica."""
        here = [run.describe() for run in self._runs.values() if run.principal == principal]
        there = [
            describe(spec, status)
            for spec, status in self._executor.elsewhere()
            if spec.owner == owner_of(principal) and spec.run_id not in self._runs
        ]
        return sorted(here + there, key=lambda state: str(state["created"]))

    async def cancel(self, principal: Principal, run_id: str, via: Via = "http") -> None:
        """End a run's command; its final event follows. Raises NotFound, also for somebody else's run."""
        spec = self._known(principal, run_id)
        self._observe(CancelRequested(principal, via, spec.run_id))
        run = self._runs.get(run_id)
        if run is None:
            await self._executor.cancel(spec)
        else:
            run.stop()

    async def drain(self, grace: float) -> None:
        """Take no more runs and give those in progress `grace` seconds; returns when none is left here.

        After that a run that another replica can go on with is released, any other is cancelled.
        """
        self.accepting = False
        try:
            await self._drain(grace)
        finally:
            self.drained.set()

    def release_all(self) -> None:
        """Let go of every run: this replica can no longer be sure that they are its own."""
        for run in self._runs.values():
            run.release()

    async def _drain(self, grace: float) -> None:
        if await self._all_ended_within(grace):
            return
        for run in self._runs.values():
            if self._executor.durable:
                run.release()
            else:
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

    async def _until_latest_is_shown(self) -> None:
        """Before another run is counted: what was started elsewhere before our latest one is known here then.

        So a replica is never more than one run beyond a quota, however much is asked of all of them at once.
        """
        if self._latest_shown is not None:
            done, _ = await asyncio.wait([self._latest_shown], timeout=_SHOWN_SECONDS)
            if not done:
                raise Unavailable("the cluster for runner pods is slow in taking runs; try again later")

    async def _until_shown(self, spec: RunSpec, carried_out: asyncio.Task[None]) -> None:
        """Until the run's Job was there to be seen, or it is carried out.

        To be called at its beginning: a Job may be gone long before its run is over, and nobody would see it then.
        """
        shown = asyncio.ensure_future(self._executor.shown(spec))
        try:
            await asyncio.wait((shown, carried_out), return_when=asyncio.FIRST_COMPLETED)
        finally:
            shown.cancel()

    async def _kubeconfig(self, principal: Principal, request: RunRequest) -> tuple[str, str | None]:
        """The text, and the handle's name if it is the operator's: a handle of one's own is one's own kubeconfig."""
        if request.cluster is None:
            return request.kubeconfig or "", None
        handle = await self._handles.get(principal, request.cluster)
        return handle.kubeconfig, handle.name if handle.expires is None else None

    def _spec(
        self, principal: Principal, request: RunRequest, key: str | None, kubeconfig: Kubeconfig, grant: Grant
    ) -> RunSpec:
        if request.size() > REQUEST_BYTES:
            raise TooLarge(f"command, kubeconfig and stdin together are over {REQUEST_BYTES} bytes")
        longest = min(self._limits.max_timeout, grant.max_timeout or self._limits.max_timeout)
        timeout = request.timeout or min(DEFAULT_TIMEOUT, longest)
        if timeout > longest:
            whose = "the maximum of this server" if longest == self._limits.max_timeout else "the maximum for you"
            raise InvalidRequest("timeout", f"must be at most {longest}, {whose}")
        run_id = secrets.token_hex(16)
        contexts = tuple(context.name for context in kubeconfig.contexts)
        servers = {name: f"http://127.0.0.1:{FIRST_PROXY_PORT + number}" for number, name in enumerate(contexts)}
        spec = RunSpec(
            run_id=run_id,
            name=f"run-{run_id}" if key is None else _name(principal, key),
            owner=owner_of(principal),
            digest=digest(request.model_dump_json()),
            server=kubeconfig.server,
            timeout=timeout,
            created=now(),
            command=request.command,
            stdin=request.stdin,
            kubeconfig=kubeconfig.dump(),
            proxied_kubeconfig=kubeconfig.without_credentials(servers).dump(),
            contexts=contexts,
            access=self._access(request, grant),
            servers=kubeconfig.servers,
            max_output=grant.max_output,
            rule=grant.rule,
        )
        stored = (spec.command, spec.stdin or "", spec.kubeconfig, spec.proxied_kubeconfig)
        if sum(len(text.encode()) for text in stored) > _SECRET_BYTES:
            raise TooLarge("the kubeconfig as it would be stored is too large; send its current context only")
        return spec

    def _access(self, request: RunRequest, grant: Grant) -> Access:
        if not request.read_only:
            return grant.access
        self._admission.check_read_only()
        return "read-only"

    def _known(self, principal: Principal, run_id: str) -> RunSpec:
        spec = self._find(principal, run_id=run_id)
        if spec is None:
            raise NotFound("no such run; a finished run can be read for a limited time only")
        return spec

    def _find(self, principal: Principal, *, run_id: str = "", name: str = "") -> RunSpec | None:
        """The principal's run of that id or name, on whatever replica."""
        specs = [run.spec for run in self._runs.values()] + [spec for spec, _ in self._executor.elsewhere()]
        owner = owner_of(principal)
        for spec in specs:
            if spec.owner == owner and (spec.run_id == run_id or spec.name == name):
                return spec
        return None

    async def _get(self, principal: Principal, spec: RunSpec, via: Via) -> Run:
        if spec.run_id not in self._runs:
            recovered = await self._executor.recover(spec)
            if recovered is None:
                raise NotFound("the run is over, and its output is gone")
            if spec.run_id not in self._runs:  # nobody else was faster
                kubeconfig = self._admission.reread(recovered.kubeconfig) if recovered.kubeconfig else None
                redactor = Redactor(kubeconfig.secrets() if kubeconfig else ())
                target = _target(kubeconfig) if kubeconfig else Target(spec.server)
                facts = run_facts(recovered, principal, via, target, redactor.mask, adopted=True)
                self._begin(facts, recovered, redactor)
        return self._runs[spec.run_id]

    def _begin(self, facts: RunFacts, spec: RunSpec, redactor: Redactor) -> Run:
        self._observe(RunStarted(facts))
        run = Run(facts, spec, redactor, self._limits, self._observe)
        self._runs[run.run_id] = run
        self._active[run.run_id] = self._tasks.create_task(self._carry_out(run), name=f"run {run.run_id}")
        return run

    async def _carry_out(self, run: Run) -> None:
        try:
            await run.carry_out(self._executor)
        finally:
            del self._active[run.run_id]
            self._observe(run.last_word())
            if run.released:
                self._drop(run)
            else:
                self._keep_for_replay(run)

    def _keep_for_replay(self, run: Run) -> None:
        # A weak reference: what is dropped sooner for its size must not stay in memory until then.
        asyncio.get_running_loop().call_later(self._limits.replay_seconds, self._drop_if_there, weakref.ref(run))
        finished = [run for run in self._runs.values() if run.run_id not in self._active]
        held = sum(run.size for run in finished)
        for oldest in finished:
            if held <= self._limits.replay_total_bytes:
                return
            held -= oldest.size
            self._drop(oldest)

    def _drop_if_there(self, reference: weakref.ref[Run]) -> None:
        run = reference()
        if run is not None:
            self._drop(run)

    def _drop(self, run: Run) -> None:
        if self._runs.get(run.run_id) is run:
            del self._runs[run.run_id]


def _target(kubeconfig: Kubeconfig, handle: str | None = None) -> Target:
    return Target(kubeconfig.server, kubeconfig.current_context, kubeconfig.fingerprint, handle or "")


def _name(principal: Principal, key: str) -> str:
    """The name of the run that an idempotency key starts."""
    return f"run-{digest(principal.name, key)}"
