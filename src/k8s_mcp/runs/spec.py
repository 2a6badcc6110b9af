"""What a request that was let in becomes: the specification of a run."""

import json
import secrets

from k8s_mcp.cluster.gate_file import FIRST_PORT
from k8s_mcp.errors import InvalidRequest, TooLarge
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig, described
from k8s_mcp.limits import REQUEST_BYTES
from k8s_mcp.log_format import now
from k8s_mcp.models import Access, GateRule, Principal, RunRequest, RunSpec, digest, owner_of
from k8s_mcp.observe.facts import Target
from k8s_mcp.policy.api_rules import ApiRule, strictest
from k8s_mcp.policy.rules import Grant

DEFAULT_TIMEOUT = 300
_SECRET_BYTES = 1024 * 1024 - 16 * 1024  # what a Secret holds, less the small files


def make_spec(
    principal: Principal,
    request: RunRequest,
    key: str | None,
    kubeconfig: Kubeconfig,
    grant: Grant,
    max_timeout: int,
    *,
    unique: bool = True,
) -> RunSpec:
    """The run that is asked for; `key` is the request's idempotency key, `max_timeout` the operator's, in seconds.
    `unique`: the cluster itself is to refuse a second one of that key.

    Raises InvalidRequest and TooLarge.
    """
    if request.size() > REQUEST_BYTES:
        raise TooLarge(f"command, kubeconfig and stdin together are over {REQUEST_BYTES} bytes")
    run_id = secrets.token_hex(16)
    by_key = "" if key is None else name_of(principal, key)
    contexts = tuple(context.name for context in kubeconfig.contexts)
    servers = {name: f"http://127.0.0.1:{FIRST_PORT + number}" for number, name in enumerate(contexts)}
    spec = RunSpec(
        run_id=run_id,
        name=by_key if by_key and unique else f"run-{run_id}",
        owner=owner_of(principal),
        digest=digest(request.model_dump_json()),
        server=kubeconfig.server,
        timeout=_timeout(request, grant, max_timeout),
        created=now(),
        command=request.command,
        stdin=request.stdin,
        kubeconfig=kubeconfig.dump(),
        proxied_kubeconfig=kubeconfig.without_credentials(servers).dump(),
        contexts=contexts,
        access=strictest([grant.access, _asked(request), principal.access]),
        gate_rules=_gate_rules(principal, request, grant),
        servers=kubeconfig.servers,
        max_output=grant.max_output,
        rule=grant.rule,
        left_out=tuple(described(kubeconfig.left_out)),
        principal=principal.name,
        key=by_key,
    )
    stored = (spec.command, spec.stdin or "", spec.kubeconfig, spec.proxied_kubeconfig, json.dumps(spec.gate_rules))
    if sum(len(text.encode()) for text in stored) > _SECRET_BYTES:
        raise TooLarge("the kubeconfig as it would be stored is too large; send its current context only")
    return spec


def _asked(request: RunRequest) -> Access:
    """Of both words the one that allows more: reading is in both, and neither changes anything."""
    return "dry_run" if request.dry_run else "read_only" if request.read_only else "full"


def _gate_rules(principal: Principal, request: RunRequest, grant: Grant) -> tuple[GateRule, ...]:
    """The policy's, and what the request asks for and the token is for: both can only take away."""
    less = (ApiRule("the request", _asked(request)), ApiRule("the token's scope", principal.access))
    return tuple(rule.for_gate() for rule in (*grant.api_rules, *(rule for rule in less if not rule.is_open)))


def name_of(principal: Principal, key: str) -> str:
    """The name that stands for an idempotency key."""
    return f"run-{digest(principal.name, key)}"


def _timeout(request: RunRequest, grant: Grant, max_timeout: int) -> int:
    longest = min(max_timeout, grant.max_timeout or max_timeout)
    timeout = request.timeout or min(DEFAULT_TIMEOUT, longest)
    if timeout > longest:
        whose = "the maximum of this server" if longest == max_timeout else "the maximum for you"
        raise InvalidRequest("timeout", f"must be at most {longest}, {whose}")
    return timeout


def target_of(kubeconfig: Kubeconfig, handle: str | None = None) -> Target:
    """What a run with this kubeconfig works on."""
    return Target(kubeconfig.server, kubeconfig.current_context, kubeconfig.fingerprint, handle or "")
