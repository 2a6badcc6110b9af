"""All runs of this service: both front ends call this, and nothing else starts a command."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager

from k8s_mcp.errors import InvalidRequest, NotFound, ShuttingDown
from k8s_mcp.executors.base import Executor
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Access, Principal, RunRequest, RunSpec
from k8s_mcp.observe.facts import CancelRequested, Observe, RunFacts, RunStarted, Via, run_facts
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.api_rules import strictest
from k8s_mcp.policy.observers import Deed
from k8s_mcp.policy.quotas import Quotas
from k8s_mcp.policy.rules import Grant
from k8s_mcp.run_state import oldest_first
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.run import Run
from k8s_mcp.runs.sight import Sight
from k8s_mcp.runs.spec import make_spec, name_of, target_of

_STOP_MARGIN = 15.0


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
        self.sight = Sight(admission, observe)
        self._starting = asyncio.Lock()
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

    @property
    def limits(self) -> Limits:
        return self._limits

    def check(self) -> None:
        """Raise Unavailable when runs cannot be started right now."""
        self._check_accepting()
        self._executor.check()

    def _check_accepting(self) -> None:
        if not self.accepting:
            raise ShuttingDown

    async def start(
        self,
        principal: Principal,
        request: RunRequest,
        key: str | None = None,
        via: Via = "http",
        *,
        again: bool = False,
    ) -> Run:
        """Start a run; with the idempotency key of one that can still be read, return that one.

        `again`: the caller has seen that one begin, so no other is started. Raises
        Forbidden, InvalidRequest, KubeconfigError, NotFound (cluster), TooLarge, TooManyRuns or Unavailable.
        """
        arrived = asyncio.get_running_loop().time()
        text, handle = await self._kubeconfig(principal, request)
        kubeconfig, grant = self._admission.admit(principal, text, handle)
        spec = self._spec(principal, request, key, kubeconfig, grant, via)
        known = self._find(principal, spec.key)
        if known is None and again:
            self.check()
            raise NotFound("the run of this Idempotency-Key is over, and its output is gone; it is not run again")
        if known is None:
            resolved = await self._admission.check_addresses(kubeconfig)
            if resolved is not kubeconfig:
                kubeconfig, spec = resolved, self._spec(principal, request, key, resolved, grant, via)
            async with self._starting:
                await self._until_counted()
                known = self._find(principal, spec.key)
                if known is None:
                    self.check()
                    self._quotas.check(spec, grant, self._going())
                    redactor = Redactor(kubeconfig.secrets())
                    facts = run_facts(spec, principal, via, target_of(kubeconfig, request.cluster), redactor.mask)
                    known = await self._begin(facts, spec, redactor, arrived)
        if known.digest != spec.digest:
            raise InvalidRequest("Idempotency-Key", "was used for another request; use a new key for every command")
        return await self._get(principal, known.asked_with(spec), via)

    def in_progress(self, runs: Iterable[Run]) -> set[asyncio.Task[None]]:
        """What carries these runs out here, to the end of their cleaning up. So long each takes a slot."""
        return {self._active[run.run_id] for run in runs if run.run_id in self._active}

    @property
    def can_be_read_only(self) -> bool:
        """Whether a run can be kept to reading here."""
        return self._executor.can_be_read_only

    def most_access(self, principal: Principal) -> Access:
        """The most that the policy, and their token, let the principal do."""
        return strictest([self._admission.most_access(principal), principal.access])

    def check_scope(self, principal: Principal) -> None:
        """Raise InsufficientScope where nothing can be run with the principal's token."""
        self._admission.check_scope(principal)

    def started_with(self, principal: Principal, key: str) -> str | None:
        """The id of the run that the principal's idempotency key has started, on whatever replica; or None."""
        spec = self._find(principal, name_of(principal, key))
        return spec.run_id if spec else None

    async def follow(self, principal: Principal, run_id: str, via: Via = "http") -> Run:
        """The run of that id, to be followed here, on whatever replica it is carried out.

        Raises NotFound, also for somebody else's run; Forbidden for an observer who may not read it.
        """
        return await self._get(principal, self._known(principal, run_id, "output", via), via)

    def describe(self, principal: Principal, run_id: str, via: Via = "http") -> dict[str, object]:
        """One run's state. Raises NotFound, also for somebody else's run."""
        known = self._known(principal, run_id, "state", via)
        state = next(state for spec, state in self._states() if spec.run_id == known.run_id)
        run = self._runs.get(known.run_id)
        requests = run.requests if run else None
        shown = self.sight.shown(principal, known, state)
        return {**shown, "requests": requests.describe()} if requests else shown

    def list_all(self, principal: Principal, via: Via = "http") -> list[dict[str, object]]:
        """The states of all callers' runs, as far as the principal may see them, oldest first."""
        seen = self.sight.seen(principal, self._states())
        self.sight.note_list(principal, [spec for spec, _ in seen], via)
        return oldest_first(state for _, state in seen)

    def list(self, principal: Principal) -> list[dict[str, object]]:
        """The states of the principal's runs, oldest first, on whatever replica."""
        return oldest_first(state for spec, state in self._states() if spec.is_of(principal))

    async def cancel(self, principal: Principal, run_id: str, via: Via = "http") -> None:
        """End a run's command; its final event follows. Raises NotFound; Forbidden for an observer who may not."""
        spec = self._known(principal, run_id, "cancel", via)
        self._observe(CancelRequested(principal, via, spec.run_id))
        await self._cancel(spec)

    async def drain(self, grace: float) -> None:
        """Take no more runs and give those in progress `grace` seconds; then end them. Returns when none is left."""
        self.accepting = False
        try:
            await self._drain(grace)
        finally:
            self.drained.set()

    async def _drain(self, grace: float) -> None:
        if await self._all_ended_within(grace):
            return
        for run in self._runs.values():
            self._end(run)
        if await self._all_ended_within(self._limits.grace_period + _STOP_MARGIN):
            return
        for task in self._active.values():
            task.cancel()
        await self._all_ended_within(_STOP_MARGIN)

    async def _all_ended_within(self, seconds: float) -> bool:
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=seconds)
        return not self._active

    async def _kubeconfig(self, principal: Principal, request: RunRequest) -> tuple[str, str | None]:
        """The text, and the handle's name if it is the operator's: a handle of one's own is one's own kubeconfig."""
        if request.cluster is None:
            return request.kubeconfig or "", None
        handle = await self._handles.get(principal, request.cluster)
        return handle.kubeconfig, handle.name if handle.expires is None else None

    def _spec(
        self,
        principal: Principal,
        request: RunRequest,
        key: str | None,
        kubeconfig: Kubeconfig,
        grant: Grant,
        via: Via,
    ) -> RunSpec:
        self._admission.check_scope(principal)
        if request.read_only or request.dry_run:
            self._admission.check_read_only()
        unique = via == "http"  # a key of MCP's is there to cancel by: a request that is repeated means another run
        return make_spec(principal, request, key, kubeconfig, grant, self._limits.max_timeout, unique=unique)

    def _known(self, principal: Principal, run_id: str, deed: Deed, via: Via) -> RunSpec:
        spec = next((spec for spec in self._all() if spec.run_id == run_id), None)
        return self.sight.checked(principal, spec, deed, via)

    def _find(self, principal: Principal, key: str) -> RunSpec | None:
        """The principal's run that a key has started, on whatever replica; none without a key."""
        return next((spec for spec in self._all() if key and spec.key == key and spec.is_of(principal)), None)

    def _states(self) -> Iterator[tuple[RunSpec, dict[str, object]]]:
        """All runs that can be followed, with their states."""
        yield from ((run.spec, run.describe()) for run in self._runs.values())

    def _all(self) -> Iterator[RunSpec]:
        """All runs that can be followed."""
        yield from (run.spec for run in self._runs.values())

    def _going(self) -> Collection[RunSpec]:
        """All runs that have not ended; one that is only replayed here takes nobody's place."""
        return [spec for run_id in self._active if not (spec := self._runs[run_id].spec).ended]

    async def _until_counted(self) -> None:
        """Before another run is counted: wait until `_going` is all that there is."""

    async def _get(self, principal: Principal, spec: RunSpec, via: Via) -> Run:  # noqa: ARG002 - for shared runs
        return self._runs[spec.run_id]

    async def _cancel(self, spec: RunSpec) -> None:
        self._runs[spec.run_id].stop()

    def _end(self, run: Run) -> None:
        """End a run that goes on for longer than the service does."""
        run.stop()

    async def _begin(self, facts: RunFacts, spec: RunSpec, redactor: Redactor, arrived: float) -> RunSpec:  # noqa: ARG002 - for shared runs
        """Begin the run of a request of that time, the loop's; returns it, or the one that is there already."""
        self._observe(RunStarted(facts))
        self._add(Run(facts, spec, redactor, self._limits, self._observe))
        return spec

    def _add(self, run: Run) -> asyncio.Task[None]:
        self._runs[run.run_id] = run
        task = self._tasks.create_task(self._carry_out(run), name=f"run {run.run_id}")
        self._active[run.run_id] = task
        return task

    async def _carry_out(self, run: Run) -> None:
        try:
            await run.carry_out(self._executor)
        finally:
            del self._active[run.run_id]
            last_word = run.last_word()
            if last_word is not None:
                self._observe(last_word)
            run.forget_request()
            if run.released:
                self._drop(run)
            else:
                self._keep_for_replay(run)

    def _keep_for_replay(self, run: Run) -> None:
        # A weak reference: what is dropped sooner for its size must not stay in memory until then.
        asyncio.get_running_loop().call_later(self._limits.replay_seconds, self._drop_if_there, weakref.ref(run))
        finished = [run for run in self._runs.values() if run.run_id not in self._active]
        held = sum(run.size for run in finished)
        for first in sorted(finished, key=lambda run: run.ours):  # copies before the oldest of our own
            if held <= self._limits.replay_total_bytes:
                return
            held -= first.size
            self._drop(first)

    def _drop_if_there(self, reference: weakref.ref[Run]) -> None:
        if (run := reference()) is not None:
            self._drop(run)

    def _drop(self, run: Run) -> None:
        if self._runs.get(run.run_id) is run:
            del self._runs[run.run_id]
