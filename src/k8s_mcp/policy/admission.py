"""A caller's kubeconfig under the policy: what is refused, and what a run with the rest may do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from k8s_mcp.errors import Forbidden
from k8s_mcp.kubeconfig.addresses import check_resolved
from k8s_mcp.kubeconfig.kubeconfig import Allowed, Kubeconfig, parse
from k8s_mcp.models import Principal
from k8s_mcp.policy.rules import Grant, Policy


class Admission:
    """Asks the policy as it is at that moment. `addresses` resolves a name; the rest is the executor's."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        addresses: Callable[[str], Awaitable[Iterable[str]]],
        *,
        loopback: bool,
        can_be_read_only: bool,
    ) -> None:
        self._policy = policy
        self._addresses = addresses
        self._loopback = loopback
        self._can_be_read_only = can_be_read_only

    def admit(self, who: Principal, text: str, handle: str | None = None) -> tuple[Kubeconfig, Grant]:
        """The kubeconfig, and what its caller may do with it. Raises Forbidden and KubeconfigError.

        `handle` names a cluster that the operator offers. Read twice: first for the servers, which say what rules
        there are for the rest.
        """
        grant = self._policy().decide(who, handle, lambda: self.reread(text).servers)
        allowed = Allowed(grant.exec_plugins, grant.proxy_url, grant.insecure_tls, self._loopback)
        kubeconfig = parse(text, allowed)
        if grant.access != "full":
            self.check_read_only(f" ({grant.rule})")
        return kubeconfig, grant

    async def check_addresses(self, kubeconfig: Kubeconfig) -> None:
        """Raise KubeconfigError if one of its hosts resolves to an address that is refused.

        Not the last word: a name can mean something else a moment later, or in the pod. That is its network policy's.
        """
        hosts = kubeconfig.hosts()
        found = await asyncio.gather(*(self._addresses(host) for host in hosts))
        for host, addresses in zip(hosts, found, strict=True):
            check_resolved(host, addresses, loopback=self._loopback)

    def check_read_only(self, whose: str = "") -> None:
        """Raise Forbidden where a run could not be kept to reading."""
        if not self._can_be_read_only:
            raise Forbidden(
                f"a run cannot be read-only here{whose}: that takes the Kubernetes executor with credential "
                "isolation; send a kubeconfig whose credential may only read instead"
            )

    def reread(self, text: str) -> Kubeconfig:
        """A kubeconfig whatever the policy says of it: of a run that was admitted before."""
        return parse(text, Allowed(None, proxy_url=True, insecure_tls=True, loopback=self._loopback))

    def only_reads(self, who: Principal) -> bool:
        """Whether whatever the caller may do is read-only."""
        return self._policy().only_reads(who)
