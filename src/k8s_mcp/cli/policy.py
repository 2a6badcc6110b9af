"""`k8s-mcp policy`: is a policy file right (`check`), and what may somebody do by it (`test`)."""

import argparse
import os
import sys

from k8s_mcp.cli.policy_request import WrongRequest, add_request_options, decisions, requested
from k8s_mcp.cli.tell import tell
from k8s_mcp.errors import Forbidden, KubeconfigError
from k8s_mcp.kubeconfig.fields import Fields
from k8s_mcp.models import Principal
from k8s_mcp.policy import observers, open_ways, ways_round
from k8s_mcp.policy.api_decision import Ask
from k8s_mcp.policy.file import policy_of, read_bytes
from k8s_mcp.policy.rules import Grant, Policy, PolicyError, Rule

_REFUSED, _USAGE = 1, 2
_VARIABLE = "K8S_MCP_POLICY"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp policy`."""
    parser.description = "Check a policy file, or ask it what somebody may do. Asks no service."
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    check = actions.add_parser(
        "check",
        help="is the file right: exit code 0 if so, else 1, with the lines that are not; warns of ways round a "
        "rule, from what it allows to everything, and of observers that everybody is",
    )
    check.add_argument("file", nargs="?", metavar="FILE", help=f"the policy file [{_VARIABLE}]")
    test = actions.add_parser(
        "test",
        help="what somebody may do, and by which rule: exit code 1 if a cluster, or a request, that was asked about "
        "is refused",
    )
    test.add_argument("--file", metavar="FILE", help=f"the policy file [{_VARIABLE}]")
    test.add_argument("--principal", metavar="NAME", help="who is calling; only with --verb it can be anybody")
    test.add_argument("--group", action="append", default=[], metavar="NAME", help="a group they are in; repeatable")
    test.add_argument(
        "--cluster", metavar="HANDLE", help="a cluster that the operator offers; --server says where it is"
    )
    test.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="an API server of the kubeconfig (of their own, unless --cluster is given); repeatable",
    )
    add_request_options(test)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out `options.action`; the exit code."""
    name = options.file or os.environ.get(_VARIABLE)
    if not name:
        tell(f"name the policy file, or set {_VARIABLE}")
        return _USAGE
    try:
        policy = policy_of(read_bytes(name))
    except OSError as error:
        tell(f"{name}: {error.strerror}")
        return _REFUSED
    except PolicyError as error:
        for line in str(error).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        return _REFUSED
    if options.action == "check":
        warnings = ways_round.warnings(policy) + open_ways.warnings(policy) + observers.warnings(policy.observers)
        for line in warnings:
            print(f"{name}: {line}", file=sys.stderr)
        print(f"{name}: {len(policy.rules)} rules")
        return 0
    return _test(policy, options)


def _test(policy: Policy, options: argparse.Namespace) -> int:
    try:
        ask = requested(options)
    except WrongRequest as error:
        tell(str(error))
        return _USAGE
    if options.principal is None:
        if ask is None or options.server or options.cluster or options.group:
            tell("say with --principal who is calling")
            return _USAGE
        return _show_rules(list(policy.rules), ask)
    who = Principal(options.principal, frozenset(options.group))
    if not options.server:
        if options.cluster:
            tell("say with --server where the cluster is")
            return _USAGE
        return _show_rules(policy.rules_for(who), ask)
    try:
        servers = [
            Fields({"server": text}).url("server", ("https", "http"), loopback=True) for text in options.server
        ]
    except KubeconfigError as error:
        tell(f"--{error.fields[0][1]}")
        return _USAGE
    try:
        grant = policy.decide(who, options.cluster, lambda: servers)
    except Forbidden as error:
        print(f"refused: {error.message}")
        for rule in policy.rules_for(who):
            reasons = (rule.why_not(options.cluster, server) for server in servers)
            print(f"  {rule.place}: {next(filter(None, reasons), 'matches')}")
        return _REFUSED
    print(f"allowed by {grant.rule}")
    return _show_grant(grant, ask)


def _show_grant(grant: Grant, ask: Ask | None) -> int:
    allowed, said = (True, []) if ask is None else decisions(grant.api_rules, ask)
    for line in [*_limits(grant), *said]:
        print(f"  {line}")
    return 0 if allowed else _REFUSED


def _show_rules(rules: list[Rule], ask: Ask | None) -> int:
    codes: list[int] = []
    for rule in rules:
        print(f"{rule.place}")
        clusters = [f"the offered {', '.join(rule.handles)}"] if rule.handles else []
        clusters += ["kubeconfigs of their own"] if rule.own_kubeconfigs else []
        print(f"  clusters: {' and '.join(clusters)}; servers: {', '.join(rule.servers)}")
        codes.append(_show_grant(rule.grant, ask))
    if not rules:
        print("refused: no rule is for them")
    return max(codes, default=_REFUSED)


def _limits(grant: Grant) -> list[str]:
    lines = [f"access: {grant.access}"]
    for rule in grant.api_rules:
        lines += [f"secrets: {rule.seen_of_secrets}"] if rule.seen_of_secrets != "full" or rule.secrets else []
        lines += [] if rule.allow is None else [f"allow: what none of {len(rule.allow)} entries names is refused"]
        lines += [f"deny: what one of {len(rule.deny)} entries names is refused"] if rule.deny else []
    numbers = {
        "timeout": (grant.max_timeout, "s at most"),
        "runs at a time": (grant.max_runs, "at most"),
        "runs at a time on one API server": (grant.max_cluster_runs, "at most, of all callers"),
        "output": (grant.max_output, "bytes at most"),
    }
    lines += [f"{what}: {number} {unit}" for what, (number, unit) in numbers.items() if number is not None]
    allowed = {
        f"exec plugins {', '.join(sorted(grant.exec_plugins))}": grant.exec_plugins,
        "insecure-skip-tls-verify": grant.insecure_tls,
        "proxy-url": grant.proxy_url,
    }
    return lines + [f"kubeconfigs may have: {what}" for what, is_allowed in allowed.items() if is_allowed]
