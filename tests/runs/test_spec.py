"""What a request and the policy together make of a run: a request can ask for less, never for more."""

from typing import Any

import pytest

from k8s_mcp.kubeconfig.kubeconfig import Allowed, parse
from k8s_mcp.models import Access, Principal, RunRequest, RunSpec
from k8s_mcp.policy.api_rules import ApiRule
from k8s_mcp.policy.rules import Grant
from k8s_mcp.runs.spec import make_spec, name_of
from tests.support import kubeconfigs


def spec_of(who: Principal, given: Access, asked: dict[str, Any]) -> RunSpec:
    request = RunRequest(command="true", kubeconfig=kubeconfigs.fake(), **asked)
    grant = Grant("r", given, (ApiRule("r", given, "full"),))
    return make_spec(who, request, None, parse(kubeconfigs.fake(), Allowed(None)), grant, 3600)


@pytest.mark.parametrize(
    ("given", "asked", "access", "rules"),
    [
        ("full", {}, "full", ["full"]),
        ("full", {"read_only": False, "dry_run": False}, "full", ["full"]),
        ("full", {"read_only": True}, "read_only", ["full", "read_only"]),
        ("full", {"dry_run": True}, "dry_run", ["full", "dry_run"]),
        ("full", {"read_only": True, "dry_run": True}, "dry_run", ["full", "dry_run"]),
        ("dry_run", {}, "dry_run", ["dry_run"]),
        ("dry_run", {"read_only": True}, "read_only", ["dry_run", "read_only"]),
        ("dry_run", {"dry_run": False}, "dry_run", ["dry_run"]),
        ("read_only", {"dry_run": True}, "read_only", ["read_only", "dry_run"]),
    ],
)
def test_the_strictest_of_policy_and_request_holds(
    given: Access, asked: dict[str, Any], access: Access, rules: list[Access]
) -> None:
    spec = spec_of(Principal("x"), given, asked)
    assert spec.access == access
    assert (spec.read_only, spec.dry_run) == (access == "read_only", access == "dry_run")
    assert [rule["access"] for rule in spec.gate_rules] == rules  # the gate lets through what all of them do
    secrets = [rule["secrets"] for rule in spec.gate_rules]
    assert secrets == ["full", *(["masked"] if len(rules) > 1 else [])]


@pytest.mark.parametrize("given", ["full", "dry_run", "read_only"])
@pytest.mark.parametrize("asked", [{}, {"read_only": True}, {"dry_run": True}])
def test_a_token_for_reading_reads_with_secrets_masked_whatever_is_allowed_and_asked(
    given: Access, asked: dict[str, Any]
) -> None:
    spec = spec_of(Principal("x", only_reads=True), given, asked)
    assert (spec.access, spec.read_only, spec.dry_run) == ("read_only", True, False)
    last = spec.gate_rules[-1]
    assert (last["name"], last["access"], last["secrets"]) == ("the token's scope", "read_only", "masked")
    assert len(spec.gate_rules) == len(asked) + 2


@pytest.mark.parametrize(
    ("key", "unique", "named_by_key", "guarded"),
    [
        pytest.param(None, True, False, False, id="no key"),
        pytest.param("k", True, True, True, id="over HTTP: the cluster itself refuses a second one"),
        pytest.param("k", False, False, False, id="of MCP: found by its key, and free to have a warm pod"),
    ],
)
def test_only_a_key_that_must_be_unique_names_the_job(
    key: str | None, unique: bool, named_by_key: bool, guarded: bool
) -> None:
    request = RunRequest.model_validate({"command": "true", "kubeconfig": kubeconfigs.fake()})
    kubeconfig = parse(kubeconfigs.fake(), Allowed(None))
    me = Principal("x")
    spec = make_spec(me, request, key, kubeconfig, Grant("r", "full", ()), 3600, unique=unique)
    assert spec.key == ("" if key is None else name_of(me, key))
    assert spec.name == (spec.key if named_by_key else f"run-{spec.run_id}")
    assert spec.is_unique is guarded
