"""`k8s-mcp check`: whether the service can do its work with these settings, each answer with what to do about it."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from k8s_mcp.app import create_app, local_directory
from k8s_mcp.cli.check_history import of_history
from k8s_mcp.cli.check_service import of_service
from k8s_mcp.cli.finding import Finding
from k8s_mcp.cluster.access import FOR_HANDLES, Permission, needed, not_allowed
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable
from k8s_mcp.cluster.connect import connect
from k8s_mcp.errors import K8sMcpError, StartError
from k8s_mcp.executors.local.executor import LocalExecutor
from k8s_mcp.models import Control, Output, Principal, RunRequest
from k8s_mcp.policy.file import PolicyFile
from k8s_mcp.runs.run import Run
from k8s_mcp.settings import Settings

_LEVEL = "pod-security.kubernetes.io/enforce"
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))
_NEVER_STARTS = frozenset(("CrashLoopBackOff", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"))
_OF_THE_IMAGE = _NEVER_STARTS | {
    "ContainerCannotRun",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImageInspectError",
    "RunContainerError",
    "StartError",
}
_MAKE_NAMESPACE = "docs/runner-image.md says how to make it; K8S_MCP_NAMESPACE (--namespace) names another"
_TIMEOUT = 60
_CLEAN_UP_SECONDS = 60.0
# A cluster that nobody asks: the address is one for documentation (RFC 5737), and the command is `echo`.
_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: check
contexts: [{name: check, context: {cluster: check, user: check}}]
clusters: [{name: check, cluster: {server: "https://192.0.2.1"}}]
users: [{name: check, user: {token: nobodys}}]
"""


def check(settings: Settings, *, as_json: bool) -> int:
    """Print the findings, each as soon as it is known, or all as JSON; 1 if one has failed, else 0."""
    return asyncio.run(_check(settings, as_json))


async def _check(settings: Settings, as_json: bool) -> int:
    findings: list[Finding] = []
    async with aclosing(_findings(settings)) as found:
        async for finding in found:
            findings.append(finding)
            if not as_json:
                print(_line(finding), flush=True)
    failed = any(finding.status == "failed" for finding in findings)
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [asdict(finding) for finding in findings]}, indent=2))
    return int(failed)


def _line(finding: Finding) -> str:
    mark = {"ok": "ok", "failed": "FAILED", "note": "note"}[finding.status]
    line = f"{mark:7} {finding.what:16} {finding.said}"
    return f"{line}\n{'':24} → {finding.advice}" if finding.advice else line


async def _findings(settings: Settings) -> AsyncGenerator[Finding]:
    failed = False
    async with aclosing(of_service(settings)) as found:
        async for finding in found:
            failed = failed or finding.status == "failed"
            yield finding
    if settings.policy:
        policy = await _policy(settings.policy)
        failed = failed or policy.status == "failed"
        yield policy
    history = await of_history(settings)
    if history is not None:
        failed = failed or history.status == "failed"
        yield history
    async with aclosing(_cluster(settings) if settings.executor == "kubernetes" else _host(settings)) as found:
        async for finding in found:
            failed = failed or finding.status == "failed"
            yield finding
    if failed:
        yield Finding("one run", "note", "not tried", "see to what has failed above")
        return
    for finding in await _one_run(settings):
        yield finding


async def _policy(name: str) -> Finding:
    try:
        async with PolicyFile(name).open():
            return Finding("policy", "ok", f"{name} can be read")
    except StartError as error:
        return Finding("policy", "failed", str(error), f"k8s-mcp policy check {name}")


async def _cluster(settings: Settings) -> AsyncGenerator[Finding]:
    """What the Kubernetes executor needs."""
    try:
        async with connect(settings.kubeconfig, settings.context, settings.namespace) as api:
            yield await _api_server(api)
            for permission in needed(warm=settings.warm_pods > 0):
                yield await _permission(api, permission, needed=True)
            yield await _permission(api, FOR_HANDLES, needed=False)
            yield await _pod_security(api)
    except StartError as error:
        yield Finding("configuration", "failed", str(error), "K8S_MCP_KUBECONFIG and K8S_MCP_CONTEXT name another")
    except (ApiError, ApiUnreachable) as error:
        yield Finding("API server", "failed", str(error), "it must be in reach and accept these credentials")


async def _api_server(api: Api) -> Finding:
    version = await api.version()
    return Finding("API server", "ok", f"Kubernetes {version['gitVersion']} at {api.server}")


async def _permission(api: Api, permission: Permission, *, needed: bool) -> Finding:
    what = permission.resource if needed else f"{permission.resource}, listed"
    missing = await not_allowed(api, permission)
    if not missing:
        return Finding(what, "ok", f"may {', '.join(permission.verbs)} in {api.namespace}")
    said = f"may not {', '.join(missing)} in {api.namespace}"
    if needed:
        return Finding(what, "failed", said, "images/runner/namespace.yaml has the Role that the service needs")
    return Finding(what, "note", said, "without it there are no cluster handles (PUT /clusters/NAME)")


async def _pod_security(api: Api) -> Finding:
    what = "pod security"
    try:
        namespace = await api.namespace_object()
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return Finding(what, "failed", f"there is no namespace {api.namespace}", _MAKE_NAMESPACE)
        advice = f"see for yourself: kubectl get namespace {api.namespace} --show-labels"
        return Finding(what, "note", "this account may not read the namespace's labels", advice)
    level = namespace["metadata"].get("labels", {}).get(_LEVEL, "privileged")
    if level == "restricted":
        return Finding(what, "ok", f"{api.namespace} enforces restricted")
    advice = f"kubectl label namespace {api.namespace} {_LEVEL}=restricted"
    return Finding(what, "note", f"{api.namespace} enforces {level}; runner pods meet restricted", advice)


async def _host(settings: Settings) -> AsyncGenerator[Finding]:
    """What the local executor needs."""
    for program in ("bash", "kubectl"):
        path = shutil.which(program)
        if path:
            yield Finding(program, "ok", path)
        else:
            yield Finding(program, "failed", "not found in PATH", f"install {program} where the service finds it")
    directory = local_directory(settings)
    try:
        async with LocalExecutor(directory, settings.grace_period).open():
            kind = _file_system(directory)
    except (OSError, StartError) as error:
        yield Finding("directory", "failed", str(error), "name another with K8S_MCP_LOCAL_DIR (--local-dir)")
        return
    yield Finding("directory", "ok", f"{directory}, of this user alone")
    if kind in _IN_MEMORY:
        yield Finding("memory", "ok", f"kubeconfigs stay in memory ({kind})")
    else:
        advice = "a directory on a tmpfs, such as /dev/shm, with K8S_MCP_LOCAL_DIR (--local-dir)"
        yield Finding("memory", "note", f"kubeconfigs are written to a disk ({kind})", advice)


def _file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`; proc(5), mountinfo."""
    place = directory.resolve()
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split()[4])
        if place.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, rest.split()[0]
    return kind


@dataclass
class _Watched:
    """What was seen of the one run."""

    first_line: float = 0.0
    total: float = 0.0
    pending: str = ""
    reason: str = ""
    message: str = ""

    @property
    def started(self) -> bool:
        return self.first_line > 0


async def _one_run(settings: Settings) -> list[Finding]:
    """A real run, as any other: through the service's own parts, from the request to the clean-up."""
    # No rule of a policy is for this caller, who shows no token. Standard output has the table, or the JSON.
    audit_log = "off" if settings.audit_log == "stdout" else settings.audit_log
    without: dict[str, object] = dict.fromkeys(
        ("policy", "auth_tokens", "oidc_issuer", "service_account_audience"), ""
    )
    without |= {"warm_pods": 0, "history_seconds": 0}
    request = RunRequest.model_validate({"command": "echo ok", "kubeconfig": _KUBECONFIG, "timeout": _TIMEOUT})
    seen = _Watched()
    error: BaseException | None = None
    try:
        app = create_app(settings.model_copy(update={**without, "audit_log": audit_log}))
        async with app.router.lifespan_context(app):
            start = time.monotonic()
            await _follow(await app.state.runs.start(Principal("k8s-mcp check"), request), start, seen)
            await app.state.runs.drain(_CLEAN_UP_SECONDS)  # else another replica would have to clean up
    except* K8sMcpError as group:
        error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        return [Finding("one run", "failed", str(error), "the log above says more")]
    if settings.executor == "kubernetes":
        return [_image(settings, seen), _timed(settings, seen)]
    return [_timed(settings, seen)]


async def _follow(run: Run, start: float, seen: _Watched) -> None:
    with run.events() as reader:
        while events := await reader.next():
            for event in events:
                if isinstance(event, Output):
                    seen.first_line = time.monotonic() - start
                elif event.final:
                    seen.total = time.monotonic() - start
                    _on_final(event, seen)
                else:
                    seen.pending = str(event.data.get("reason", ""))
                    seen.message = str(event.data.get("message", ""))
                    if seen.pending in _NEVER_STARTS:
                        run.stop()


def _on_final(event: Control, seen: _Watched) -> None:
    if event.data["status"] == "done" and event.data["exit_code"] == 0:
        return
    seen.reason = seen.pending or str(event.data.get("reason") or event.data["status"])
    seen.message = seen.message or str(event.data.get("message", ""))


def _image(settings: Settings, seen: _Watched) -> Finding:
    what, image = "runner image", settings.runner_image
    if seen.started:
        return Finding(what, "ok", f"{image} starts")
    if seen.reason in _OF_THE_IMAGE:
        advice = "give it to the nodes, made as docs/runner-image.md says, or name another: K8S_MCP_RUNNER_IMAGE"
        return Finding(what, "failed", f"{image}: {seen.reason}: {seen.message}", advice)
    return Finding(what, "note", f"{image} was not tried: the run did not come so far", "see below")


def _timed(settings: Settings, seen: _Watched) -> Finding:
    what = "one run"
    if not seen.reason:
        return Finding(what, "ok", f"`echo ok` took {seen.total:.2f} s, its first line {seen.first_line:.2f} s")
    if seen.reason in _OF_THE_IMAGE:
        return Finding(what, "failed", "did not start", "see to the image")
    advice = "run `k8s-mcp serve --log-level debug` and try a command"
    if settings.executor == "kubernetes":
        advice = f"kubectl --namespace {settings.namespace} get events --sort-by .lastTimestamp"
    return Finding(what, "failed", f"{seen.reason}: {seen.message}".rstrip(": "), advice)
