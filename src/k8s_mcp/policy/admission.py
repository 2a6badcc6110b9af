"""A caller's kubeconfig under the policy: what is refused, and what a run with the rest may do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from k8s_mcp.errors import Forbidden
from k8s_mcp.kubeconfig.addresses import check_resolved
from k8s_mcp.kubeconfig.kubeconfig import Allowed, Kubeconfig, LeftOut, checked, parse, read
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

        `handle` names a cluster that the operator offers. The current context must be allowed. Another is left out
        if it is not, or if with it the ones before it would not be: what is kept would have been admitted by itself.
        """
        document = read(text)
        policy = self._policy()
        everything = Allowed(None, proxy_url=True, insecure_tls=True, loopback=self._loopback)
        grant = policy.decide(who, handle, lambda: [checked(document, everything).server])
        known = checked(document, everything)
        kept = checked(document, self._allowed(grant), only={known.current_context})
        why: dict[str, str] = {}
        for context in known.contexts:
            if context.name == kept.current_context:
                continue
            names = [context.name, *(one.name for one in kept.contexts)]
            servers = [known.cluster_of(name).server for name in (known.current_context, *names)]
            try:
                narrower = policy.decide(who, handle, lambda servers=servers: servers)
                more = checked(document, self._allowed(narrower), only=names)
            except (Forbidden, KubeconfigError) as error:
                why[context.name] = error.fields[0][1] if isinstance(error, KubeconfigError) else error.message
                continue
            if more.left_out:
                why[context.name] = _why(more, context.name, narrower)
            else:
                kept, grant = more, narrower
        if grant.access != "full":
            self.check_read_only(f" ({grant.rule})")
        left_out = known.left_out + tuple(LeftOut(name, said) for name, said in why.items())
        return replace(kept, left_out=left_out), grant

    def _allowed(self, grant: Grant) -> Allowed:
        return Allowed(grant.exec_plugins, grant.proxy_url, grant.insecure_tls, self._loopback)

    async def check_addresses(self, kubeconfig: Kubeconfig) -> Kubeconfig:
        """Without the contexts whose hosts resolve to an address that is refused; KubeconfigError for the current one.

        Not the last word: a name can mean something else a moment later, or in the pod. That is its network policy's.
        """
        hosts = kubeconfig.hosts()
        found = dict(zip(hosts, await asyncio.gather(*(self._addresses(host) for host in hosts)), strict=True))
        why: dict[str, str] = {}
        for context in kubeconfig.contexts:
            try:
                for host in kubeconfig.minify(context.name).hosts():
                    check_resolved(host, found[host], loopback=self._loopback)
            except KubeconfigError as error:
                if context.name == kubeconfig.current_context:
                    raise
                why[context.name] = error.fields[0][1]
        return kubeconfig.without(why) if why else kubeconfig

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


def _why(kubeconfig: Kubeconfig, context: str, grant: Grant) -> str:
    """Why a context cannot be kept beside the others."""
    for one in kubeconfig.left_out:
        if one.context == context:
            return one.why
    return f"with it the rules {grant.rule} would hold for the others as well, which need more"
