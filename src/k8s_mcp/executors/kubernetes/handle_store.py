"""Cluster handles as Secrets in the namespace of runner pods, so that every replica knows them."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast

from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER
from k8s_mcp.cluster.run_files import SECRETS
from k8s_mcp.cluster.watch import NO_ANSWER
from k8s_mcp.errors import Unavailable
from k8s_mcp.models import Handle

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
        """Store a handle, or write it over the one of the same name: at no moment is there none."""
        secret = _make_secret(owner, handle)
        try:
            while not (await self._created(secret) or await self._replaced(secret)):
                pass  # the one that was there has just gone
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error

    async def get(self, owner: str, name: str) -> Handle | None:
        """The owner's handle with its kubeconfig."""
        while True:
            try:
                secret = await self._cluster.api.find(SECRETS, _secret_name(owner, name))
            except (ApiError, ApiUnreachable) as error:
                raise _unavailable(error) from error
            if secret is None:
                return None
            handle = self._read(secret)
            if handle is None or not _is_expired(handle):
                return handle
            if await self._delete_seen(secret):
                return None

    async def all(self, owner: str) -> list[Handle]:
        """The owner's handles, without their kubeconfigs."""
        secrets = await self._metadata(f"{MANAGED_BY}={MANAGER},{HANDLE}={owner}")
        handles = [handle for secret in secrets if (handle := self._read(secret))]
        return [handle for handle in handles if not _is_expired(handle)]

    async def delete(self, owner: str, name: str) -> bool:
        """Whether there was one."""
        try:
            return await self._cluster.api.delete(SECRETS, _secret_name(owner, name))
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error

    async def remove_expired(self) -> None:
        """Forget everybody's handles whose time is over. Raises Unavailable."""
        for secret in await self._metadata(f"{MANAGED_BY}={MANAGER},{HANDLE}"):
            handle = self._read(secret)
            if handle and _is_expired(handle):
                await self._delete_seen(secret)

    async def offered(self, principal: str) -> list[tuple[str, str]]:
        """Names and kubeconfigs that an administrator offers to the principal."""
        found: list[tuple[str, str]] = []
        for item in await self._metadata(OFFERED):
            annotations = item["metadata"].get("annotations", {})
            names = [name.strip() for name in annotations.get(OFFERED_TO, "*").split(",")]
            if "*" not in names and principal not in names:
                continue
            try:
                secret = await self._cluster.api.find(SECRETS, item["metadata"]["name"])
            except (ApiError, ApiUnreachable) as error:
                raise _unavailable(error) from error
            if secret is None:
                continue
            name = annotations.get(_NAME, item["metadata"]["name"])
            try:
                found.append((name, _decoded(secret)))
            except ValueError:
                self._cluster.odd("secrets", item["metadata"]["name"], "no kubeconfig: ValueError")
        return found

    async def _created(self, secret: Json) -> bool:
        """False when there is one already."""
        try:
            await self._cluster.api.create(SECRETS, secret)
        except ApiError as error:
            if not error.is_conflict:
                raise
            return False
        return True

    async def _replaced(self, secret: Json) -> bool:
        """False when there is none."""
        try:
            await self._cluster.api.replace(SECRETS, secret["metadata"]["name"], secret)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    async def _delete_seen(self, secret: Json) -> bool:
        """Delete it as it was seen. False when it is not so any more: somebody has stored it anew."""
        try:
            return await self._cluster.api.delete_as_seen(SECRETS, secret)
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error

    def _read(self, secret: Json) -> Handle | None:
        """None for one that this service cannot have written so; its owner can store it anew, or delete it."""
        try:
            return _read_secret(secret)
        except (KeyError, TypeError, ValueError) as error:
            self._cluster.odd("secrets", secret["metadata"]["name"], f"no cluster handle: {type(error).__name__}")
            return None

    async def _metadata(self, selector: str) -> list[Json]:
        try:
            answer = await self._cluster.api.list_metadata(SECRETS, {"labelSelector": selector})
        except (ApiError, ApiUnreachable) as error:
            raise _unavailable(error) from error
        return answer["items"]


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
        "data": {"kubeconfig": base64.b64encode(handle.kubeconfig.encode()).decode()},
    }


def _read_secret(secret: Json) -> Handle:
    """Raises KeyError, TypeError and ValueError."""
    annotations = secret["metadata"]["annotations"]
    expires = datetime.fromisoformat(annotations[_EXPIRES])
    if expires.tzinfo is None:
        raise ValueError("a time without a zone")
    contexts: object = json.loads(annotations[_CONTEXTS])
    if not isinstance(contexts, list):
        raise TypeError("contexts that are no list")
    names = [name for name in cast("list[object]", contexts) if isinstance(name, str)]
    return Handle(annotations[_NAME], annotations[_SERVER], tuple(names), expires, _decoded(secret))


def _is_expired(handle: Handle) -> bool:
    return handle.expires is not None and handle.expires <= datetime.now(UTC)


def _decoded(secret: Json) -> str:
    """Raises ValueError."""
    return base64.b64decode(secret.get("data", {}).get("kubeconfig", "")).decode("utf-8", "replace")


def _secret_name(owner: str, name: str) -> str:
    return f"handle-{hashlib.sha256(f'{owner}/{name}'.encode()).hexdigest()[:32]}"


def _unavailable(error: Exception) -> Unavailable:
    if isinstance(error, ApiError) and error.status == HTTPStatus.FORBIDDEN:
        return Unavailable("this service may not keep cluster handles: its role lacks rights on Secrets")
    return Unavailable(NO_ANSWER)
