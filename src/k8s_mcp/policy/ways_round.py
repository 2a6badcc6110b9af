"""Ways round a rule: another rule that gives more to a caller who names the same API server otherwise. Pure.

A rule is found by how a kubeconfig names a server, and that is the caller's choice: one of its names, or its address.
Only for callers' own kubeconfigs; where an offered cluster is, the operator says.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from k8s_mcp.models import STRICTEST_FIRST
from k8s_mcp.policy.rules import Grant, Policy, Rule
from k8s_mcp.policy.server_pattern import like


def warnings(policy: Policy) -> list[str]:
    """One line for each pair of rules, as they are to be told to the operator."""
    found: list[str] = []
    for number, rule in enumerate(policy.rules):
        for later in policy.rules[number + 1 :]:
            more = ", ".join(_more(rule.grant, later.grant))
            if more and _are_for_one_caller(rule, later) and _can_be_reached_otherwise(rule, later):
                found.append(
                    f"warning: {later.place} gives more than {rule.place}, also to who names a "
                    f"server of that one by another name or its address: {more}"
                )
    return found


def _can_be_reached_otherwise(rule: Rule, later: Rule) -> bool:
    """Whether a server of `rule` may have a name or an address that only `later` has a pattern for.

    Two patterns for names are two groups of names that somebody has kept apart; a name and an address are not.
    """
    if not (rule.own_kubeconfigs and later.own_kubeconfigs) or "*" in rule.servers:
        return False
    kinds = {_is_of_addresses(pattern) for pattern in rule.servers}
    return any(_is_of_all(pattern) or {_is_of_addresses(pattern)} != kinds for pattern in later.servers)


def _are_for_one_caller(rule: Rule, later: Rule) -> bool:
    """Anybody may be in any group; only two names can be known to be different."""
    if (rule.groups and (later.groups or later.principals)) or (rule.principals and later.groups):
        return True
    return any(like(one, other) or like(other, one) for one in rule.principals for other in later.principals)


def _more_of_the_api(grant: Grant, later: Grant) -> Iterator[str]:
    """Of two lists nobody knows which gives more, so two that are not the same are told."""
    order = ("none", "masked", "full")
    for rule in grant.api_rules:
        for other in later.api_rules:
            seen, more = rule.seen_of_secrets, other.seen_of_secrets
            if order.index(more) > order.index(seen) and grant.access == later.access:
                yield f"secrets {more} instead of {seen}"
            if rule.allow is not None and other.allow != rule.allow:
                yield "another `allow`" if other.allow is not None else "no `allow`"
            if not set(map(repr, rule.deny)) <= set(map(repr, other.deny)):
                yield "not all of its `deny`"


def _more(grant: Grant, later: Grant) -> Iterator[str]:
    if STRICTEST_FIRST.index(later.access) > STRICTEST_FIRST.index(grant.access):
        yield f"access {later.access} instead of {grant.access}"
    yield from _more_of_the_api(grant, later)
    for name in ("max_timeout", "max_runs", "max_cluster_runs", "max_output"):
        most, later_most = getattr(grant, name), getattr(later, name)
        if most is not None and (later_most is None or later_most > most):
            yield f"{name} {'without a limit' if later_most is None else later_most} instead of {most}"
    if plugins := later.exec_plugins - grant.exec_plugins:
        yield f"exec_plugins {', '.join(sorted(plugins))}"
    for name in ("insecure_tls", "proxy_url"):
        if getattr(later, name) and not getattr(grant, name):
            yield name


def _is_of_all(pattern: str) -> bool:
    return not _host(pattern).strip("*")


def _is_of_addresses(pattern: str) -> bool:
    """Whether a pattern for servers means addresses: a network, an address, or a part of one."""
    host = _host(pattern)
    try:
        return bool(ip_address(host))
    except ValueError:
        return ("/" in pattern and "://" not in pattern) or ":" in host or not host.strip("0123456789.*")


def _host(pattern: str) -> str:
    host = pattern.partition("://")[2].partition("/")[0] if "://" in pattern else pattern.partition("/")[0]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
