"""Cluster handles: kubeconfigs stored under names, bound to a principal, for a time, and never given back."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from k8s_mcp.errors import Forbidden, InsufficientScope, InvalidRequest, KubeconfigError, NotFound, UnknownCluster
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import WRITE_SCOPE, ClusterRequest, Handle, Principal, owner_of
from k8s_mcp.observe.facts import HandleDeleted, HandleStored, Observe, Target
from k8s_mcp.policy.admission import Admission

MAX_HANDLES = 50
"""Most handles of one principal."""

_logger = logging.getLogger(__name__)


class Store(Protocol):
    """Where handles are kept. `owner` stands for a principal. What has expired is not there any more."""

    async def put(self, owner: str, handle: Handle) -> None:
        """Store a handle, in the place of one of the same name."""
        ...

    async def get(self, owner: str, name: str) -> Handle | None:
        """The owner's handle with its kubeconfig."""
        ...

    async def all(self, owner: str) -> list[Handle]:
        """The owner's handles, without their kubeconfigs."""
        ...

    async def delete(self, owner: str, name: str) -> bool:
        """Whether there was one."""
        ...

    async def offered(self, principal: str) -> list[tuple[str, str]]:
        """Names and kubeconfigs that an administrator offers to the principal."""
        ...


class MemoryStore:
    """For the local executor: handles live as long as the service."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, str], Handle] = {}

    async def put(self, owner: str, handle: Handle) -> None:
        self._handles[owner, handle.name] = handle

    async def get(self, owner: str, name: str) -> Handle | None:
        self._forget_expired()
        return self._handles.get((owner, name))

    async def all(self, owner: str) -> list[Handle]:
        self._forget_expired()
        return [handle for (holder, _), handle in self._handles.items() if holder == owner]

    async def delete(self, owner: str, name: str) -> bool:
        self._forget_expired()
        return self._handles.pop((owner, name), None) is not None

    async def offered(self, principal: str) -> list[tuple[str, str]]:  # noqa: ARG002 - nobody could store one
        return []

    def _forget_expired(self) -> None:
        now = datetime.now(UTC)
        self._handles = {
            key: handle for key, handle in self._handles.items() if handle.expires and handle.expires > now
        }


class Handles:
    """The cluster handles of all principals."""

    def __init__(self, store: Store, admission: Admission, observe: Observe) -> None:
        self._store = store
        self._admission = admission
        self._observe = observe
        self._storing = asyncio.Lock()

    async def put(self, principal: Principal, name: str, request: ClusterRequest) -> Handle:
        """Store a handle, or replace it. Raises Forbidden, KubeconfigError and InvalidRequest."""
        _check_scope(principal)
        kubeconfig, _ = self._admission.admit(principal, request.kubeconfig)
        owner = owner_of(principal)
        async with self._storing:
            others = [handle for handle in await self._store.all(owner) if handle.name != name]
            if len(others) >= MAX_HANDLES:
                raise InvalidRequest(
                    "name", f"{MAX_HANDLES} clusters are stored already, the most allowed; delete one first"
                )
            handle = _handle(name, kubeconfig, datetime.now(UTC) + timedelta(seconds=request.ttl))
            await self._store.put(owner, handle)
        mask = Redactor(kubeconfig.secrets()).mask
        target = Target(mask(kubeconfig.server), mask(kubeconfig.current_context), kubeconfig.fingerprint, mask(name))
        self._observe(HandleStored(principal, target, request.ttl))
        return handle

    async def all(self, principal: Principal) -> list[Handle]:
        """What the principal can name: its own handles, and those it is offered."""
        own = await self._store.all(owner_of(principal))
        names = {handle.name for handle in own}
        offered: list[Handle] = []
        for name, text in await self._store.offered(principal.name):
            if name not in names:
                with suppress(Forbidden, NotFound):
                    offered.append(self._offered(principal, name, text))
        return sorted([*own, *offered], key=lambda handle: handle.name)

    async def get(self, principal: Principal, name: str) -> Handle:
        """One of them, with its kubeconfig, which is for runs alone. Raises NotFound, also for somebody else's.

        Whether a run may use it is asked when one starts: a rule may have changed since it was stored.
        """
        own = await self._store.get(owner_of(principal), name)
        if own is not None:
            return own
        for offered, text in await self._store.offered(principal.name):
            if offered == name:
                return self._offered(principal, name, text)
        raise UnknownCluster("no such cluster; it may have expired: store it again with PUT /clusters/NAME")

    async def delete(self, principal: Principal, name: str) -> None:
        """Forget one of the principal's own. Raises Forbidden and NotFound."""
        _check_scope(principal)
        if not await self._store.delete(owner_of(principal), name):
            raise NotFound("no such cluster of yours")
        self._observe(HandleDeleted(principal, name))

    def _offered(self, principal: Principal, name: str, text: str) -> Handle:
        """Raises Forbidden, and NotFound for one that is of no use."""
        try:
            kubeconfig, _ = self._admission.admit(principal, text, name)
        except KubeconfigError as error:
            _logger.warning("the offered cluster %r cannot be used: %s", name, error)
            raise NotFound(
                f"the operator offers the cluster {name}, but it cannot be used; ask the operator"
            ) from None
        return _handle(name, kubeconfig, None)


def _check_scope(principal: Principal) -> None:
    """What a handle leads to, other runs of the principal rely on."""
    if principal.only_reads:
        raise InsufficientScope("the token is for reading only", WRITE_SCOPE)


def _handle(name: str, kubeconfig: Kubeconfig, expires: datetime | None) -> Handle:
    contexts = tuple(context.name for context in kubeconfig.contexts)
    return Handle(name, kubeconfig.server, contexts, expires, kubeconfig.dump())
