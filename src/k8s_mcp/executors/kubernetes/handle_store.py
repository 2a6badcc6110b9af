"""Cluster handles as Secrets in the namespace of runner pods, so that every replica knows them."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from http import HTTPStatus

from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER
from k8s_mcp.errors import Unavailable
from k8s_mcp.models import Handle

SECRETS = "/api/v1/secrets"

HANDLE = "k8s-mcp-server/handle"
"""Label of a caller's handle; its value is the owner's hash."""
OFFERED = "k8s-mcp-server/offered"
"""Label with which an administrator offers the kubeconfig in a Secret to callers."""
OFFERED_TO = "k8s-mcp-server/offered-to"
"""Annotation beside it: names of principals, separated by commas; `*` or nothing for everyone."""
_NAME = "k8s-mcp-server/cluster"
_SERVER = "k8s-mcp-server/server"
_CONTEXTS = "k8s-mcp-server/contexts"
_EXPIRES = "k8s-mcp-server/expires"


class SecretStore:
    """Keeps handles as Secrets. Needs `list` on Secrets beside what runs need."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def put(self, owner: str, handle: Handle) -> None:
        """Store a handle, in the place of one of the same name."""
        await self.delete(owner, handle.name)
        try:
            await self._cluster.api.create(SECRETS, _make_secret(owner, handle))
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error

    async def get(self, owner: str, name: str) -> Handle | None:
        """The owner's handle with its kubeconfig."""
        try:
            secret = await self._cluster.api.get(SECRETS, _secret_name(owner, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise _unavailable(error) from error
        except ApiUnreachable as error:
            raise _unavailable(error) from error
        handle = _read_secret(secret)
        if handle.expires and handle.expires <= datetime.now(UTC):
            await self.delete(owner, name)
            return None
        return handle

    async def all(self, owner: str) -> list[Handle]:
        """The owner's handles, without their kubeconfigs; expired ones are removed on the way."""
        handles: list[Handle] = []
        for secret in await self._metadata(f"{MANAGED_BY}={MANAGER},{HANDLE}={owner}"):
            handle = _read_secret(secret)
            if handle.expires and handle.expires <= datetime.now(UTC):
                await self.delete(owner, handle.name)
            else:
                handles.append(handle)
        return handles

    async def delete(self, owner: str, name: str) -> bool:
        """Whether there was one."""
        try:
            return await self._cluster.api.delete(SECRETS, _secret_name(owner, name))
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error

    async def remove_expired(self) -> None:
        """Forget everybody's handles whose time is over. Raises Unavailable."""
        for secret in await self._metadata(f"{MANAGED_BY}={MANAGER},{HANDLE}"):
            handle = _read_secret(secret)
            if handle.expires and handle.expires <= datetime.now(UTC):
                await self.delete(secret["metadata"]["labels"][HANDLE], handle.name)

    async def offered(self, principal: str) -> list[tuple[str, str]]:
        """Names and kubeconfigs that an administrator offers to the principal."""
        found: list[tuple[str, str]] = []
        for item in await self._metadata(OFFERED):
            annotations = item["metadata"].get("annotations", {})
            names = [name.strip() for name in annotations.get(OFFERED_TO, "*").split(",")]
            if "*" not in names and principal not in names:
                continue
            try:
                secret = await self._cluster.api.get(SECRETS, item["metadata"]["name"])
            except (ApiError, ApiUnreachable) as error:
                raise _unavailable(error) from error
            name = annotations.get(_NAME, item["metadata"]["name"])
            found.append((name, _decoded(secret)))
        return found

    async def _metadata(self, selector: str) -> list[Json]:
        try:
            answer = await self._cluster.api.list_metadata(SECRETS, {"labelSelector": selector})
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error
        return answer["items"] or []  # null when there are none


def _make_secret(owner: str, handle: Handle) -> Json:
    expires = handle.expires.isoformat() if handle.expires else ""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": _secret_name(owner, handle.name),
            "labels": {MANAGED_BY: MANAGER, HANDLE: owner},
            "annotations": {
                _NAME: handle.name,
                _SERVER: handle.server,
                _CONTEXTS: json.dumps(handle.contexts),
                _EXPIRES: expires,
            },
        },
        "immutable": True,
        "data": {"kubeconfig": base64.b64encode(handle.kubeconfig.encode()).decode()},
    }


def _read_secret(secret: Json) -> Handle:
    annotations = secret["metadata"]["annotations"]
    return Handle(
        name=annotations[_NAME],
        server=annotations[_SERVER],
        contexts=tuple(json.loads(annotations[_CONTEXTS])),
        expires=datetime.fromisoformat(annotations[_EXPIRES]),
        kubeconfig=_decoded(secret),
    )


def _decoded(secret: Json) -> str:
    return base64.b64decode(secret.get("data", {}).get("kubeconfig", "")).decode("utf-8", "replace")


def _secret_name(owner: str, name: str) -> str:
    return f"handle-{hashlib.sha256(f'{owner}/{name}'.encode()).hexdigest()[:32]}"


def _unavailable(error: Exception) -> Unavailable:
    if isinstance(error, ApiError) and error.status == HTTPStatus.FORBIDDEN:
        return Unavailable("this service may not keep cluster handles: its role lacks rights on Secrets")
    return Unavailable("the API server of the cluster for runner pods does not answer; try again later")
