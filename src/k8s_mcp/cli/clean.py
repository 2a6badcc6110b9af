"""`k8s-mcp clean`: removes everything that the service ever made in the namespace of its runner pods."""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from k8s_mcp.cli.tell import tell
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connect import connect
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER
from k8s_mcp.errors import StartError
from k8s_mcp.executors.kubernetes.handle_store import HANDLE
from k8s_mcp.settings import Settings

_SECRETS = "secrets"
_JOBS = "jobs"
# In the order of removal: credentials first, and a Job takes its pod along.
_KINDS = {
    _SECRETS: "/api/v1/secrets",
    _JOBS: "/apis/batch/v1/jobs",
    "pods": "/api/v1/pods",
    "leases": "/apis/coordination.k8s.io/v1/leases",
}
_OURS = {"labelSelector": f"{MANAGED_BY}={MANAGER}"}
_GONE_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_FAILED, _USAGE_ERROR = 1, 2


@dataclass
class _Found:
    """Names by kind. Without the right to list Secrets only those of Jobs are known: they have the Jobs' names."""

    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    handles: int = 0
    secrets_listed: bool = True

    def __bool__(self) -> bool:
        return any(self.names.values())


def clean(settings: Settings, *, dry_run: bool, yes: bool) -> int:
    """Say what there is, ask, remove it, and wait until it is gone. The exit code: 0, 1 failed, 2 wrong usage."""
    if settings.executor != "kubernetes":
        return _fail(
            "the local executor leaves nothing in a cluster, and removes what killed services left when it starts; "
            "for the namespace of runner pods say --executor kubernetes",
            _USAGE_ERROR,
        )
    try:
        return asyncio.run(_clean(settings, dry_run=dry_run, yes=yes))
    except (ApiError, ApiUnreachable, StartError) as error:
        return _fail(str(error))


async def _clean(settings: Settings, *, dry_run: bool, yes: bool) -> int:
    async with connect(settings.kubeconfig, settings.context, settings.namespace) as api:
        found = await _find(api)
        where = f"the namespace {api.namespace} of {api.server}"
        if not found:
            print(f"nothing of k8s-mcp-server is in {where}")
            return 0
        print(f"in {where}:\n{_listed(found)}", flush=True)
        if dry_run:
            return 0
        if not yes and not _confirmed():
            return _fail("nothing was removed; --yes removes without asking")
        await _remove(api, found)
        left = await _left_after(api, _GONE_SECONDS)
        if left:
            return _fail(f"still there after {_GONE_SECONDS:g} s (is a service still running?):\n{_listed(left)}")
        print("all of it is removed")
        return 0


def _listed(found: _Found) -> str:
    lines = [f"  {len(names):4} {kind:8} {_shortened(names)}" for kind, names in found.names.items() if names]
    if found.handles:
        lines.append(f"  {found.handles} of the Secrets are cluster handles, which callers have stored")
    if not found.secrets_listed:
        lines.append("  Secrets cannot be listed with these rights; those of Jobs go with them, cluster handles stay")
    return "\n".join(lines)


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown}, …" if len(names) > 3 else shown


def _confirmed() -> bool:
    """Somebody at a terminal says yes."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    print("Runs in progress are cut off. Remove all of it? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _find(api: Api) -> _Found:
    found = _Found()
    secrets: list[Json] = []
    try:
        secrets = (await api.list_metadata(_KINDS[_SECRETS], _OURS))["items"] or []
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        found.secrets_listed = False
    found.names[_SECRETS] = _names(secrets)
    found.handles = sum(HANDLE in secret["metadata"]["labels"] for secret in secrets)
    for kind, path in _KINDS.items():
        if kind != _SECRETS:
            found.names[kind] = _names((await api.list(path, _OURS))["items"])
    return found


def _names(items: list[Json]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


async def _remove(api: Api, found: _Found) -> None:
    if not found.secrets_listed:
        for name in found.names[_JOBS]:
            await api.delete(_KINDS[_SECRETS], name)
    for kind, names in found.names.items():
        for name in names:
            await api.delete(_KINDS[kind], name)


async def _left_after(api: Api, seconds: float) -> _Found:
    """What is still there; nothing as soon as all is gone."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while (found := await _find(api)) and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return found


def _fail(message: str, code: int = _FAILED) -> int:
    tell(*message.split("\n"))
    return code
