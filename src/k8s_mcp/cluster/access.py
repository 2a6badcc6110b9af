"""What the service has to be allowed in its namespace, and whether it is.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from dataclasses import dataclass, replace

from k8s_mcp.cluster.client import Api


@dataclass(frozen=True)
class Permission:
    """Verbs on one resource (`pods/log`: a subresource) of an API group."""

    group: str
    resource: str
    verbs: tuple[str, ...]


NEEDED = (
    Permission("batch", "jobs", ("create", "get", "list", "watch", "patch", "delete")),
    Permission("", "pods", ("get", "list", "watch", "patch", "delete")),
    Permission("", "pods/log", ("get",)),
    Permission("", "secrets", ("create", "get", "delete")),
    Permission("", "events", ("list", "watch")),
    Permission("coordination.k8s.io", "leases", ("get", "create", "update", "list", "delete")),
)
FOR_WARM_PODS = Permission("", "pods", ("patch",))
"""Of the above what warm pods need, and nothing else."""
FOR_HANDLES = Permission("", "secrets", ("list", "update"))
"""For cluster handles only."""


def needed(*, warm: bool) -> tuple[Permission, ...]:
    """`NEEDED`; where no pods are kept warm, without what only those need."""
    if warm:
        return NEEDED
    extra = FOR_WARM_PODS
    return tuple(
        replace(one, verbs=tuple(verb for verb in one.verbs if verb not in extra.verbs))
        if (one.group, one.resource) == (extra.group, extra.resource)
        else one
        for one in NEEDED
    )


async def not_allowed(api: Api, permission: Permission) -> list[str]:
    """Those of the verbs that the API server would not let us use. Raises ApiError, ApiUnreachable."""
    resource, _, subresource = permission.resource.partition("/")
    found: list[str] = []
    for verb in permission.verbs:
        attributes = {
            "namespace": api.namespace,
            "verb": verb,
            "group": permission.group,
            "resource": resource,
            "subresource": subresource,
        }
        if not await api.may(attributes):
            found.append(verb)
    return found
