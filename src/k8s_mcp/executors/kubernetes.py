"""The Kubernetes executor: every run in a Job pod of its own, its output read from the pod's log.

Order: Job suspended, Secret owned by the Job, Job resumed. Whoever deletes the Job takes Secret and pod along, so
nothing is orphaned, and the Secret is there before the kubelet looks for it.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from http import HTTPStatus

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.logs import follow
from k8s_mcp.cluster.objects import (
    CANCELLED,
    FIRST_PROXY_PORT,
    REPLICA,
    RUN,
    PodTemplate,
    is_run,
    kept_for,
    make_job,
    make_secret,
    read_job,
)
from k8s_mcp.cluster.watch import JOBS, PODS, Watched, job_of
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import Execution, Item, Pending, read_exit, uninterrupted
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.runner.frames import Decoder, decode

SECRETS = "/api/v1/secrets"

_UNREACHABLE = "the API server of the cluster for runner pods does not answer; try again later"
_MARGIN = 30.0  # seconds after timeout and grace period in which a runner may still report, before it counts as lost
_REMOVED_SECONDS = 30.0
_REASON_SECONDS = 5.0  # in which Kubernetes says why it has ended a pod
_JOB_SECONDS = 1.0  # in which the Job says why, after its pod is seen to be deleted: they come on two connections
_MOST_KEPT = 10
"""Most finished runs of one owner whose pods stay for other replicas to read."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_KILLED = 137  # then a termination message is the command's: the runner did not come to write one
_MADE_UP = ("ContainerStatusUnknown",)  # with it the kubelet reports an exit code that it has not seen
_REFUSALS = 10  # how often the log of a pod that has ended is asked for, while its node does not answer

_logger = logging.getLogger(__name__)


class KubernetesExecutor:
    """Runs commands in Job pods. `replica` names this process in them."""

    name = "kubernetes"
    loopback_clusters = False
    durable = True

    def __init__(self, cluster: Cluster, template: PodTemplate, replica: str) -> None:
        self._cluster = cluster
        self._template = template
        self._replica = replica
        self._here: set[str] = set()
        self.can_be_read_only = template.isolation

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self._cluster.open():
            yield

    def check(self) -> None:
        if not self._cluster.watch.connected:
            raise Unavailable(_UNREACHABLE)
        if self._cluster.trouble:
            raise Unavailable(f"runs cannot be started: {self._cluster.trouble}")

    @asynccontextmanager
    async def start(self, spec: RunSpec, *, adopt: bool) -> AsyncGenerator[Execution]:
        """Everything of the run is one Job and what belongs to it; leaving the context deletes it and waits until it
        is gone.
        """
        with self._cluster.watch.on(spec.name) as watched:
            execution = _PodExecution(self._cluster, spec, adopt, self._replica, self._template, watched)
            self._here.add(spec.name)
            try:
                yield execution
            finally:
                self._here.discard(spec.name)
                await uninterrupted(execution.remove())

    def elsewhere(self) -> list[tuple[RunSpec, str]]:
        watch = self._cluster.watch
        started = {job_of(pod) for pod in watch.pods.values() if podstate.has_started(pod)}
        specs = [read_job(job) for name, job in watch.jobs.items() if name not in self._here and is_run(job)]
        return [(spec, spec.ended or ("running" if spec.name in started else "pending")) for spec in specs]

    async def shown(self, spec: RunSpec) -> None:
        """The watch has shown the run's Job, so it has shown every Job that was created before it."""
        with self._cluster.watch.on(spec.name) as watched:
            while watched.job is None:
                await watched.changed()

    async def recover(self, spec: RunSpec) -> RunSpec | None:
        try:
            secret = await self._cluster.api.get(SECRETS, spec.name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise Unavailable(f"the run cannot be taken over: {error.message}") from error
            # The run is over. With isolation its log holds no credential; else nobody knows any more what to mask.
            return spec if self._template.isolation else None
        except ApiUnreachable as error:
            raise Unavailable(
                "the API server of the cluster for runner pods does not answer; try again later"
            ) from error
        files = {name: base64.b64decode(data).decode() for name, data in secret["data"].items()}
        kubeconfig = files.get("credentials") or files["kubeconfig"]
        return replace(spec, kubeconfig=kubeconfig, command=files["command"], stdin=files["stdin"] or None)

    async def cancel(self, spec: RunSpec) -> None:
        if spec.ended:
            return
        with self._cluster.watch.on(spec.name) as watched:
            pod = watched.pod
        try:
            await _end(self._cluster.api, spec.name, pod)
        except (ApiError, ApiUnreachable) as error:
            raise Unavailable(f"the run cannot be cancelled right now: {error}") from error


class _PodExecution:
    """One run in its pod."""

    def __init__(
        self, cluster: Cluster, spec: RunSpec, adopt: bool, replica: str, template: PodTemplate, watched: Watched
    ) -> None:
        self._api = cluster.api
        self._jobs = cluster.watch.jobs
        self._spec = spec
        self._name = spec.name
        self._adopt = adopt
        self._owned_version = 0  # the Job's version since which it is ours
        self._let_go = False
        self._secret_gone = False
        self._replica = replica
        self._template = template
        self._watched = watched
        self._stopping = False
        self._deadline = 0.0
        self._trouble = ""
        self.left = ""

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
            await (self._take_over() if self._adopt else self._create())
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
        pause = _FIRST_PAUSE
        while not self._watched.pod_deleted:
            pod = self._watched.pod
            if pod is None:
                await self._watched.changed()
                continue
            try:
                await _end(self._api, self._name, pod)
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("the run cannot be stopped yet: %s", error)
                pause = await self._pause(pause)
            else:
                return

    async def taken(self) -> None:
        while not self._is_taken():
            await self._watched.changed()

    async def settle(self) -> None:
        """The Secret goes now. Job and pod, which hold the log, go when the final event was read."""
        try:
            await self._api.delete(SECRETS, self._name)
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the run's Secret is not deleted yet: %s", error)
        else:
            self._secret_gone = True

    async def keep(self, status: str, seconds: float) -> None:
        """Leave Job and pod, whose log it is, to Kubernetes' own clean-up. A few of them for each owner.

        Without isolation the log can hold credentials, and nobody knows any more what to mask in it.
        """
        kept = [job for job in self._jobs.values() if is_run(job) and self._is_kept(job)]
        if len(kept) >= _MOST_KEPT or not self._template.isolation or seconds < 1 or not self._has_log():
            return
        try:
            await self._api.patch(JOBS, self._name, kept_for(status, seconds))
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("run %s cannot be kept for other replicas: %s", self._spec.run_id, error)
        else:
            self._let_go = True

    def _is_kept(self, job: Json) -> bool:
        spec = read_job(job)
        return bool(spec.ended) and spec.owner == self._spec.owner and spec.run_id != self._spec.run_id

    def _has_log(self) -> bool:
        return self._watched.pod is not None and podstate.why_leaving(self._watched) is None

    def let_go(self) -> None:
        self._let_go = True

    async def remove(self) -> None:
        """Delete Secret, Job and pod, and see them go. What cannot be deleted now is left to the janitor."""
        if self._let_go:
            return
        try:
            async with asyncio.timeout(_REMOVED_SECONDS):
                await self._delete_all()
                while not self._watched.gone:
                    await self._watched.changed()
        except TimeoutError:
            self.left = f"{', '.join(self._there())}: {self._trouble or 'deleted, but not gone yet'}"
            _logger.warning("the run is not cleaned up yet: %s", self.left)

    def _there(self) -> Iterator[str]:
        """What may still be there of the run."""
        if not self._secret_gone:
            yield "Secret"
        if not self._watched.job_deleted:
            yield "Job"
        if self._watched.pod is not None and not self._watched.pod_deleted:
            yield "pod"

    async def _delete_all(self) -> None:
        """Delete Secret and Job, as soon as the API server lets us."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._secret_gone:
                    await self._api.delete(SECRETS, self._name)
                    self._secret_gone = True
                by_us = await self._api.delete(JOBS, self._name)
                pod = self._watched.pod
                if not by_us and pod is not None:  # by somebody else, who may have orphaned the pod
                    await self._api.delete(PODS, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
            except (ApiError, ApiUnreachable) as error:
                self._trouble = str(error)
                _logger.warning("the run cannot be removed yet: %s", error)
                pause = await self._pause(pause)
            else:
                self._trouble = ""
                return

    async def _create(self) -> None:
        spec = self._spec
        job = await self._create_once(JOBS, make_job(spec, self._replica, self._template))
        self._own(job)
        secret = make_secret(
            self._name, spec.run_id, job["metadata"]["uid"], run_files(spec, self._template.isolation)
        )
        await self._create_once(SECRETS, secret)
        await self._api.patch(JOBS, self._name, {"spec": {"suspend": False}})

    async def _take_over(self) -> None:
        """Write our name on the Job; if somebody else does so at the same moment, on what they wrote."""
        while (job := self._watched.job) is not None and not self._watched.job_deleted:
            body = {
                "metadata": {
                    "resourceVersion": job["metadata"]["resourceVersion"],
                    "annotations": {REPLICA: self._replica},
                }
            }
            try:
                self._own(await self._api.patch(JOBS, self._name, body))
            except ApiError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                self._watched.job = await self._api.get(JOBS, self._name)
            else:
                return
        raise ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the run is over, and its pod is gone")

    def _own(self, job: Json) -> None:
        self._watched.job = job
        self._owned_version = int(job["metadata"]["resourceVersion"])

    def _is_taken(self) -> bool:
        """Whether the Job names another replica, in a version later than the one with our name."""
        job = self._watched.job
        if job is None or not self._owned_version or int(job["metadata"]["resourceVersion"]) < self._owned_version:
            return False
        return job["metadata"]["annotations"].get(REPLICA) != self._replica

    async def _create_once(self, path: str, manifest: Json) -> Json:
        """Create, also if an earlier attempt has done it and only its answer was lost."""
        try:
            return await self._api.create(path, manifest)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        there = await self._api.get(path, self._name)
        if there["metadata"]["labels"].get(RUN) != self._spec.run_id:
            raise ApiError(HTTPStatus.CONFLICT, "AlreadyExists", f"{self._name} belongs to another run")
        return there

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
        pause = _FIRST_PAUSE
        refused = 0
        over = False  # the runner has ended, and the log was read to its end since
        while True:
            was_over = self._is_over()
            try:
                async with aclosing(follow(self._api, self._pod_name, decoder)) as stream:
                    async for frames in stream:
                        pause, refused = _FIRST_PAUSE, 0
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
            except ApiUnreachable as error:
                _logger.warning("log of %s: %s; connecting again", self._pod_name, error)
            if over or self._is_late():
                break
            pause = await self._pause(pause)
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

    async def _pause(self, seconds: float) -> float:
        """Wait for news of the pod, but not for long; the next pause."""
        try:
            async with asyncio.timeout(seconds):
                await self._watched.changed()
        except TimeoutError:
            return min(2 * seconds, _LONGEST_PAUSE)
        return seconds

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


async def _end(api: Api, name: str, pod: Json | None) -> None:
    """Delete the pod (or the Job that has none yet), after a note on the Job that a replica does so."""
    try:
        await api.patch(JOBS, name, {"metadata": {"annotations": {CANCELLED: "true"}}})
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    if pod is None:
        await api.delete(JOBS, name)
    else:
        await api.delete(PODS, pod["metadata"]["name"], uid=pod["metadata"]["uid"])


def run_files(spec: RunSpec, isolation: bool) -> Mapping[str, str]:
    """What the run's Secret holds, by file name.

    With isolation, `credentials`, `contexts` and `access` are for the proxy alone.
    """
    files = {
        "id": spec.run_id,
        "command": spec.command,
        "timeout": str(spec.timeout),
        "stdin": spec.stdin or "",
        "kubeconfig": spec.kubeconfig,
        "proxies": "",
    }
    if isolation:
        files["kubeconfig"] = spec.proxied_kubeconfig
        files["proxies"] = " ".join(str(FIRST_PROXY_PORT + number) for number in range(len(spec.contexts)))
        files["credentials"] = spec.kubeconfig
        files["contexts"] = "".join(f"{context}\n" for context in spec.contexts)
        files["access"] = spec.access
    return files
