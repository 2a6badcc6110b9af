"""A caller's kubeconfig under the policy: what is refused, and what a run with the rest may do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from k8s_mcp.errors import Forbidden, InsufficientScope, KubeconfigError
from k8s_mcp.kubeconfig.addresses import check_resolved
from k8s_mcp.kubeconfig.fields import Fields
from k8s_mcp.kubeconfig.kubeconfig import Allowed, Kubeconfig, LeftOut, checked, parse, read
from k8s_mcp.models import WRITE_SCOPE, Access, Principal
from k8s_mcp.policy.observers import Observing
from k8s_mcp.policy.rules import Grant, Policy, Rule


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
            if context.name != kept.current_context:
                try:
                    kept, grant = self._with(
                        context.name, kept, known, lambda servers: policy.decide(who, handle, servers), document
                    )
                except (Forbidden, KubeconfigError) as error:
                    why[context.name] = error.fields[0][1] if isinstance(error, KubeconfigError) else error.message
        if not all(rule.is_open for rule in grant.api_rules):
            self.check_read_only(f" ({grant.rule})")
        left_out = known.left_out + tuple(LeftOut(name, said) for name, said in why.items())
        return replace(kept, left_out=left_out), grant

    def _with(
        self,
        context: str,
        kept: Kubeconfig,
        known: Kubeconfig,
        decide: Callable[[Callable[[], Iterable[str]]], Grant],
        document: Fields,
    ) -> tuple[Kubeconfig, Grant]:
        """One context more, and what is allowed with it. Raises Forbidden or KubeconfigError: it is left out."""
        names = [kept.current_context, *(one.name for one in kept.contexts), context]
        grant = decide(lambda: [known.cluster_of(name).server for name in names])
        try:
            more = checked(document, self._allowed(grant), only=names)
        except KubeconfigError:
            more = None
        if more is None or any(one.context != context for one in more.left_out):
            raise Forbidden(f"with it, {grant.rule} would hold for the contexts before it, which need more")
        for one in more.left_out:
            raise KubeconfigError(one.why)
        return more, grant

    def _allowed(self, grant: Grant) -> Allowed:
        return Allowed(grant.exec_plugins, grant.proxy_url, grant.insecure_tls, self._loopback)

    async def check_addresses(self, kubeconfig: Kubeconfig) -> Kubeconfig:
        """Without the contexts whose hosts resolve to an address that is refused.

        Raises KubeconfigError if the current one is among them.

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
        """Raise Forbidden where a run could be kept neither to reading nor to trying."""
        if not self._can_be_read_only:
            raise Forbidden(
                f"a run cannot be read-only here{whose}, nor a dry run, nor held to other rules: that takes the "
                "Kubernetes executor with credential isolation; send a kubeconfig whose credential may only read "
                "instead"
            )

    def check_scope(self, who: Principal) -> None:
        """Raise InsufficientScope if the caller's token is for reading, and a run could not be kept to that."""
        if who.only_reads and not self._can_be_read_only:
            raise InsufficientScope(
                "the token is for reading only, and a run cannot be kept to that here", WRITE_SCOPE
            )

    def reread(self, text: str) -> Kubeconfig:
        """A kubeconfig whatever the policy says of it: of a run that was admitted before."""
        return parse(text, Allowed(None, proxy_url=True, insecure_tls=True, loopback=self._loopback))

    def most_access(self, who: Principal) -> Access:
        """The most that the caller may do anywhere."""
        return self._policy().most_access(who)

    def observing(self, who: Principal) -> Observing:
        """What the caller may do with the runs of others."""
        return self._policy().observing(who)

    def rules_for(self, who: Principal) -> list[Rule]:
        """The rules that are for the caller."""
        return self._policy().rules_for(who)
