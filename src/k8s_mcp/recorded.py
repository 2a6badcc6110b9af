"""What a command asked of its cluster, as the gate recorded it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Change:
    """A request that may have changed something. `time` is the gate's; `code` is 0 when there was no answer.

    `path` is there for what is no resource, `refused` is the rule by which the gate refused it.
    """

    time: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    code: int
    dry_run: bool
    refused: str

    def describe(self) -> dict[str, object]:
        """It as clients get it."""
        said: dict[str, object] = {field: getattr(self, field) for field in self.__slots__}
        return {field: value for field, value in said.items() if value or field not in ("path", "refused")}


def in_words(change: Mapping[str, object]) -> str:
    """A change, as clients get it, in a line: `patch deployments.apps/scale web in shop: 200`."""
    said = {name: str(change.get(name) or "") for name in ("resource", "subresource", "path", "name", "namespace")}
    what = said["path"] or "/".join(part for part in (said["resource"], said["subresource"]) if part)
    words = [str(change.get("verb")), what, said["name"], said["namespace"] and f"in {said['namespace']}"]
    refused = change.get("refused")
    ends = [str(change.get("code") or "no answer"), refused and f"refused by {refused}"]
    if change.get("dry_run"):
        ends.append("a dry run")
    return f"{' '.join(word for word in words if word)}: {', '.join(str(end) for end in ends if end)}"


@dataclass(frozen=True, slots=True)
class Requests:
    """What a command asked of its cluster, as the gate recorded it.

    `complete`: nothing of it is lost, and nothing will follow. `truncated`: there were more changes than these.
    `counts` has verb and result of all requests; `size` is about how many bytes this takes.
    """

    total: int
    refused: int
    complete: bool
    changes: tuple[Change, ...] = ()
    truncated: bool = False
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    size: int = 0

    def describe(self, most: int | None = None) -> dict[str, object]:
        """It as clients get it, with so many changes at most."""
        cut = self.truncated or (most is not None and len(self.changes) > most)
        return {
            "total": self.total,
            "refused": self.refused,
            "complete": self.complete,
            "changes": [change.describe() for change in self.changes[:most]],
            **({"truncated": True} if cut else {}),
        }

    def masked(self, mask: Callable[[str], str]) -> "Requests":
        """The same with `mask` applied to all that the command chose."""
        return replace(self, changes=tuple(_masked(change, mask) for change in self.changes))


def _masked(change: Change, mask: Callable[[str], str]) -> Change:
    chosen = ("verb", "resource", "subresource", "namespace", "name", "path")
    return replace(change, **{field: mask(getattr(change, field)) for field in chosen})
