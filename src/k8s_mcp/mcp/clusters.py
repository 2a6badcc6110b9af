"""Which clusters a model can name, and what it is told when it names none, or a wrong one."""

import mcp_types as types

from k8s_mcp.errors import InvalidRequest, UnknownCluster
from k8s_mcp.mcp.call import Call, result
from k8s_mcp.mcp.tools import RunCommand
from k8s_mcp.models import Handle, Principal
from k8s_mcp.runs.handles import Handles

_STORE = "ask the person to store one: `k8s-mcp clusters add NAME` reads their kubeconfig"
_MOST_NAMES = 30


class Clusters:
    """The stored clusters of each caller. `kubeconfigs`: whether a call may bring a kubeconfig instead."""

    def __init__(self, handles: Handles, *, kubeconfigs: bool) -> None:
        self._handles = handles
        self._kubeconfigs = kubeconfigs

    async def list(self, call: Call) -> types.CallToolResult:
        """list_clusters: the names, and what there is to know of each."""
        handles = await self._handles.all(call.caller)
        text = "\n".join(_line(handle) for handle in handles) or f"No clusters are stored; {_STORE}."
        return result(text, {"clusters": [handle.describe() for handle in handles]})

    async def check(self, caller: Principal, arguments: RunCommand) -> None:
        """Raise InvalidRequest, with what can be named instead."""
        ways = (arguments.cluster, arguments.clusters, arguments.kubeconfig)
        if arguments.kubeconfig is not None and not self._kubeconfigs:
            raise InvalidRequest("kubeconfig", f"is not taken here. {await self._names(caller)}")
        if sum(way is not None for way in ways) != 1:
            which = "`cluster`, `clusters` and `kubeconfig`" if self._kubeconfigs else "`cluster` and `clusters`"
            raise InvalidRequest("cluster", f"send exactly one of {which}. {await self._names(caller)}")
        if arguments.kubeconfig is not None and _is_path(arguments.kubeconfig):
            raise InvalidRequest(
                "kubeconfig",
                "is a path, and the service cannot read your files. Do not read the file into this conversation: it "
                f"holds credentials. {await self._names(caller)}",
            )

    async def unknown(self, caller: Principal) -> UnknownCluster:
        """The error for a name that is not there."""
        return UnknownCluster(f"no such cluster. {await self._names(caller)}")

    async def _names(self, caller: Principal) -> str:
        names = [handle.name for handle in await self._handles.all(caller)]
        if not names:
            return f"No clusters are stored; {_STORE}"
        more = f" and {len(names) - _MOST_NAMES} more (list_clusters)" if len(names) > _MOST_NAMES else ""
        return f"There are: {', '.join(names[:_MOST_NAMES])}{more}"


def _is_path(kubeconfig: str) -> bool:
    """Whether it can only be meant as a file's name: YAML with anything in it has a colon and a space or line end."""
    text = kubeconfig.strip()
    return "\n" not in text and ": " not in text and not text.startswith("{")


def _line(handle: Handle) -> str:
    about = handle.describe()
    until = f"until {about['expires']}" if about["expires"] else "offered by the operator"
    return f"{handle.name}: {handle.server}; contexts {', '.join(handle.contexts)}; {until}"
