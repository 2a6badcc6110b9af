"""All runs of this service and of the other replicas, which one cluster holds."""

import asyncio
from collections.abc import Collection, Iterator

from k8s_mcp.errors import NotFound, Unavailable
from k8s_mcp.executors.base import SharedExecutor
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Principal, RunSpec
from k8s_mcp.observe.facts import Observe, RunFacts, RunStarted, Target, Via, run_facts
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.observers import Deed
from k8s_mcp.policy.quotas import Quotas
from k8s_mcp.run_state import describe
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.run import Run
from k8s_mcp.runs.runs import Runs
from k8s_mcp.runs.shared_run import SharedRun
from k8s_mcp.runs.spec import target_of

_SHOWN_SECONDS = 10.0  # for the Job of a run to be created and seen
_LEAST_PATIENCE = 10.0  # seconds in which a request with a key begins its run, however short the resume window is
_STOP_SECONDS = 5.0  # in which the cluster is told that a run is to end; then who asked for that is to ask again


class SharedRuns(Runs):
    """Runs that outlive this process: each is carried out by one replica, and followed by any."""

    def __init__(
        self,
        executor: SharedExecutor,
        handles: Handles,
        admission: Admission,
        limits: Limits,
        quotas: Quotas,
        observe: Observe,
    ) -> None:
        super().__init__(executor, handles, admission, limits, quotas, observe)
        self._shared = executor
        self._latest_shown: asyncio.Task[None] | None = None

    def _states(self) -> Iterator[tuple[RunSpec, dict[str, object]]]:
        yield from super()._states()
        for spec, status in self._shared.elsewhere():
            if spec.run_id not in self._runs:
                yield spec, describe(spec, status)

    def _all(self) -> Iterator[RunSpec]:
        yield from super()._all()
        yield from (spec for spec, _ in self._shared.elsewhere())

    def _going(self) -> Collection[RunSpec]:
        going = {spec.run_id: spec for spec, _ in self._shared.elsewhere() if not spec.ended}
        return (going | {spec.run_id: spec for spec in super()._going()}).values()

    async def _until_counted(self) -> None:
        """What was started elsewhere before our latest run is known here then.

        So a replica is never more than one run beyond a quota, however much is asked of all of them at once.
        """
        if self._latest_shown is not None:
            done, _ = await asyncio.wait([self._latest_shown], timeout=_SHOWN_SECONDS)
            if not done:
                raise Unavailable("the cluster for runner pods is slow in taking runs; try again later")

    async def _begin(self, facts: RunFacts, spec: RunSpec, redactor: Redactor, arrived: float) -> RunSpec:
        there = await self._reserve(spec, arrived) if spec.is_unique else None
        if there is not None:
            return there
        try:
            self._observe(RunStarted(facts))
        except Unavailable:
            await self._shared.unreserve(spec)
            raise
        task = self._add(self._run(facts, spec, redactor))
        self._latest_shown = self._tasks.create_task(self._until_shown(spec, task))
        return spec

    async def _reserve(self, spec: RunSpec, arrived: float) -> RunSpec | None:
        """A key is remembered for the resume window behind its run's end. A request that was held up here for longer
        may have been repeated to another replica, and its run be over and forgotten: it is not to start another.
        """
        until = arrived + max(self._limits.resume_window, _LEAST_PATIENCE)
        try:
            async with asyncio.timeout_at(until):
                await asyncio.sleep(0)  # if that is over already, before anything is sent
                return await self._shared.reserve(spec)
        except TimeoutError:
            late = "the request was held up for too long; repeat it with the same Idempotency-Key"
            raise Unavailable(late) from None

    async def _get(self, principal: Principal, spec: RunSpec, via: Via) -> Run:
        if spec.run_id not in self._runs:
            self._check_accepting()
            recovered = await self._shared.recover(spec)
            if recovered is None:
                raise NotFound("the run is over, and its output is gone")
            if spec.run_id not in self._runs:  # nobody else was faster
                self._check_accepting()
                self._follow(principal, recovered, via)
        return self._runs[spec.run_id]

    def _follow(self, principal: Principal, spec: RunSpec, via: Via) -> None:
        kubeconfig = self._admission.reread(spec.kubeconfig) if spec.kubeconfig else None
        redactor = Redactor(kubeconfig.secrets() if kubeconfig else ())
        target = target_of(kubeconfig) if kubeconfig else Target(spec.server)
        whose = principal if spec.is_of(principal) else Principal(spec.principal)
        facts = run_facts(spec, whose, via, target, redactor.mask, adopted=True)
        self._add(self._run(facts, spec, redactor))

    def _known(self, principal: Principal, run_id: str, deed: Deed, via: Via) -> RunSpec:
        if all(spec.run_id != run_id for spec in self._all()):
            self._shared.check()  # what others have begun is not heard of while the cluster is out of reach
        return super()._known(principal, run_id, deed, via)

    async def _cancel(self, spec: RunSpec) -> None:
        run = self._runs.get(spec.run_id)
        if isinstance(run, SharedRun):
            if await run.stopped(_STOP_SECONDS):
                return
            if not run.released:
                raise Unavailable(
                    "the run is to end, but its cluster cannot be told: if this replica of the service ends, "
                    "nobody knows of it; ask again"
                )
        await self._shared.cancel(spec)

    def _end(self, run: Run) -> None:
        """Another replica can go on with it."""
        if isinstance(run, SharedRun):
            run.release()

    def _run(self, facts: RunFacts, spec: RunSpec, redactor: Redactor) -> SharedRun:
        return SharedRun(facts, spec, redactor, self._limits, self._observe, self._shared, lambda: self.accepting)

    async def _until_shown(self, spec: RunSpec, carried_out: asyncio.Task[None]) -> None:
        """Until the run's Job was there to be seen, or it is carried out.

        To be called at its beginning: a Job may be gone long before its run is over, and nobody would see it then.
        """
        shown = asyncio.ensure_future(self._shared.shown(spec))
        try:
            await asyncio.wait((shown, carried_out), return_when=asyncio.FIRST_COMPLETED)
        finally:
            shown.cancel()
