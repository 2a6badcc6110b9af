"""What happens in the service, as facts, for those who keep account of it: the audit log and the metrics.

Whoever has something to tell calls an `Observe`, which returns at once. No fact holds a credential: what callers
wrote is masked before it becomes one.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from k8s_mcp.errors import Unavailable
from k8s_mcp.models import Ended, Event, Principal, RunSpec, StreamName
from k8s_mcp.recorded import Requests

_logger = logging.getLogger(__name__)

Via = Literal["http", "mcp"]
"""By which front end something came."""
Look = Literal["list", "state", "output"]
"""What somebody saw: the states of all runs, the state of one, or what one writes."""


@dataclass(frozen=True, slots=True)
class Content:
    """Size and SHA-256 of what is not told itself."""

    size: int
    sha256: str

    @classmethod
    def of(cls, text: str) -> "Content":
        data = text.encode()
        return cls(len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster of a run. `handle`: its name in the request; `fingerprint`: its authority's, if it has one."""

    server: str
    context: str = ""
    fingerprint: str = ""
    handle: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run when it begins here.

    `adopted`: another replica started it; `command` is None when nobody knows it any more. `idempotent`: the request
    had a key. `timeout` is in seconds, `created` in RFC 3339. `rule` names what in the policy allowed it.
    """

    run_id: str
    principal: Principal
    via: Via
    target: Target
    timeout: int
    created: str
    command: str | None
    command_content: Content | None
    stdin_content: Content | None
    read_only: bool = False
    dry_run: bool = False
    rule: str = ""
    idempotent: bool = False
    adopted: bool = False


def run_facts(
    spec: RunSpec,
    principal: Principal,
    via: Via,
    target: Target,
    mask: Callable[[str], str],
    *,
    adopted: bool = False,
) -> RunFacts:
    """The facts of a run; `mask` replaces the credentials of its kubeconfig in a text."""
    return RunFacts(
        run_id=spec.run_id,
        principal=principal,
        via=via,
        target=Target(mask(target.server), mask(target.context), target.fingerprint, mask(target.handle)),
        timeout=spec.timeout,
        created=spec.created,
        command=mask(spec.command) or None,
        command_content=Content.of(spec.command) if spec.command else None,
        stdin_content=None if spec.stdin is None else Content.of(spec.stdin),
        read_only=spec.read_only,
        dry_run=spec.dry_run,
        rule=spec.rule,
        idempotent=bool(spec.key),
        adopted=adopted,
    )


@dataclass(frozen=True, slots=True)
class Amount:
    """Of one stream, as the runner counted it."""

    bytes: int = 0
    lines: int = 0

    def since(self, before: "Amount") -> "Amount":
        return Amount(self.bytes - before.bytes, self.lines - before.lines)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `place`: where the command ran (`pod`, `pod_uid`, `node`), as far as there is such a thing.

    `gaps` and `lost_lines` are what was lost on the way from the command to here. `left`: what could not be removed,
    and why; empty when all is gone. `requests`: what the command asked of its cluster; None without a gate. `sent`:
    its events, with the seconds since it was accepted, where somebody keeps them; masked, as they were sent.
    """

    ended: Ended
    started_at: str | None
    ended_at: str
    amounts: Mapping[StreamName, Amount]
    gaps: int
    lost_lines: int
    place: Mapping[str, str]
    left: str
    requests: Requests | None = None
    sent: Sequence[tuple[float, Event]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run was accepted, or taken over from another replica. An observer that raises Unavailable refuses it."""

    run: RunFacts


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """The runner has said its first word, `seconds` after the run was accepted; None where that was elsewhere."""

    seconds: float | None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class OutputRead:
    """A batch of output. `seconds` since the run was accepted, if that was here and this is its first output."""

    amounts: Mapping[StreamName, Amount]
    seconds: float | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run has ended here, and was cleaned up. `seconds` since it was accepted."""

    run: RunFacts
    outcome: Outcome
    command_started: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class RunReleased:
    """A run goes on, but no longer here."""

    run: RunFacts
    command_started: bool


@dataclass(frozen=True, slots=True)
class OrphanRemoved:
    """The run of a replica that is gone was ended, because nobody came for it. `run` is what its Job says of it."""

    run_id: str
    server: str
    created: str
    run: RunSpec | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WarmPodAsked:
    """A run asked for a warm pod. `hit`: it has it, and its first word came `seconds` after the claim; the pod had
    waited for `age` seconds. `miss`: none was there. `late`: the pod did not take it in time, and is removed.
    """

    result: Literal["hit", "miss", "late"]
    seconds: float = 0.0
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class WarmPodsWait:
    """So many warm pods can be claimed now, of all replicas together."""

    count: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked for the end of a run."""

    principal: Principal
    via: Via
    run_id: str


@dataclass(frozen=True, slots=True)
class Observed:
    """An observer has looked at a run of somebody else (`whose`), or at the list of all."""

    principal: Principal
    via: Via
    look: Look
    run_id: str = ""
    whose: str = ""


@dataclass(frozen=True, slots=True)
class HandleStored:
    """`ttl` is in seconds."""

    principal: Principal
    target: Target
    ttl: int


@dataclass(frozen=True, slots=True)
class HandleDeleted:
    """A principal has removed one of its own."""

    principal: Principal
    name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was answered with an error. `reason` is the name of a kind of error.

    `path` and `fields` hold names of ours only; what else a caller wrote there is not told.
    """

    status: int
    reason: str
    via: Via
    method: str = ""
    path: str = ""
    fields: tuple[str, ...] = ()
    principal: Principal | None = None
    address: str = ""


Happening = (
    RunStarted
    | CommandStarted
    | OutputRead
    | RunEnded
    | RunReleased
    | OrphanRemoved
    | WarmPodAsked
    | WarmPodsWait
    | CancelRequested
    | Observed
    | HandleStored
    | HandleDeleted
    | Refused
)
Observe = Callable[[Happening], None]


def to_all(*observers: Observe, on_failure: Callable[[], None]) -> Observe:
    """Tells each of them, in this order. One that fails ends nothing: that is logged, and `on_failure` counts it.

    But no run begins that one of them could not be told of: that is Unavailable.
    """

    def observe(happening: Happening) -> None:
        for observer in observers:
            try:
                observer(happening)
            except Unavailable:
                raise
            except Exception as error:
                on_failure()
                _logger.exception("an observer failed at %s", type(happening).__name__)
                if isinstance(happening, RunStarted):
                    raise Unavailable(
                        "the service cannot keep account of this run, so it does not begin; its log says why"
                    ) from error

    return observe
