"""What a run's state is to those who ask for it."""

from collections.abc import Iterable

from k8s_mcp.models import RunSpec

COMMAND_CHARACTERS = 1000
"""Most of a command that a state has."""


def describe(spec: RunSpec, status: str) -> dict[str, object]:
    """A run's state, as far as its specification and its status say."""
    return {
        "run_id": spec.run_id,
        "status": status,
        "exit_code": None,
        "created": spec.created,
        "started": None,
        "ended": None,
        "cluster": spec.server,
        "handle": None,
        "command": None,
        "timeout": spec.timeout,
        "read_only": spec.read_only,
        "dry_run": spec.dry_run,
        "bytes": None,
        "lines": None,
    }


def shortened(command: str | None) -> str | None:
    """The beginning of a command, masked already, for its run's state."""
    if command is None or len(command) <= COMMAND_CHARACTERS:
        return command
    return f"{command[:COMMAND_CHARACTERS]}…"


def oldest_first(states: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """In the order in which they were accepted."""
    return sorted(states, key=lambda state: str(state["created"]))
