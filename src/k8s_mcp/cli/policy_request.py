"""`k8s-mcp policy test --verb …`: what the policy says of one request to the Kubernetes API."""

import argparse
import re
from collections.abc import Sequence

from k8s_mcp.policy.api_decision import Ask, decide
from k8s_mcp.policy.api_rules import ApiRule
from k8s_mcp.policy.api_scope import CLUSTER_SCOPED, CORE, IDENTITIES

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate")
_METHODS = ("get", "head", "post", "put", "patch", "delete")
_RESOURCE = re.compile(r"([a-z0-9-]+)(\.[a-z0-9.-]+)?(/[a-z0-9.-]+)?")


class WrongRequest(ValueError):
    """The options name no request; the message says what to write."""


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """The options that name a request."""
    add = parser.add_argument
    add("--verb", metavar="VERB", help="a request to the Kubernetes API: get, list, create, patch, delete, …")
    add("--resource", metavar="NAME", help="of what, with its group: pods, deployments.apps, pods/exec")
    add("--subresource", metavar="NAME", help="a part of it: log, exec, scale, token, …")
    add("--name", metavar="NAME", help="of which object; else of any")
    add("--namespace", metavar="NAME", help='in which namespace; else in any; "" for what is in none')
    add("--path", metavar="/PATH", help="instead of a resource: /metrics, /logs/…")


def requested(options: argparse.Namespace) -> Ask | None:
    """The request that the options name, if they do. Raises WrongRequest."""
    words = ("resource", "subresource", "name", "namespace", "path")
    given = [word for word in words if getattr(options, word) is not None]
    if options.verb is None:
        if given:
            raise WrongRequest(f"say with --verb what is asked of --{given[0]}")
        return None
    if options.path is None and options.resource is None:
        raise WrongRequest("say with --resource (or --path) of what")
    known = _VERBS if options.path is None else _METHODS
    if options.verb not in known:
        raise WrongRequest(f"--verb must be one of {', '.join(known)}: no request has another")
    return _of_resource(options) if options.path is None else _of_path(options, given)


def decisions(rules: Sequence[ApiRule], ask: Ask) -> tuple[bool, list[str]]:
    """Whether all rules allow it, and a line for each."""
    found = [decide(rule, ask) for rule in rules]
    lines: list[str] = []
    for one in found:
        line = f"{ask}: {'allowed' if one.allowed else 'refused'} by {one.by}" + (f" ({one.why})" if one.why else "")
        line += "; tried, and not made" if one.dry else ""
        lines.append(line + ("; values masked" if one.masked else ""))
    return all(one.allowed for one in found), lines


def _of_path(options: argparse.Namespace, given: list[str]) -> Ask:
    if given != ["path"]:
        raise WrongRequest(f"--path and --{given[0]} exclude each other")
    if not options.path.startswith("/"):
        raise WrongRequest("--path must begin with a slash")
    return Ask(options.verb, path=options.path)


def _of_resource(options: argparse.Namespace) -> Ask:
    match = _RESOURCE.fullmatch(options.resource)
    if match is None:
        raise WrongRequest("--resource must be in lower case and plural: pods, deployments.apps, pods/log")
    resource, group, below = match[1], (match[2] or "")[1:], (match[3] or "")[1:]
    if below and options.subresource:
        raise WrongRequest("--subresource is in --resource already")
    if not group and resource not in CORE and (options.verb != "impersonate" or resource not in IDENTITIES):
        raise WrongRequest(
            f"--resource {resource} needs its group, as in deployments.apps: see kubectl api-resources"
        )
    subresource = options.subresource or below
    if options.name and options.verb in ("create", "deletecollection") and not subresource:
        raise WrongRequest(f"a request to {options.verb} has no --name that could be looked at")
    namespace = options.namespace or ""
    known = CLUSTER_SCOPED.get(group, ())
    in_none = (
        resource in known or "*" in known or (resource, group) in (("namespaces", ""), ("users", ""), ("groups", ""))
    )
    if resource == "namespaces" and not group:
        namespace = options.name or namespace
    anywhere = options.namespace is None and not namespace and not in_none
    return Ask(options.verb, group, resource, subresource, namespace, options.name or "", anywhere=anywhere)
