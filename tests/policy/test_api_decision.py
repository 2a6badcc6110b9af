"""What the service says beforehand of a request is what the gate decides: both are tried with the same examples."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.policy.api_decision import Ask, decide
from k8s_mcp.policy.api_rules import ApiRule, Entry
from k8s_mcp.policy.api_scope import CLUSTER_SCOPED

GATE = Path(__file__).parents[2] / "gate"
# The same as gate/internal/rules/decisions_test.go has.
TABLE: list[dict[str, Any]] = json.loads((GATE / "testdata/decisions.json").read_text())


def rule_of(given: dict[str, Any]) -> ApiRule:
    def entries(where: str) -> tuple[Entry, ...]:
        return tuple(
            Entry.model_validate({field: value for field, value in entry.items() if field != "name"})
            for entry in given.get(where, [])
        )

    allow = entries("allow") if "allow" in given else None
    return ApiRule(given["name"], given["access"], given["secrets"], allow, entries("deny"))


def ask_of(words: str) -> Ask:
    verb, what, namespace, name = [*words.split(), "-", "-"][:4]
    if what.startswith("/"):
        return Ask(verb, path=what)
    what, _, subresource = what.partition("/")
    resource, _, group = what.partition(".")
    namespace, name = (word if word != "-" else "" for word in (namespace, name))
    return Ask(verb, group, resource, subresource, name if resource == "namespaces" else namespace, name)


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one["rule"]["name"])
def test_the_gate_and_the_service_decide_alike(one: dict[str, Any]) -> None:
    rule = rule_of(one["rule"])
    asks = itertools.chain(one["allowed"], *one["refused"].values())
    found = {words: decide(rule, ask_of(words)) for words in asks}
    assert [words for words in one["allowed"] if not found[words].allowed] == []
    for by, asks in one["refused"].items():
        assert {words: (found[words].allowed, found[words].by) for words in asks} == dict.fromkeys(asks, (False, by))
        assert all(found[words].why or ": deny[" in by for words in asks)


def test_the_table_has_every_way_to_decide() -> None:
    refused = {re.sub(r"^[^:]+: |\[\d+\]$", "", by) for one in TABLE for by in one["refused"]}
    words = {f"secrets: {word}" for word in ("masked", "none")} | {"access: read_only", "access: dry_run"}
    assert refused == words | {"allow", "deny"}
    assert sum(len(one["allowed"]) + sum(map(len, one["refused"].values())) for one in TABLE) > 150


def test_what_is_in_no_namespace_is_the_same_for_both() -> None:
    text = (GATE / "internal/rules/scope.go").read_text()
    found = re.findall(r'^\t"([a-z0-9.]*)": *\{(.*)\},$', text.partition("clusterScoped")[2], re.MULTILINE)
    assert {group: tuple(re.findall(r'"([^"]+)"', names)) for group, names in found} == CLUSTER_SCOPED


@pytest.mark.parametrize(
    ("words", "by"),
    [
        ("get deployments.apps a x", "r: allow[0]"),
        ("get pods a x", "r: allow[1]"),
        ("get /api", "r: what everybody may ask"),
    ],
)
def test_an_allowed_request_names_what_allowed_it(words: str, by: str) -> None:
    allow = [Entry(verbs=["get"], apiGroups=[group], resources=["*"]) for group in ("apps", "")]
    assert decide(ApiRule("r", allow=tuple(allow)), ask_of(words)).by == by
    assert decide(ApiRule("r"), ask_of(words)).by == "r: access: full"


def test_what_is_not_as_the_command_asked_for_it_is_said() -> None:
    dry = ApiRule("r", access="dry_run")
    assert decide(dry, ask_of("patch deployments.apps a x")).dry
    assert not decide(dry, ask_of("get deployments.apps a x")).dry
    assert not decide(dry, ask_of("create selfsubjectaccessreviews.authorization.k8s.io")).dry
    assert decide(dry, ask_of("get secrets a x")).masked
    assert not decide(ApiRule("r"), ask_of("get secrets a x")).masked


def test_without_a_namespace_it_is_asked_of_any() -> None:
    entry = Entry(verbs=["*"], apiGroups=["*"], resources=["*"], namespaces=["shop"])
    patch = Ask("patch", "apps", "deployments", anywhere=True)
    assert decide(ApiRule("r", deny=(entry,)), patch).by == "r: deny[0]"
    assert decide(ApiRule("r", allow=(entry,)), patch).by == "r: allow"
