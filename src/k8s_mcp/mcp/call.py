"""One tool call: who makes it, and how to tell them something before its result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from k8s_mcp.errors import K8sMcpError
from k8s_mcp.models import Principal

OUTPUT_TYPE = "text/plain"

Progress = Callable[[float, float | None, str | None], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """`key` is what `notifications/cancelled` will name it by; `refused` is told what was refused of it.

    `takes_links`: whether its client knows links to resources (since the protocol of 2025-06-18).
    """

    caller: Principal
    progress: Progress
    key: str | None
    refused: Callable[[K8sMcpError], None]
    takes_links: bool


def result(
    text: str, structured: dict[str, Any], *, is_error: bool = False, links: list[types.ResourceLink] | None = None
) -> types.CallToolResult:
    """A tool's result, for models and for programs."""
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text), *(links or [])]
    return types.CallToolResult(content=content, structured_content=structured, is_error=is_error)


def output_of(run_id: str) -> str:
    """The address of a run's output as a resource."""
    return f"k8s-mcp://runs/{run_id}/output"


def link_to(run_id: str) -> types.ResourceLink:
    """For a result that does not hold all of it."""
    return types.ResourceLink(uri=output_of(run_id), name=f"output of {run_id}", mime_type=OUTPUT_TYPE)
