"""The policy is asked before anything begins; what no rule allows is refused, and errors in the file say where."""

import re
from pathlib import Path

import pytest

from k8s_mcp.errors import Forbidden
from k8s_mcp.models import Principal
from k8s_mcp.policy.api_rules import ApiRule
from k8s_mcp.policy.rules import Grant, Policy, PolicyError, everything, read

ALICE = Principal("alice", frozenset({"developers"}))
SERVER = "https://api.dev.example.com:6443"

TWO_RULES = """
rules:
  - name: look
    groups: [developers]
    handles: ["prod-*"]
    servers: ["*.prod.example.com"]
    access: read_only
    max_timeout: 60
    max_output: 1000
    exec_plugins: [a, b]
    insecure_tls: true
  - name: develop
    principals: [alice, "bob-*"]
    own_kubeconfigs: true
    handles: ["dev-*"]
    servers: ["*.dev.example.com", "*.prod.example.com"]
    max_timeout: 600
    max_runs: 3
    exec_plugins: [b, c]
    proxy_url: true
"""


def decide(policy: Policy, who: Principal, handle: str | None, *servers: str) -> Grant:
    return policy.decide(who, handle, lambda: servers)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return read(TWO_RULES)


def test_first_rule_that_matches_decides(policy: Policy) -> None:
    assert decide(policy, ALICE, None, SERVER) == Grant(
        rule="develop (line 12)",
        api_rules=(ApiRule("develop (line 12)"),),
        max_timeout=600,
        max_runs=3,
        exec_plugins=frozenset({"b", "c"}),
        proxy_url=True,
    )
    looking = decide(policy, ALICE, "prod-1", "https://x.prod.example.com")
    assert (looking.rule, looking.access) == ("look (line 3)", "read_only")


@pytest.mark.parametrize(
    ("who", "handle", "server"),
    [
        (Principal("carol"), None, SERVER),  # no rule for her
        (Principal("alic"), None, SERVER),
        (Principal("alice2"), None, SERVER),
        (Principal("Alice"), None, SERVER),
        (Principal("bob"), None, SERVER),
        (Principal("x", frozenset({"alice"})), None, SERVER),  # a group of that name is no principal
        (Principal("developers"), "prod-1", "https://x.prod.example.com"),
        (ALICE, None, "https://api.dev.example.com.evil.example:6443"),
        (ALICE, None, "https://evil.example/api.dev.example.com"),
        (ALICE, None, "https://192.0.2.1"),
        (ALICE, "staging", SERVER),  # offered, but not to them
        (Principal("dave", frozenset({"developers"})), None, "https://x.prod.example.com"),  # own kubeconfigs
    ],
)
def test_what_no_rule_allows_is_refused(policy: Policy, who: Principal, handle: str | None, server: str) -> None:
    with pytest.raises(Forbidden) as refusal:
        decide(policy, who, handle, server)
    assert who.name in refusal.value.message


def test_patterns_match_whole_names(policy: Policy) -> None:
    assert decide(policy, Principal("bob-1"), "dev-2", SERVER).rule == "develop (line 12)"


def test_strictest_decision_holds_for_several_servers() -> None:
    policy = read(TWO_RULES.replace('handles: ["prod-*"]', "own_kubeconfigs: true"))
    both = decide(policy, ALICE, None, SERVER, "https://x.prod.example.com")
    assert both == Grant(
        rule="look (line 3), develop (line 12)",
        access="read_only",
        api_rules=(ApiRule("look (line 3)", "read_only"), ApiRule("develop (line 12)")),
        max_timeout=60,
        max_runs=3,
        max_output=1000,
        exec_plugins=frozenset({"b"}),
    )


def test_one_server_that_is_not_allowed_is_enough_to_refuse(policy: Policy) -> None:
    with pytest.raises(Forbidden, match="elsewhere"):
        decide(policy, ALICE, None, SERVER, "https://elsewhere.example")


def test_a_dry_run_is_between_the_other_two() -> None:
    rules = "rules:\n" + "".join(
        f"- {{name: {name}, principals: ['*'], own_kubeconfigs: true, servers: [{name}], {fields}}}\n"
        for name, fields in (("a", "access: read_only"), ("b", "access: dry_run"), ("c", ""))
    )
    policy = read(rules.replace(", }", "}"))
    assert decide(policy, ALICE, None, "https://b").access == "dry_run"
    assert decide(policy, ALICE, None, "https://c", "https://b").access == "dry_run"
    assert decide(policy, ALICE, None, "https://b", "https://a").access == "read_only"


def test_what_rules_say_of_the_api_all_holds_for_several_servers() -> None:
    rules = "rules:\n" + "".join(
        f"- {{name: {name}, principals: ['*'], own_kubeconfigs: true, servers: [{name}], {fields}}}\n"
        for name, fields in (("a", f"allow: [{{verbs: [get], {PODS}}}]"), ("b", "secrets: none"))
    )
    grant = decide(read(rules), ALICE, None, "https://a", "https://b")
    first, second = (rule.for_gate() for rule in grant.api_rules)
    assert first["allow"] == [
        {"name": "a (line 2): allow[0]", "verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    ]
    assert (second["name"], second["secrets"], second["deny"]) == ("b (line 3)", "none", [])


def test_no_kubeconfig_is_read_for_a_caller_without_rules(policy: Policy) -> None:
    with pytest.raises(Forbidden, match="no rule of the policy is for carol"):
        policy.decide(Principal("carol"), None, lambda: pytest.fail("it was read"))


def test_without_a_file_everybody_may_do_what_the_settings_allow() -> None:
    policy = everything(["aws"], insecure_tls=True, proxy_url=False)
    grant = decide(policy, Principal("anybody\nat all"), None, "https://192.0.2.1")
    assert grant == Grant(
        "default", api_rules=(ApiRule("default"),), exec_plugins=frozenset({"aws"}), insecure_tls=True
    )
    assert decide(policy, ALICE, "offered", SERVER) == grant
    assert policy.most_access(ALICE) == "full"


def test_most_access_is_what_any_rule_for_a_caller_gives(policy: Policy) -> None:
    assert policy.most_access(Principal("dave", frozenset({"developers"}))) == "read_only"
    assert policy.most_access(ALICE) == "full"
    assert policy.most_access(Principal("carol")) == "read_only"
    for rules in (["dry_run"], ["read_only", "dry_run"]):
        text = "".join(f"- {{name: r{n}, principals: [x], handles: [x], access: {a}}}\n" for n, a in enumerate(rules))
        assert read(f"rules:\n{text}").most_access(Principal("x")) == "dry_run"


# The file


PODS = "apiGroups: [''], resources: [pods]"
RULE = "rules:\n- name: r\n  principals: [a]\n  handles: [h]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the file must have a list of `rules`"),
        ("- a", "line 1: the file must have a list of `rules`"),
        ("rules: {}", "line 1: rules must be a valid list"),
        ("rules:\n- 5", "line 2: rules[0] must be a mapping"),
        ("other: 1\nrules: []", "line 1: other is not a field; there are rules"),
        (f"{RULE}  principal: [a]", "line 5: rules[0].principal is not a field; there are name, principals,"),
        (f"{RULE}  line: 7", "line 5: rules[0].line is not a field"),
        (f"{RULE}  _line: 7", "line 5: rules[0]._line is not a field"),
        (f'{RULE}  "\\0line": 7', "line 5: rules[0].\0line is not a field"),
        ("rules:\n- principals: [a]\n  handles: [h]", "line 2: rules[0].name is missing"),
        ("rules:\n- name: r\n  handles: [h]", "line 2: rules[0] is for nobody"),
        ("rules:\n- name: r\n  principals: [a]", "line 2: rules[0] is for no cluster"),
        (f"{RULE}\n  max_runs: 0", "line 6: rules[0].max_runs must be greater than or equal to 1"),
        (f"{RULE}  max_timeout: '60'", "line 5: rules[0].max_timeout must be a valid integer"),
        (f"{RULE}  max_output: 1.5", "line 5: rules[0].max_output must be a valid integer"),
        (f"{RULE}  max_output: 10M", "line 5: rules[0].max_output must be a valid integer"),
        (f"{RULE}  access: read-only", "line 5: rules[0].access must be 'full', 'dry_run' or 'read_only'"),
        (f"{RULE}  secrets: hidden", "line 5: rules[0].secrets must be 'full', 'masked' or 'none'"),
        (f"{RULE}  allow:", "line 5: rules[0].allow must be a list; leave it out to allow everything"),
        (f"{RULE}  deny: [{{verbs: [get]}}]", "line 5: rules[0].deny[0] needs `apiGroups`"),
        (f"{RULE}  deny: [{{verbs: [GET], {PODS}}}]", "line 5: rules[0].deny[0].verbs 'GET' would never match"),
        (
            f"{RULE}  deny: [{{verbs: [get], verb: a, {PODS}}}]",
            "line 5: rules[0].deny[0].verb is not a field; there are verbs",
        ),
        (f"{RULE}  groups: developers", "line 5: rules[0].groups must be a valid list"),
        (f"{RULE}  groups:\n  - a\n  - on", "line 7: rules[0].groups[1] must be a valid string"),
        (f"{RULE}  groups: [a, a]", "line 5: rules[0].groups has something twice"),
        (f"{RULE}  servers: []", "line 5: rules[0].servers"),
        (f"{RULE}  servers: [host:6443]", "line 5: rules[0].servers must be a host without a port"),
        (f"{RULE}  servers: [10.0.0.1/8]", "line 5: rules[0].servers 10.0.0.1/8 has host bits set"),
        (f"{RULE}{RULE.removeprefix('rules:')}", "line 1: rules has something twice"),
        (f"{RULE}  name: again", "line 5, column 3: a key that its mapping has already is refused"),
        ("rules: &x []", "line 1, column 8: an anchor or alias"),
        ("rules: [", "is not valid YAML at line"),
        ("rules:\n\x07", "line 2 has a control character"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=f"^{re.escape(problem)}"):
        read(text)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(PolicyError) as error:
        read(f"{RULE}  max_runs: -1\n  nonsense: 1\n")
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == ["line 5", "line 6"]


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(PolicyError, match="over"):
        read("#" * (1 << 20) + "#\nrules: []")


def test_no_rules_allow_nothing() -> None:
    with pytest.raises(Forbidden):
        decide(read("rules: []"), ALICE, None, SERVER)


def test_example_in_the_documentation_is_a_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    example = page.partition("<<'END'\n")[2].partition("\nEND\n")[0]
    policy = read(example)
    assert [rule.name for rule in policy.rules] == ["platform", "look at production", "develop"]
    assert decide(policy, ALICE, None, "https://rancher.example.com/k8s/clusters/c-m-dev1").access == "full"
    with pytest.raises(Forbidden):
        decide(policy, ALICE, None, "https://rancher.example.com/k8s/clusters/c-m-prod")
