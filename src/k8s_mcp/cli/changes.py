"""What a command changed in its cluster, said when it has ended."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from k8s_mcp.client.remote_run import RemoteRun, ServiceError
from k8s_mcp.recorded import in_words


def say_changes(run: RemoteRun, tell: Callable[[str], None]) -> None:
    """A line for each change that the service knows of, and for what is not known."""
    if run.run_id is None:
        return
    try:
        requests = run.requests()
    except ServiceError as error:
        tell(f"the service does not say what the command changed: {error}")
        return
    if requests is None:
        tell("what the command changed is not known here: no gate has recorded it, or another replica knows")
        return
    given = requests.get("changes")
    changes = cast("list[Any]", given) if isinstance(given, list) else []
    for change in changes:
        if isinstance(change, dict):
            tell(in_words(cast("Mapping[str, object]", change)))
    if requests.get("truncated"):
        tell("it changed more than these")
    if requests.get("complete") is not True:
        tell("the record of what it changed is not complete")
    elif not changes:
        tell("it changed nothing")
