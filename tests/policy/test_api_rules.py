"""What the policy says of API requests is written as the gate takes it; what it would refuse is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from k8s_mcp.policy.api_rules import ApiRule, Entry

# The same examples as gate/internal/config/entries_test.go has.
EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "gate/testdata/entries.json").read_text()
)


@pytest.mark.parametrize("entry", EXAMPLES["good"], ids=json.dumps)
def test_an_entry_that_the_gate_takes_is_written_as_it_was(entry: dict[str, Any]) -> None:
    rule = ApiRule("team-a", allow=(Entry.model_validate(entry),), deny=(Entry.model_validate(entry),))
    assert rule.for_gate() == {
        "name": "team-a",
        "access": "full",
        "secrets": "full",
        "allow": [{"name": "team-a: allow[0]", **entry}],
        "deny": [{"name": "team-a: deny[0]", **entry}],
    }


@pytest.mark.parametrize("entry", EXAMPLES["bad"], ids=json.dumps)
def test_an_entry_that_the_gate_would_refuse_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Entry.model_validate(entry)


def test_without_allow_everything_is_allowed_and_with_an_empty_one_nothing() -> None:
    assert "allow" not in ApiRule("r").for_gate()
    assert ApiRule("r", allow=()).for_gate()["allow"] == []


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        (ApiRule("r"), "full"),
        (ApiRule("r", access="read_only"), "masked"),
        (ApiRule("r", access="dry_run"), "masked"),
        (ApiRule("r", access="read_only", secrets="full"), "full"),
        (ApiRule("r", secrets="none"), "none"),
    ],
)
def test_what_is_seen_of_secrets_follows_the_access_unless_it_is_said(rule: ApiRule, seen: str) -> None:
    assert rule.for_gate()["secrets"] == seen
