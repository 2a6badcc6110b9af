"""For whom something in a policy is: patterns for the names and the groups of callers. Pure."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from k8s_mcp.models import Principal
from k8s_mcp.policy.server_pattern import like

Patterns = list[Annotated[str, Field(min_length=1, max_length=512)]]


def distinct(names: list[str]) -> list[str]:
    """`names`, if none is there twice. Raises ValueError."""
    if len(set(names)) < len(names):
        raise ValueError("has something twice")
    return names


def any_like(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the names is as one of the patterns says."""
    return any(like(pattern, name) for name in names for pattern in patterns)


class ForCallers(BaseModel):
    """What is for some callers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    principals: Annotated[Patterns, AfterValidator(distinct)] = []
    groups: Annotated[Patterns, AfterValidator(distinct)] = []

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if not self.principals and not self.groups:
            raise ValueError('is for nobody: name `principals` or `groups` ("*" for everybody)')
        return self

    def is_for(self, who: Principal) -> bool:
        return any_like(self.principals, (who.name,)) or any_like(self.groups, who.groups)
