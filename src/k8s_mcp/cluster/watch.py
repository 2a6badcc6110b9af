"""What happens to the Jobs and pods of all runs: one list and one watch for each kind of object, shared by all.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from k8s_mcp.cluster import answers, shapes
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json, OddAnswer
from k8s_mcp.cluster.credentials import NoCredential
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER, RUN
from k8s_mcp.cluster.watched import Watched, version_of

JOBS = "/apis/batch/v1/jobs"
PODS = "/api/v1/pods"
OF_JOB = "batch.kubernetes.io/job-name"
"""Label of a pod: the name of the Job that it belongs to."""
EVENTS = "/api/v1/events"

_SILENCE_SECONDS = 90.0  # the API server sends a bookmark about every minute …
_WATCH_SECONDS = {JOBS: 300, PODS: 300, EVENTS: 60}  # … but for events none, which it does not cache
_LONGEST_LINE = 2**24
_AT_ONCE_SECONDS = 1.0
_FIRST_LISTS_SECONDS = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_EVENTS_KEPT = 20
_OPENED = "OPENED"  # comes before the API server's own ADDED, MODIFIED, …

NO_ANSWER = "the API server of the cluster for runner pods does not answer; try again later"
_ODD_ANSWER = "what answers for the API server of the cluster for runner pods is none; try again later"
_NO_CREDENTIAL = "the service has no credential for the API server of the cluster for runner pods; its log says why"

_logger = logging.getLogger(__name__)


class Watch:
    """Follows all objects of this service in the namespace, and keeps a `Watched` for every Job asked about."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._watched: dict[str, list[Watched]] = {}
        self._troubles: dict[str, str] = dict.fromkeys((JOBS, PODS, EVENTS), NO_ANSWER)
        self._ready = asyncio.Event()
        self._shown: dict[str, asyncio.Event] = {}  # by run's id
        self.news = asyncio.Event()
        """Set whenever some Job or pod has changed, for the one who looks at all of them to clear."""
        self.jobs: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}

    @property
    def connected(self) -> bool:
        """Whether the API server answers."""
        return not self.trouble

    @property
    def trouble(self) -> str:
        """Why what is known here may be out of date, for whoever asks for a run; empty while all is well."""
        return next(filter(None, self._troubles.values()), "")

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
        if job in self.jobs:
            watched.note_job(self.jobs[job])
        for pod in self.pods.values():
            if job_of(pod) == job:
                watched.note_pod(pod)
        try:
            yield watched
        finally:
            self._watched[job].remove(watched)
            if not self._watched[job]:
                del self._watched[job]

    async def until_shown(self, run_id: str) -> None:
        """Until a Job of that run was there to be seen. One waits for each run, from its beginning on."""
        shown = self._shown[run_id] = asyncio.Event()
        try:
            if not any(job["metadata"]["labels"].get(RUN) == run_id for job in self.jobs.values()):
                await shown.wait()
        finally:
            del self._shown[run_id]

    async def _follow(self, path: str, handle: Callable[[str, Json], None]) -> None:
        """List, then watch from there, for ever; list again when the watch has lost its place (410)."""
        version = ""
        pause = _FIRST_PAUSE
        broken = wary = False
        while True:
            silent = True
            try:
                if not version:
                    version = await self._list(path, handle)
                async for kind, item in self._stream(path, version, wary=wary):
                    if kind == _OPENED:
                        self._set_trouble(path, "")
                        broken = wary = False
                        continue
                    silent = False
                    if kind != "BOOKMARK":
                        handle(kind, item)
                    version = item["metadata"]["resourceVersion"]
            except (ApiError, ApiUnreachable) as error:
                _log(path, error, again=broken)
                if isinstance(error, ApiError | OddAnswer):
                    version = ""
                if broken:  # a watch that ends is worth a new attempt before runs are refused
                    self._set_trouble(path, _trouble(error))
                broken = wary = True
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
            if path == JOBS:
                for name in set(self._watched) - there:
                    for watched in self._watched[name]:
                        watched.note_missing(version_of(answer))
        for item in answer["items"]:
            handle("MODIFIED", item)
        return answer["metadata"]["resourceVersion"]

    async def _stream(self, path: str, version: str, *, wary: bool) -> AsyncGenerator[tuple[str, Json]]:
        """Changes, behind _OPENED: that comes at once, or when something has come that only an API server says."""
        params = {
            **_selection(path),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS[path]),
        }
        shape = shapes.item_of(path.rpartition("/")[2])
        clock = asyncio.get_running_loop()
        async with self._api.stream("watch", path, "", params, _SILENCE_SECONDS) as content:
            opened, rest, any_data, begin = not wary, b"", False, clock.time()
            if opened:
                yield _OPENED, {}
            while True:
                try:
                    async with asyncio.timeout(None if opened else _AT_ONCE_SECONDS):
                        data = await content.readany()
                except TimeoutError:
                    if opened:
                        raise
                    opened = True  # it is quiet, as watches are
                    yield _OPENED, {}
                    continue
                if not data:
                    break
                any_data = True
                *lines, rest = (rest + data).split(b"\n")
                changes = [answers.change(line, shape) for line in lines]
                if changes and not opened:
                    opened = True
                    yield _OPENED, {}
                for change in changes:
                    yield change
                if len(rest) > _LONGEST_LINE:
                    raise OddAnswer(f"a line of a watch is over {_LONGEST_LINE} bytes")
            if rest or (not any_data and clock.time() < begin + _AT_ONCE_SECONDS):
                raise OddAnswer("the watch ended at once, or within a line, as none of an API server does")

    def wake_all(self) -> None:
        """Something else than an object has changed that whoever follows one may wait for."""
        for watched in self._watched.values():
            for one in watched:
                one.wake()

    def _set_trouble(self, path: str, trouble: str) -> None:
        self._troubles[path] = trouble
        if self.connected:
            self._ready.set()

    def _on_job(self, kind: str, job: Json) -> None:
        name = job["metadata"]["name"]
        if kind == "DELETED":
            self.jobs.pop(name, None)
        else:
            self.jobs[name] = job
        shown = self._shown.get(job["metadata"]["labels"].get(RUN, ""))
        if shown:
            shown.set()
        self.news.set()
        for watched in self._watched.get(name, ()):
            watched.note_job(job, deleted=kind == "DELETED")

    def _on_pod(self, kind: str, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if kind == "DELETED":
            self.pods.pop(name, None)
        else:
            self.pods[name] = pod
        self.news.set()
        for watched in self._watched.get(job_of(pod), ()):
            watched.note_pod(pod, deleted=kind == "DELETED")

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
    return pod["metadata"]["labels"].get(OF_JOB, "")


def _log(path: str, error: ApiError | ApiUnreachable, *, again: bool) -> None:
    """A warning, but for what happens every day: a place that is too old, a connection that ends for once."""
    is_old = isinstance(error, ApiError) and error.status == HTTPStatus.GONE
    is_odd = isinstance(error, ApiError | OddAnswer)
    _logger.log(logging.WARNING if (again or is_odd) and not is_old else logging.INFO, "watching %s: %s", path, error)


def _trouble(error: ApiError | ApiUnreachable) -> str:
    if isinstance(error, ApiError):
        return f"the API server of the cluster for runner pods refuses: {error.status} {error.reason}"
    if isinstance(error, NoCredential):
        return _NO_CREDENTIAL
    return _ODD_ANSWER if isinstance(error, OddAnswer) else NO_ANSWER
