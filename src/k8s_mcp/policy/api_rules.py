"""What a command may ask of the Kubernetes API, in the terms of Kubernetes' own RBAC, as the gate is told it. Pure.

The gate refuses a configuration that it does not understand, and with it every request of a run. So whatever is taken
here is taken there: both have the same patterns. gate/README.md says how a request is decided.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from k8s_mcp.models import STRICTEST_FIRST, Access, GateRule

Secrets = Literal["full", "masked", "none"]


def _each(pattern: str) -> Callable[[list[str]], list[str]]:
    def check(values: list[str]) -> list[str]:
        for value in values:
            if not re.fullmatch(pattern, value):
                raise ValueError(f"{value!r} would never match anything")
        return values

    return check


_Verbs = Annotated[list[str], AfterValidator(_each(r"\*|[a-z][a-z:-]*")), Field(min_length=1)]
_Groups = Annotated[list[str], AfterValidator(_each(r"\*|[a-z0-9.-]*"))]
_Resources = Annotated[list[str], AfterValidator(_each(r"(\*|[a-z0-9.-]+)(/(\*|[a-z0-9.-]+))?"))]
_Names = Annotated[list[str], AfterValidator(_each(r"[^\x00-\x1f\x7f]+")), Field(min_length=1)]
_Namespaces = Annotated[list[str], AfterValidator(_each(r"[a-z0-9*-]+")), Field(min_length=1)]
_Urls = Annotated[list[str], AfterValidator(_each(r"\*|/[^*\x00-\x1f\x7f]*\*?"))]


class Entry(BaseModel):
    """One entry of `allow` or `deny`: a rule of RBAC, with `namespaces` (patterns: `*` stands for any characters)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    verbs: _Verbs
    api_groups: _Groups = Field(default=[], alias="apiGroups")
    resources: _Resources = []
    resource_names: _Names | None = Field(default=None, alias="resourceNames")
    namespaces: _Namespaces | None = None
    non_resource_urls: _Urls = Field(default=[], alias="nonResourceURLs")

    @model_validator(mode="after")
    def _is_about_something(self) -> "Entry":
        about_resources = self.api_groups or self.resources or self.resource_names or self.namespaces
        if self.non_resource_urls and about_resources:
            raise ValueError("is either about resources or about `nonResourceURLs`; make two entries of it")
        if not self.non_resource_urls and not (self.api_groups and self.resources):
            raise ValueError('needs `apiGroups` ("" is the core group) with `resources`, or `nonResourceURLs`')
        return self


def strictest(accesses: Iterable[Access]) -> Access:
    """What is left when all of them hold; full when there is none."""
    given = {*accesses, "full"}
    return next(access for access in STRICTEST_FIRST if access in given)


@dataclass(frozen=True)
class ApiRule:
    """What one rule of the policy says, or the request itself. Without `allow` everything is allowed."""

    name: str
    access: Access = "full"
    secrets: Secrets | None = None
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it takes nothing away from what the credential may do."""
        return self.access == "full" and self.seen_of_secrets == "full" and self.allow is None and not self.deny

    @property
    def seen_of_secrets(self) -> Secrets:
        """By default what access goes with: who may change everything may see it."""
        return self.secrets or ("full" if self.access == "full" else "masked")

    def entry_name(self, where: str, number: int) -> str:
        """What messages and the record call an entry."""
        return f"{self.name}: {where}[{number}]"

    def for_gate(self) -> GateRule:
        """The rule as it stands in the gate's file."""
        rule: dict[str, Any] = {"name": self.name, "access": self.access, "secrets": self.seen_of_secrets}
        lists = {"deny": self.deny} if self.allow is None else {"allow": self.allow, "deny": self.deny}
        return rule | {
            where: [
                {"name": self.entry_name(where, number)} | entry.model_dump(by_alias=True, exclude_defaults=True)
                for number, entry in enumerate(entries)
            ]
            for where, entries in lists.items()
        }
