"""The words of the interface as types: a request, and the events that answer it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from k8s_mcp.limits import COMMAND_BYTES

StreamName = Literal["stdout", "stderr"]
Access = Literal["full", "dry_run", "read_only"]
"""What a run may do with the cluster: anything, try changes without making them, or look."""
STRICTEST_FIRST: tuple[Access, ...] = ("read_only", "dry_run", "full")
READ_SCOPE, WRITE_SCOPE = "k8s-mcp:read", "k8s-mcp:write"
"""Scopes of tokens: to read clusters only, or to do whatever the policy allows, reading included."""

GateRule: TypeAlias = Mapping[str, object]
"""A rule as it stands in the gate's file: gate/README.md."""
FinalStatus = Literal["done", "timeout", "cancelled", "error"]


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode: it holds half a surrogate pair") from None
    return value


def check_command(value: str) -> str:
    """`value`, if it can be run. Raises ValueError."""
    if not value.strip():
        raise ValueError("must not be empty")
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    if len(value.encode()) > COMMAND_BYTES:
        raise ValueError(
            f"must be at most {COMMAND_BYTES} bytes in UTF-8; send a longer script as `stdin` with the command `bash`"
        )
    return value


def whole(value: object) -> object:
    """5.0 is an integer in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Seconds = Annotated[int, Field(ge=1), BeforeValidator(whole)]
Text = Annotated[str, AfterValidator(_encodable)]


_ONE_CLUSTER: JsonDict = {
    "oneOf": [
        {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
        for one, other in (("kubeconfig", "cluster"), ("cluster", "kubeconfig"))
    ]
}


class RunRequest(BaseModel):
    """One command for one cluster."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, json_schema_extra=_ONE_CLUSTER
    )

    command: Annotated[Text, AfterValidator(check_command)] = Field(
        description="The whole shell line, run by `bash -c`; at most 131,071 bytes.",
        min_length=1,
        examples=["kubectl get pods -A"],
        json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$", "maxLength": COMMAND_BYTES},
    )
    kubeconfig: Text | None = Field(
        None,
        description="The kubeconfig file's content, at most 512 KiB. Either this or `cluster`.",
        repr=False,
        min_length=1,
    )
    cluster: Text | None = Field(
        None, description="The name of a cluster handle. Either this or `kubeconfig`.", min_length=1, max_length=253
    )
    timeout: Seconds | None = Field(
        None,
        description="Whole seconds until the command is ended, at least 1; 300 if left out. "
        "The server sets the maximum, 3600 by default.",
    )
    stdin: Text | None = Field(None, description="What the command reads on its standard input.", repr=False)
    read_only: bool = Field(
        default=False,
        description="Only let the command read from the cluster, with the values of Secrets masked. "
        "`false` allows nothing that the operator's policy does not.",
    )
    dry_run: bool = Field(
        default=False,
        description="Let the command read, and try changes that the API server checks and does not make; "
        "the values of Secrets are masked. With `read_only` as well, changes can be tried.",
    )

    @model_validator(mode="after")
    def _one_cluster(self) -> "RunRequest":
        if (self.kubeconfig is None) == (self.cluster is None):
            raise ValueError("send exactly one of `kubeconfig` and `cluster`")
        return self

    def size(self) -> int:
        """Bytes of everything a Secret will hold."""
        return sum(len(text.encode()) for text in (self.command, self.kubeconfig, self.stdin) if text is not None)


class ClusterRequest(BaseModel):
    """A kubeconfig to be stored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    kubeconfig: Text = Field(description="The kubeconfig file's content, at most 512 KiB.", repr=False, min_length=1)
    ttl: Seconds = Field(3600, description="Seconds until it is forgotten, at most 30 days.", le=30 * 24 * 3600)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, after authentication. The name says who it is; the rest may differ each time.

    `only_reads`: the token is for reading clusters, whatever else its principal may do.
    """

    name: str
    groups: frozenset[str] = field(default=frozenset(), compare=False)
    address: str = field(default="", compare=False)
    only_reads: bool = field(default=False, compare=False)

    @property
    def access(self) -> Access:
        """The most that the token is for."""
        return "read_only" if self.only_reads else "full"


def owner_of(principal: Principal) -> str:
    """What stands for the principal where runs are compared."""
    return digest("principal", principal.name)


def digest(*parts: str) -> str:
    """A name made of `parts`: 128 bits in hex, the same for the same parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Handle:
    """A cluster handle. `expires` is None for one that an administrator offers; those belong to no principal."""

    name: str
    server: str
    contexts: tuple[str, ...]
    expires: datetime | None
    kubeconfig: str = field(default="", repr=False)

    def describe(self) -> dict[str, object]:
        """What callers may know of it."""
        expires = self.expires.isoformat(timespec="seconds").replace("+00:00", "Z") if self.expires else None
        return {
            "name": self.name,
            "server": self.server,
            "contexts": list(self.contexts),
            "expires": expires,
            "offered": self.expires is None,
        }


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What an executor needs to know of a run.

    `name` is its unique name in the cluster, `key` the name that an idempotency key makes, if there is one. `owner`
    stands for its principal, `digest` for its request. `kubeconfig` was written anew from checked fields, `server` is
    its API server; `proxied_kubeconfig` is the same without credentials, each of its `contexts`, in this order,
    pointing at a credential proxy of the pod, which lets through what all of `gate_rules` do; `access` is the least
    of them. `servers` are all API servers that the kubeconfig names. `timeout` is in seconds, `max_output` in bytes.
    `ended` is the final status of a run that is over and can still be read. `rule` names what in the policy allowed
    it. `isolated`, of a run that another replica may have started: its command was kept from its credential, so its
    log holds none. `left_out` has the contexts that the caller's kubeconfig has and this one has not, as clients are
    told of them where the run started. `principal` is the caller's name, which nobody but observers is told.
    """

    run_id: str
    name: str
    owner: str
    digest: str
    server: str
    timeout: int
    created: str
    command: str = field(default="", repr=False)
    stdin: str | None = field(default=None, repr=False)
    kubeconfig: str = field(default="", repr=False)
    proxied_kubeconfig: str = field(default="", repr=False)
    contexts: tuple[str, ...] = ()
    access: Access = "full"
    gate_rules: tuple[GateRule, ...] = field(default=(), repr=False)
    ended: str = ""
    servers: tuple[str, ...] = ()
    max_output: int | None = None
    rule: str = ""
    isolated: bool = False
    left_out: tuple[Mapping[str, str], ...] = ()
    principal: str = ""
    key: str = ""

    @property
    def is_unique(self) -> bool:
        """Whether its name is its key's, so that the cluster itself refuses a second one."""
        return self.name == self.key

    def is_of(self, principal: Principal) -> bool:
        """Whether it is this caller's own."""
        return self.owner == owner_of(principal)

    @property
    def read_only(self) -> bool:
        return self.access == "read_only"

    @property
    def dry_run(self) -> bool:
        return self.access == "dry_run"

    def asked_with(self, request: "RunSpec") -> "RunSpec":
        """The same run, with what another request of the same digest has, and nobody else may know: with it a run
        that was never started can be. Not if the policy has another opinion of it now.
        """
        if request.access != self.access:
            return self
        return replace(
            self,
            command=request.command,
            stdin=request.stdin,
            kubeconfig=request.kubeconfig,
            proxied_kubeconfig=request.proxied_kubeconfig,
            contexts=request.contexts,
            gate_rules=request.gate_rules,
        )


@dataclass(frozen=True, slots=True)
class Output:
    """`count` lines of one stream, numbered from `first_id`; `data` is UTF-8, the lines joined by LF, with no CR in
    it.
    """

    stream: StreamName
    first_id: int
    count: int
    data: bytes = field(repr=False)

    @property
    def last_id(self) -> int:
        return self.first_id + self.count - 1


@dataclass(frozen=True, slots=True)
class Control:
    """A control event. `id` is None for `started` and `pending`, which a replay does not repeat."""

    data: Mapping[str, object]
    id: int | None = None
    final: bool = False


Event = Output | Control


def gap(stream: StreamName | None, missing: int, event_id: int) -> Control:
    """`missing` lines were lost of `stream` (None: of both). `event_id` is that of the last of them."""
    return Control({"status": "gap", "stream": stream, "missing": missing}, event_id)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. `exit_code` is None when nobody saw one; `reason` and `message` belong to status `error`."""

    status: FinalStatus
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    whole: bool = True  # not where others may have seen output whose log had gone before it was read here

    @property
    def why(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message} if self.status == "error" else {}


def final_event(ended: Ended, timeout: int, event_id: int) -> Control:
    """The last event of a run, in the form that clients rely on."""
    data: dict[str, object] = {"status": ended.status, "exit_code": ended.exit_code}
    if ended.status == "timeout":
        data["timeout"] = timeout
    return Control(data | ended.why, event_id, final=True)
