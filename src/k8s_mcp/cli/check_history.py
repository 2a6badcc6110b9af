"""What `k8s-mcp check` says of the history: whether its database answers."""

import asyncio

from k8s_mcp.cli.finding import Finding
from k8s_mcp.errors import StartError
from k8s_mcp.history.database import Away
from k8s_mcp.history.made import store_of
from k8s_mcp.history.schema import VERSION
from k8s_mcp.settings import Settings

_WHAT = "history"
_ADVICE = "K8S_MCP_HISTORY_URL (--history-url) names another; runs go on without it"


async def of_history(settings: Settings) -> Finding | None:
    """None if none is kept."""
    try:
        store = store_of(settings)
        if store is None:
            return None
        version = await asyncio.to_thread(store.version)
    except (StartError, Away) as error:
        return Finding(_WHAT, "failed", str(error), _ADVICE)
    if version > VERSION:
        said = (
            f"{store.name}: a later version of the service has used it (tables {version}, this one knows {VERSION})"
        )
        return Finding(_WHAT, "failed", said, _ADVICE)
    return Finding(_WHAT, "ok", f"{store.name} {'answers' if version else 'can be used'}")
