"""Who may do what: rules from a YAML file, each for some callers and some clusters. Pure; no rule looks at a command.

The rules are tried in order for each API server of a run's kubeconfig, and the first that matches decides. A server
for which none does is refused. With several servers in one kubeconfig, the strictest of each decision holds.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from k8s_mcp.errors import Forbidden, KubeconfigError
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.strict_yaml import Number, Path, Value
from k8s_mcp.models import STRICTEST_FIRST, Access, Principal
from k8s_mcp.policy.api_rules import ApiRule, Entry, Secrets, strictest
from k8s_mcp.policy.callers import ForCallers, Patterns, any_like, distinct
from k8s_mcp.policy.observers import Observer, Observing, observing
from k8s_mcp.policy.server_pattern import ServerPattern

POLICY_BYTES = 1 << 20
_MAX_NODES = 100_000
_MAX_ENTRIES = 100  # the gate takes 2,000 together: those of eight contexts' rules
_INSTEAD = "write it without"

AtLeastOne = Annotated[int | None, Field(ge=1)]


class PolicyError(ValueError):
    """The policy cannot be used; the message has a line for each problem, beginning with its line number."""


class Rule(ForCallers):
    """What some callers may do with some clusters. See docs/policy.md, which has every field."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
    handles: Annotated[Patterns, AfterValidator(distinct)] = Field(default=[])
    own_kubeconfigs: bool = False
    servers: Patterns = Field(default=["*"], min_length=1)
    access: Access = "full"
    secrets: Secrets | None = None
    allow: Annotated[list[Entry], Field(max_length=_MAX_ENTRIES)] | None = None
    deny: list[Entry] = Field(default=[], max_length=_MAX_ENTRIES)
    max_timeout: AtLeastOne = None
    max_runs: AtLeastOne = None
    max_cluster_runs: AtLeastOne = None
    max_output: AtLeastOne = None
    exec_plugins: Annotated[Patterns, AfterValidator(distinct)] = Field(default=[])
    insecure_tls: bool = False
    proxy_url: bool = False
    _line: int = PrivateAttr(default=0)  # no field, so that a file cannot set it

    @field_validator("servers")
    @classmethod
    def _are_patterns(cls, servers: list[str]) -> list[str]:
        for text in servers:
            ServerPattern(text)
        return servers

    @field_validator("allow", mode="before")
    @classmethod
    def _is_there_or_not(cls, allow: object) -> object:
        if allow is None:
            raise ValueError("must be a list; leave it out to allow everything, `[]` allows nothing")
        return allow

    @model_validator(mode="after")
    def _is_for_a_cluster(self) -> "Rule":
        if not self.handles and not self.own_kubeconfigs:
            raise ValueError("is for no cluster: name `handles`, or say `own_kubeconfigs: true`")
        return self

    def at(self, line: int) -> "Rule":
        """The same rule, found in line `line` of a file."""
        found = self.model_copy()
        found._line = line  # noqa: SLF001 - its own
        return found

    @property
    def place(self) -> str:
        return f"{self.name} (line {self._line})" if self._line else self.name

    @property
    def api_rule(self) -> ApiRule:
        allow = None if self.allow is None else tuple(self.allow)
        return ApiRule(self.place, self.access, self.secrets, allow, tuple(self.deny))

    @property
    def grant(self) -> "Grant":
        """What it alone allows."""
        return Grant(
            rule=self.place,
            access=self.access,
            api_rules=(self.api_rule,),
            max_timeout=self.max_timeout,
            max_runs=self.max_runs,
            max_cluster_runs=self.max_cluster_runs,
            max_output=self.max_output,
            exec_plugins=frozenset(self.exec_plugins),
            insecure_tls=self.insecure_tls,
            proxy_url=self.proxy_url,
        )

    def describe(self) -> dict[str, object]:
        """It as its callers may know it: not for whom else it is."""
        return self.model_dump(mode="json", by_alias=True, exclude={"principals", "groups"}, exclude_none=True)

    def why_not(self, handle: str | None, server: str) -> str | None:
        """Why it does not match this cluster; None when it does."""
        if handle is None and not self.own_kubeconfigs:
            return "it has no `own_kubeconfigs`"
        if handle is not None and not any_like(self.handles, (handle,)):
            return f"no pattern in `handles` is like {handle}"
        if not any(ServerPattern(text).matches(server) for text in self.servers):
            return f"no pattern in `servers` is like {server}"
        return None


_FIELDS = ["name", *(field for field in Rule.model_fields if field != "name")]
_ENTRY_FIELDS = [field.alias or name for name, field in Entry.model_fields.items()]
_IN_AN_ENTRY = 4  # as in rules, 0, allow, 0


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rules: list[Rule]
    observers: list[Observer] = []

    @field_validator("rules")
    @classmethod
    def _have_names(cls, rules: list[Rule]) -> list[Rule]:
        distinct([rule.name for rule in rules])
        return rules


@dataclass(frozen=True)
class Grant:
    """What a run may do. None: only the service's own limits hold. Times in seconds, sizes in bytes."""

    rule: str
    """The names of the rules that decided, with their lines."""
    access: Access = "full"
    api_rules: tuple[ApiRule, ...] = ()
    """What commands may ask of the Kubernetes API; all of them hold."""
    max_timeout: int | None = None
    max_runs: int | None = None
    max_cluster_runs: int | None = None
    max_output: int | None = None
    exec_plugins: frozenset[str] = frozenset()
    insecure_tls: bool = False
    proxy_url: bool = False


@dataclass(frozen=True)
class Policy:
    """All rules, in their order, and who may see the runs of all."""

    rules: tuple[Rule, ...]
    observers: tuple[Observer, ...] = ()

    def rules_for(self, who: Principal) -> list[Rule]:
        return [rule for rule in self.rules if rule.is_for(who)]

    def decide(self, who: Principal, handle: str | None, servers: Callable[[], Iterable[str]]) -> Grant:
        """What a run of `who` may do with these API servers. Raises Forbidden, and what `servers` raises.

        `handle` names a cluster that the operator offers; None is a kubeconfig of the caller's own, stored or not.
        """
        rules = self.rules_for(who)
        if not rules:
            raise Forbidden(f"no rule of the policy is for {who.name}; ask the operator for one")
        deciding: list[Rule] = []
        for server in dict.fromkeys(servers()):
            rule = next((rule for rule in rules if rule.why_not(handle, server) is None), None)
            if rule is None:
                what = "kubeconfigs of your own" if handle is None else f"the cluster {handle}"
                raise Forbidden(
                    f"no rule of the policy lets {who.name} use {what} with the API server {server}; "
                    "GET /clusters lists the clusters that can be used"
                )
            deciding.append(rule)
        return _strictest([rule.grant for rule in rules if rule in deciding])

    def observing(self, who: Principal) -> Observing:
        """What `who` may do with the runs of others."""
        return observing(self.observers, who)

    def most_access(self, who: Principal) -> Access:
        """The most that any rule gives `who`."""
        given = {"read_only", *(rule.access for rule in self.rules_for(who))}
        return next(access for access in reversed(STRICTEST_FIRST) if access in given)


def everything(exec_plugins: Iterable[str], *, insecure_tls: bool, proxy_url: bool) -> Policy:
    """The policy where no file says otherwise: everybody may do everything that the settings allow."""
    rule = Rule(
        name="default",
        principals=["*"],
        handles=["*"],
        own_kubeconfigs=True,
        exec_plugins=list(exec_plugins),
        insecure_tls=insecure_tls,
        proxy_url=proxy_url,
    )
    return Policy((rule,))


def read(text: str) -> Policy:
    """The policy that a file says. Raises PolicyError."""
    lines: dict[Path, int] = {}
    if len(text) > POLICY_BYTES:
        raise PolicyError(f"is over {POLICY_BYTES} bytes")
    try:
        value = strict_yaml.load(text, max_nodes=_MAX_NODES, instead=_INSTEAD, lines=lines)
    except KubeconfigError as error:
        raise PolicyError(error.fields[0][1]) from None
    try:
        file = _File.model_validate(_plain(value))
    except ValidationError as error:
        problems = [_problem(item["loc"], _said(item), lines) for item in error.errors(include_url=False)]
        raise PolicyError("\n".join(problems)) from None
    return Policy(
        tuple(rule.at(lines["rules", number]) for number, rule in enumerate(file.rules)), tuple(file.observers)
    )


def _problem(place: Path, message: str, lines: dict[Path, int]) -> str:
    known = next((place[:length] for length in range(len(place), 0, -1) if place[:length] in lines), ())
    return f"line {lines.get(known, 1)}: {_dotted(place) or 'the file'} {message}"


def _said(item: ErrorDetails) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "is not a field; there are " + ", ".join(_known_fields(item["loc"]))
        case "missing":
            return "is missing"
        case "model_type":
            return "must be a mapping" if item["loc"] else "must have a list of `rules`"
        case _:
            message = item["msg"].removeprefix("Value error, ")
            return message.replace("Input should be", "must be").replace("Input should have", "must have")


def _known_fields(place: Path) -> list[str]:
    if len(place) == 1:
        return list(_File.model_fields)
    if place[0] == "observers":
        return list(Observer.model_fields)
    return _ENTRY_FIELDS if len(place) > _IN_AN_ENTRY else _FIELDS


def _dotted(place: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def _plain(value: Value) -> object:
    """With numbers that are worth something."""
    match value:
        case Number():
            return int(value.text) if re.fullmatch(r"[0-9]{1,18}", value.text) else value.text
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return value


def _strictest(grants: Sequence[Grant]) -> Grant:
    plugins = [grant.exec_plugins for grant in grants]
    return Grant(
        rule=", ".join(grant.rule for grant in grants),
        access=strictest(grant.access for grant in grants),
        api_rules=tuple(rule for grant in grants for rule in grant.api_rules),
        max_timeout=_least(grant.max_timeout for grant in grants),
        max_runs=_least(grant.max_runs for grant in grants),
        max_cluster_runs=_least(grant.max_cluster_runs for grant in grants),
        max_output=_least(grant.max_output for grant in grants),
        exec_plugins=plugins[0].intersection(*plugins),
        insecure_tls=all(grant.insecure_tls for grant in grants),
        proxy_url=all(grant.proxy_url for grant in grants),
    )


def _least(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
