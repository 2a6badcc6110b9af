"""What an observer is told of another's run, as far as the policy says; over HTTP: tests/web/test_observers.py."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from k8s_mcp.models import Principal, RunSpec, owner_of
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.observers import Observing
from k8s_mcp.runs.sight import Sight

ALICE, BOB = Principal("alice"), Principal("bob")
SPEC = RunSpec(
    "0" * 32, "run-0", owner_of(ALICE), "d", "https://s", 60, "2026-11-29T00:00:00.000Z", principal="alice"
)
RUNNING: dict[str, object] = {"status": "running", "command": "echo", "reason": None, "message": None}
FAILED = {**RUNNING, "status": "error", "reason": "OOMKilled", "message": "what the command wrote as its last words"}


def shown(state: dict[str, object], who: Principal, *, output: bool) -> dict[str, Any]:
    def observing(_: Principal) -> Observing:
        return Observing(state=True, output=output)

    return Sight(cast("Admission", SimpleNamespace(observing=observing)), lambda _: None).shown(who, SPEC, state)


@pytest.mark.parametrize("state", [RUNNING, FAILED], ids=["running", "failed"])
def test_without_output_nothing_that_the_command_wrote_is_told(state: dict[str, object]) -> None:
    """It can write its termination message, which the end of a run quotes."""
    assert shown(state, BOB, output=False) == {**state, "command": None, "message": None, "principal": "alice"}
    assert shown(state, BOB, output=True) == {**state, "principal": "alice"}
    assert shown(state, ALICE, output=False) == {**state, "principal": "alice"}


def test_why_a_pod_does_not_start_is_told() -> None:
    """Those are Kubernetes' words."""
    pending = {**RUNNING, "status": "pending", "reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    assert shown(pending, BOB, output=False)["message"] == "Back-off pulling image"
