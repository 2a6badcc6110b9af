"""The tools that MCP clients see: their names, descriptions and schemas. No I/O.

https://modelcontextprotocol.io/specification/2025-11-25/server/tools
"""

from typing import Annotated, Any

import mcp_types as types
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from k8s_mcp.models import StreamName, Text, check_command

INSTRUCTIONS = (
    "Run shell commands (kubectl, helm, jq, pipes) against Kubernetes clusters. "
    "list_clusters says which clusters you can name; run_command runs one command and returns its output."
)


def _none_if_empty(value: str | None) -> str | None:
    """Some models fill what they have no use for with empty strings."""
    return value or None


_OptionalText = Annotated[Text | None, AfterValidator(_none_if_empty)]


class RunCommand(BaseModel):
    """Arguments of run_command."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    command: Annotated[Text, AfterValidator(check_command)] = Field(
        description="One shell line for bash: kubectl, helm, jq, grep, pipes and heredocs work."
    )
    cluster: _OptionalText = Field(None, description="Name of a cluster, from list_clusters.")
    kubeconfig: _OptionalText = Field(None, description="Content of a kubeconfig, instead of cluster.", repr=False)
    timeout: int | None = Field(None, ge=1, description="Seconds until the command is ended; 300 by default.")
    stdin: Text | None = Field(None, description="Standard input, such as a manifest for `kubectl apply -f -`.")
    read_only: bool = Field(
        default=False, description="Make sure that nothing is changed; Secrets cannot be read then."
    )


class ReadOutput(BaseModel):
    """Arguments of read_output."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    run_id: Text = Field(description="From run_command.")
    start_line: int = Field(1, ge=1, description="First line to read; lines count from 1.")
    max_lines: int = Field(200, ge=1, le=5000, description="Most lines to return.")
    stream: StreamName | None = Field(None, description="Only this stream.")
    grep: Text | None = Field(None, description="Only lines that contain this text (no pattern; case matters).")


class ListClusters(BaseModel):
    """list_clusters takes no arguments."""

    model_config = ConfigDict(extra="forbid")


class CancelRun(BaseModel):
    """Arguments of cancel_run."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    run_id: Text = Field(description="From run_command.")


ARGUMENTS: dict[str, type[BaseModel]] = {
    "run_command": RunCommand,
    "read_output": ReadOutput,
    "list_clusters": ListClusters,
    "cancel_run": CancelRun,
}

_RESULT = {
    "type": "object",
    "required": ["run_id", "status", "exit_code", "stdout", "stderr", "truncated", "total_lines"],
    "properties": {
        "run_id": {"type": "string"},
        "status": {"type": "string", "enum": ["done", "timeout", "cancelled", "error"]},
        "exit_code": {"type": ["integer", "null"]},
        "stdout": {"type": "string"},
        "stderr": {"type": "string"},
        "truncated": {"type": "boolean"},
        "total_lines": {"type": "integer"},
    },
}
_LINES = {
    "type": "object",
    "required": ["run_id", "status", "text", "lines", "next_line", "total_lines"],
    "properties": {
        "run_id": {"type": "string"},
        "status": {"type": "string"},
        "text": {"type": "string"},
        "lines": {"type": "integer"},
        "next_line": {"type": ["integer", "null"]},
        "total_lines": {"type": "integer"},
    },
}
_CLUSTERS = {
    "type": "object",
    "required": ["clusters"],
    "properties": {
        "clusters": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "server", "contexts", "expires", "offered"],
                "properties": {
                    "name": {"type": "string"},
                    "server": {"type": "string"},
                    "contexts": {"type": "array", "items": {"type": "string"}},
                    "expires": {"type": ["string", "null"]},
                    "offered": {"type": "boolean"},
                },
            },
        }
    },
}
_STATE = {
    "type": "object",
    "required": ["run_id", "status"],
    "properties": {"run_id": {"type": "string"}, "status": {"type": "string"}},
}


def tools(*, read_only: bool = False) -> list[types.Tool]:
    """All tools. `read_only`: whatever the caller runs is."""
    limits = " Here it can only read: changes, exec, port-forward and Secrets are refused." if read_only else ""
    return [
        _tool(
            "run_command",
            "Run a command on a cluster",
            "Run one shell command against a Kubernetes cluster and return its exit code and output. Each call is a "
            "fresh shell: nothing of an earlier call is left. Credentials are set up; do not print them. "
            "Long output comes back as its head and tail; read_output reads the rest. Get less with -o name, "
            "-o jsonpath, --tail, head or grep. A command that follows (logs -f, get -w) ends at the timeout."
            + limits,
            _RESULT,
            types.ToolAnnotations(read_only_hint=read_only, destructive_hint=not read_only, open_world_hint=True),
        ),
        _tool(
            "read_output",
            "Read a run's output",
            "Read lines of a run's output, also while it goes on. Output is kept for a limited time after the run.",
            _LINES,
            types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
        ),
        _tool(
            "list_clusters",
            "List clusters",
            "List the clusters that run_command can be given by name, with server, contexts and expiry.",
            _CLUSTERS,
            types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
        ),
        _tool(
            "cancel_run",
            "Cancel a run",
            "End a run's command. Does nothing to a run that has ended.",
            _STATE,
            types.ToolAnnotations(
                read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
            ),
        ),
    ]


def _tool(
    name: str, title: str, description: str, output: dict[str, Any], annotations: types.ToolAnnotations
) -> types.Tool:
    return types.Tool(
        name=name,
        title=title,
        description=description,
        input_schema=_plain(ARGUMENTS[name].model_json_schema()),
        output_schema=output,
        annotations=annotations,
    )


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without what a model does not need to read: titles, defaults of null, and the class's docstring."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "description")}
    schema.setdefault("properties", {})
    schema["properties"] = {name: _field(field) for name, field in schema["properties"].items()}
    return schema


def _field(field: dict[str, Any]) -> dict[str, Any]:
    field = {key: value for key, value in field.items() if key != "title" and (key, value) != ("default", None)}
    if "anyOf" in field:
        [kind] = [option for option in field.pop("anyOf") if option != {"type": "null"}]
        field = {**kind, **field}
    return field
