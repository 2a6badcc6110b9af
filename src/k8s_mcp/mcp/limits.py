"""What callers of MCP can have, as the operator sets it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class McpLimits:
    """`text`: most characters of output in one result; `run_idle`, `session_idle` in seconds.

    `sessions` of one caller; `kubeconfigs`: whether calls may bring a kubeconfig.
    """

    text: int
    run_idle: float
    kubeconfigs: bool
    sessions: int
    session_idle: float
