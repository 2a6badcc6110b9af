"""What happens to the Jobs and pods of all runs: one list and one watch for each kind of object, shared by all.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER

JOBS = "/apis/batch/v1/jobs"
PODS = "/api/v1/pods"
EVENTS = "/api/v1/events"
SECRETS = "/api/v1/secrets"

_WATCH_SECONDS = 300
_SILENCE_SECONDS = 90.0  # the API server sends a bookmark about every minute
_FIRST_LISTS_SECONDS = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_EVENTS_KEPT = 20
_OPENED = "OPENED"  # comes before the API server's own ADDED, MODIFIED, …

_logger = logging.getLogger(__name__)


class Watched:
    """What is known of one Job: its latest state, that of its pod (it never has two), and the warnings about them."""

    def __init__(self) -> None:
        self.job: Json | None = None
        self.job_deleted = False
        self.pod: Json | None = None
        self.pod_deleted = False
        self.warnings: list[Json] = []
        self._changed = asyncio.Event()

    @property
    def gone(self) -> bool:
        """Whether neither Job nor pod is left."""
        return (self.job is None or self.job_deleted) and (self.pod is None or self.pod_deleted)

    async def changed(self) -> None:
        """Wait until there is news."""
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Watch:
    """Follows all objects of this service in the namespace, and keeps a `Watched` for every Job asked about."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._watched: dict[str, list[Watched]] = {}
        self._connected: dict[str, bool] = dict.fromkeys((JOBS, PODS, EVENTS), False)
        self._ready = asyncio.Event()
        self.jobs: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}

    @property
    def connected(self) -> bool:
        """Whether the API server answers."""
        return all(self._connected.values())

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep watching until the context ends. Waits a while for the first lists, but goes on without them."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow(JOBS, self._on_job)),
                group.create_task(self._follow(PODS, self._on_pod)),
                group.create_task(self._follow(EVENTS, self._on_event)),
            ]
            try:
                await self._first_lists()
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _first_lists(self) -> None:
        try:
            async with asyncio.timeout(_FIRST_LISTS_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            _logger.warning("%s does not answer yet; runs are refused until it does", self._api.server)

    @contextmanager
    def on(self, job: str) -> Generator[Watched]:
        """Follow the Job of that name."""
        watched = Watched()
        self._watched.setdefault(job, []).append(watched)
        watched.job = self.jobs.get(job)
        watched.pod = next((pod for pod in self.pods.values() if job_of(pod) == job), None)
        try:
            yield watched
        finally:
            self._watched[job].remove(watched)
            if not self._watched[job]:
                del self._watched[job]

    async def _follow(self, path: str, handle: Callable[[str, Json], None]) -> None:
        """List, then watch from there, for ever; list again when the watch has lost its place (410)."""
        version = ""
        pause = _FIRST_PAUSE
        broken = False
        while True:
            silent = True
            try:
                if not version:
                    version = await self._list(path, handle)
                async for kind, item in self._stream(path, version):
                    if kind == _OPENED:
                        self._set_connected(path, connected=True)
                        broken = False
                        continue
                    silent = False
                    if kind != "BOOKMARK":
                        handle(kind, item)
                    version = item["metadata"]["resourceVersion"]
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("watching %s: %s", path, error)
                if isinstance(error, ApiError):
                    version = ""
                if broken:  # a watch that ends is worth a new attempt before runs are refused
                    self._set_connected(path, connected=False)
                broken = True
            if silent:
                await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE) if silent else _FIRST_PAUSE

    async def _list(self, path: str, handle: Callable[[str, Json], None]) -> str:
        answer = await self._api.list(path, _selection(path))
        if path != EVENTS:
            known = self.jobs if path == JOBS else self.pods
            there = {item["metadata"]["name"] for item in answer["items"]}
            for name in set(known) - there:
                handle("DELETED", known[name])
        for item in answer["items"]:
            handle("MODIFIED", item)
        return answer["metadata"]["resourceVersion"]

    async def _stream(self, path: str, version: str) -> AsyncGenerator[tuple[str, Json]]:
        params = {
            **_selection(path),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        rest = b""
        async with self._api.stream("watch", path, "", params, _SILENCE_SECONDS) as content:
            yield _OPENED, {}
            async for data, _ in content.iter_chunks():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    change = json.loads(line)
                    if change["type"] == "ERROR":
                        status = change["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield change["type"], change["object"]

    def _set_connected(self, path: str, *, connected: bool) -> None:
        self._connected[path] = connected
        if self.connected:
            self._ready.set()

    def _on_job(self, kind: str, job: Json) -> None:
        name = job["metadata"]["name"]
        if kind == "DELETED":
            self.jobs.pop(name, None)
        else:
            self.jobs[name] = job
        for watched in self._watched.get(name, ()):
            watched.job = job
            watched.job_deleted = kind == "DELETED"
            watched.wake()

    def _on_pod(self, kind: str, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if kind == "DELETED":
            self.pods.pop(name, None)
        else:
            self.pods[name] = pod
        for watched in self._watched.get(job_of(pod), ()):
            watched.pod = pod
            watched.pod_deleted = kind == "DELETED"
            watched.wake()

    def _on_event(self, _kind: str, event: Json) -> None:
        about = event["involvedObject"]
        if event.get("type") != "Warning" or about.get("kind") not in ("Job", "Pod"):
            return
        name = about.get("name", "")
        for watched in self._watched.get(name if about["kind"] == "Job" else name.rpartition("-")[0], ()):
            watched.warnings = [*watched.warnings, event][-_EVENTS_KEPT:]
            watched.wake()


def _selection(path: str) -> dict[str, str]:
    return {} if path == EVENTS else {"labelSelector": f"{MANAGED_BY}={MANAGER}"}


def job_of(pod: Json) -> str:
    """The name of the Job that a pod belongs to."""
    return pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", "")
