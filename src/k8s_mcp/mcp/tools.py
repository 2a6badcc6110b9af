"""The tools that MCP clients see: their names, descriptions and schemas. No I/O.

https://modelcontextprotocol.io/specification/2025-11-25/server/tools
"""

from dataclasses import dataclass
from typing import Annotated, Any

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from k8s_mcp.mcp.results import CLUSTERS, LINES, RESULT, STATE
from k8s_mcp.models import Access, Seconds, StreamName, Text, check_command, whole

CACHE_HINTS: dict[CacheableMethod, CacheHint] = {
    "tools/list": CacheHint(60_000),  # a policy or a token can change what there is
    "resources/templates/list": CacheHint(3_600_000, "public"),
}
"""How long clients may keep a list, in ms. That of resources is out of date with the next run."""

INSTRUCTIONS = (
    "Run shell commands (kubectl, helm, jq, pipes) against Kubernetes clusters. "
    "list_clusters says which clusters you can name; run_command runs one command and returns its output."
)


def _none_if_empty(value: str | None) -> str | None:
    """Some models fill what they have no use for with empty strings."""
    return value or None


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("this tool only reads; use run_command")
    return value


_Wait = Annotated[int, Field(ge=0, le=600), BeforeValidator(whole)]
_Count = Annotated[int, Field(ge=1), BeforeValidator(whole)]
_OptionalText = Annotated[Text | None, AfterValidator(_none_if_empty)]


MOST_CLUSTERS = 20
"""Of one call."""
_STRICT = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class RunCommand(BaseModel):
    """Arguments of run_command."""

    model_config = _STRICT

    command: Annotated[Text, AfterValidator(check_command)] = Field(
        description="For bash: kubectl, helm, jq, pipes, heredocs."
    )
    cluster: _OptionalText = Field(None, description="A cluster's name, from list_clusters.")
    clusters: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=MOST_CLUSTERS,
        description="Several instead: the same command on each, at once.",
    )
    kubeconfig: _OptionalText = Field(None, description="A kubeconfig's content (no path) instead.", repr=False)
    timeout: Seconds | None = Field(None, description="Seconds until the command is ended, 300 by default.")
    wait: _Wait = Field(
        45,
        description="Seconds to wait, 45 by default (fewer if your client times out); the run goes on: read_output.",
    )
    stdin: Text | None = Field(None, description="Standard input, for `kubectl apply -f -`.")
    read_only: bool = Field(default=False, description="Make sure that nothing is changed.")
    dry_run: bool = Field(default=False, description="Try changes without making them.")


class RunReadOnly(RunCommand):
    """Arguments of run_read_only, which cannot be told otherwise."""

    read_only: Annotated[bool, AfterValidator(_true)] = True


class ReadOutput(BaseModel):
    """Arguments of read_output."""

    model_config = _STRICT

    run_id: Text = Field(description="From a result or its progress.")
    start_line: _Count = Field(1, description="First line, from 1.")
    max_lines: _Count = Field(200, le=5000, description="Most lines, 200 by default.")
    stream: StreamName | None = Field(None, description="Only this stream.")
    grep: _OptionalText = Field(None, description="Only lines with this text (no pattern), numbered.")
    context: _Count | None = Field(None, description="Lines around each match of grep.")
    tail: _Count | None = Field(None, description="Only the last so many of these lines.")
    column: _Count = Field(1, description="First character of start_line, in a line that was cut.")
    wait: _Wait | None = Field(None, description="Seconds to wait for the run's end.")


class ListClusters(BaseModel):
    """list_clusters takes no arguments."""

    model_config = ConfigDict(extra="forbid")


class CancelRun(BaseModel):
    """Arguments of cancel_run."""

    model_config = _STRICT

    run_id: Text = Field(description="From a result or its progress.")


ARGUMENTS: dict[str, type[BaseModel]] = {
    "run_command": RunCommand,
    "run_read_only": RunReadOnly,
    "read_output": ReadOutput,
    "list_clusters": ListClusters,
    "cancel_run": CancelRun,
}


def starts_run(message: types.JSONRPCRequest) -> bool:
    """Whether it is a call of a tool that runs a command."""
    name = (message.params or {}).get("name")
    return message.method == "tools/call" and isinstance(name, str) and name.startswith("run_")


_LEFT_OUT = ("title", "default", "anyOf", "minimum", "maximum", "minItems", "maxItems")
"""Of a field's schema. A value that is out of bounds is refused with a sentence that names them."""


_LIMITS: dict[Access, str] = {
    "full": "",
    "dry_run": " Here changes are tried and not made; exec and port-forward are refused, Secrets are masked.",
    "read_only": " Here it can only read: changes, exec and port-forward are refused, Secrets are masked.",
}


@dataclass(frozen=True)
class Offer:
    """What the service lets a caller do. `access`: the most that a run of the caller's can have.

    `can_be_read_only`: runs can be kept to reading. `kubeconfigs`: calls may bring one. `headers`: the caller's
    protocol has arguments that are sent as a header too, by which gateways can route.
    """

    access: Access = "full"
    can_be_read_only: bool = True
    kubeconfigs: bool = True
    headers: bool = False

    def tools(self) -> list[types.Tool]:
        """All tools that there are."""
        changes_nothing = self.access != "full"
        run = self._tool(
            "run_command",
            "Run a command on a cluster",
            "Run one shell command against a Kubernetes cluster; returns exit code and output. Each call is a "
            "fresh shell. Credentials are set up; do not print them. Long output comes back as head and tail; "
            "read_output reads the rest. Get less with -o name, -o jsonpath, --tail, head or grep. What follows "
            "(logs -f, get -w) ends at the timeout. Listings with -A may show the pod of the command itself, run-…."
            + _LIMITS[self.access],
            RESULT,
            types.ToolAnnotations(
                read_only_hint=changes_nothing, destructive_hint=not changes_nothing, open_world_hint=True
            ),
        )
        read_only = self._tool(
            "run_read_only",
            "Look at a cluster",
            "Like run_command, with its arguments, but changes, exec and port-forward are refused, Secrets are "
            "masked. Use it for all that only looks; kubectl diff needs dry_run.",
            RESULT,
            types.ToolAnnotations(read_only_hint=True, open_world_hint=True),
        )
        return [run, *([read_only] if self.can_be_read_only else []), *_OTHERS]

    def _tool(
        self, name: str, title: str, description: str, output: dict[str, Any], annotations: types.ToolAnnotations
    ) -> types.Tool:
        tool = _tool(name, title, description, output, annotations)
        fields = tool.input_schema["properties"]
        if not self.kubeconfigs:
            del fields["kubeconfig"]
        if self.headers:
            fields["cluster"]["x-mcp-header"] = "Cluster"  # Mcp-Param-Cluster
        if name == "run_read_only" or not self.can_be_read_only:
            del fields["read_only"]
        if not self.can_be_read_only or self.access != "full":
            del fields["dry_run"]
        if name == "run_read_only":
            fields |= {
                field: {key: schema[key] for key in schema if key != "description"}
                for field, schema in fields.items()
            }
        return tool


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
    """The schema without what a model does not need to read: titles, bounds, and the class's docstring.

    And without `additionalProperties`: google-genai 3.6 fails on it. Unknown arguments are refused all the same.
    """
    left_out = ("title", "description", "additionalProperties")
    schema = {key: value for key, value in schema.items() if key not in left_out}
    schema.setdefault("properties", {})
    schema["properties"] = {name: _field(field) for name, field in schema["properties"].items()}
    return schema


def _field(field: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in field:
        [kind] = [option for option in field["anyOf"] if option != {"type": "null"}]
        field = {**field, **kind}
    return {key: value for key, value in field.items() if key not in _LEFT_OUT}


_OTHERS = [
    _tool(
        "read_output",
        "Read a run's output",
        "Read lines of a run's output, also while it goes on. It is kept for a limited time after the run.",
        LINES,
        types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    _tool(
        "list_clusters",
        "List clusters",
        "List the clusters that can be named, with server, contexts and expiry.",
        CLUSTERS,
        types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    _tool(
        "cancel_run",
        "Cancel a run",
        "End a run's command. Does nothing to a run that has ended.",
        STATE,
        types.ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    ),
]
