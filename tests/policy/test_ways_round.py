"""`policy check` warns where a rule can be passed by, by naming the API server otherwise; and only there."""

import pytest

from k8s_mcp.policy.rules import read
from k8s_mcp.policy.ways_round import warnings

OWN = "own_kubeconfigs: true"


def warned(*rules: str) -> list[str]:
    text = "".join(f"- {{name: r{number}, {fields}}}\n" for number, fields in enumerate(rules))
    return warnings(read(f"rules:\n{text}"))


def of(servers: str, fields: str = "", who: str = "groups: [a]") -> str:
    return ", ".join(part for part in (who, OWN, f"servers: [{servers}]", fields) if part)


NAMES = "'*.prod.example.com'"
PODS = "{verbs: [get], apiGroups: [''], resources: [pods]}"


@pytest.mark.parametrize(
    "wider",
    [
        "'*'",
        "'**'",
        "10.0.0.0/8",
        "192.0.2.7",
        "'10.*'",
        "'[2001:db8::1]'",
        "fd00::/8",
        "'https://10.1.2.3:6443'",
        "'https://*'",
    ],
)
def test_address_or_any_name_is_a_way_round_a_rule_for_names(wider: str) -> None:
    [line] = warned(of(NAMES, "access: read_only"), of(wider))
    assert line.startswith(
        "warning: r1 (line 3) gives more than r0 (line 2), also to who names a server of that one by "
    )
    assert line.endswith(": access full instead of read_only")


@pytest.mark.parametrize("narrow", ["10.0.0.0/8", "192.0.2.7", "'https://[2001:db8::1]:6443'", "'10.20.*'"])
@pytest.mark.parametrize("wider", ["'*'", NAMES, "'https://rancher.example.com/k8s/*'"])
def test_name_is_a_way_round_a_rule_for_addresses(narrow: str, wider: str) -> None:
    assert len(warned(of(narrow, "access: read_only"), of(wider))) == 1


@pytest.mark.parametrize(
    ("fields", "later", "more"),
    [
        ("access: read_only", "access: read_only, secrets: full", "secrets full instead of masked"),
        ("access: read_only", "access: dry_run", "access dry_run instead of read_only"),
        ("secrets: none", "secrets: masked", "secrets masked instead of none"),
        ("allow: []", "", "no `allow`"),
        (f"allow: [{PODS}]", "allow: []", "another `allow`"),
        (f"deny: [{PODS}]", "", "not all of its `deny`"),
        ("max_timeout: 60", "", "max_timeout without a limit instead of 60"),
        ("max_runs: 5", "max_runs: 6", "max_runs 6 instead of 5"),
        ("max_cluster_runs: 5", "", "max_cluster_runs"),
        ("max_output: 5", "max_output: 50", "max_output 50 instead of 5"),
        ("", "exec_plugins: [b, a]", "exec_plugins a, b"),
        ("", "insecure_tls: true", "insecure_tls"),
        ("", "proxy_url: true", "proxy_url"),
    ],
)
def test_whatever_a_rule_gives_more_of_is_named(fields: str, later: str, more: str) -> None:
    [line] = warned(of(NAMES, fields), of("'*'", later))
    assert more in line
    assert warned(of(NAMES, later), of("'*'", later)) == []


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([of(NAMES, "access: read_only"), of("'*.dev.example.com'")], id="names kept apart"),
        pytest.param([of("10.1.0.0/16", "access: read_only"), of("10.2.0.0/16")], id="networks kept apart"),
        pytest.param([of(NAMES), of("'*'", "access: read_only")], id="the wider one gives less"),
        pytest.param([of("'*'", "access: read_only"), of("10.0.0.0/8")], id="the first one has all servers"),
        pytest.param(
            ["groups: [a], handles: ['*'], servers: [a.example], access: read_only", of("'*'")], id="offered"
        ),
        pytest.param([of(NAMES, "access: read_only"), "groups: [a], handles: ['*']"], id="for those on offer"),
        pytest.param(
            [of(NAMES, "access: read_only", "principals: [alice]"), of("'*'", "", "principals: [bob]")],
            id="for somebody else",
        ),
    ],
)
def test_where_there_is_no_way_round_nothing_is_said(rules: list[str]) -> None:
    assert warned(*rules) == []


@pytest.mark.parametrize(
    ("who", "other"),
    [
        ("principals: ['a*']", "principals: [alice]"),
        ("principals: [alice]", "principals: ['*']"),
        ("principals: [alice]", "groups: [b]"),
        ("groups: [a]", "principals: [bob]"),
        ("groups: [a]", "groups: [b]"),
    ],
)
def test_whoever_may_be_meant_by_both_is_warned_of(who: str, other: str) -> None:
    assert len(warned(of(NAMES, "access: read_only", who), of("'*'", "", other))) == 1
