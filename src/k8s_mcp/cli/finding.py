"""One line of what `k8s-mcp check` says."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A `note` is no reason why runs would fail. `advice` is there unless all is well."""

    what: str
    status: Literal["ok", "failed", "note"]
    said: str
    advice: str = ""
