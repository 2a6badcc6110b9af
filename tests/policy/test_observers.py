"""Observers see the runs of all callers, and do with them what their entries in the policy say, no more."""

import pytest

from k8s_mcp.models import Principal
from k8s_mcp.policy.observers import Observing, warnings
from k8s_mcp.policy.rules import PolicyError, everything, read

RULES = "rules: [{name: a, principals: ['*'], own_kubeconfigs: true}]\n"
ALICE = Principal("alice", frozenset({"sre", "eu"}))


def observing(entries: str, who: Principal = ALICE) -> Observing:
    return read(f"{RULES}observers: {entries}").observing(who)


def test_nobody_is_one_unless_the_policy_says_so() -> None:
    assert read(RULES).observing(ALICE) == Observing()
    assert everything((), insecure_tls=False, proxy_url=False).observing(ALICE) == Observing()
    assert observing("[]") == Observing()


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("[{principals: [alice]}]", Observing(state=True)),
        ("[{principals: ['al*'], output: true}]", Observing(state=True, output=True)),
        ("[{groups: [sre], cancel: true}]", Observing(state=True, cancel=True)),
        ("[{groups: [sre], cancel: true}, {groups: [eu], output: true}]", Observing(True, True, True)),  # noqa: FBT003
        ("[{groups: [alice], output: true}]", Observing()),  # a principal of that name is no group
        ("[{principals: [sre], output: true}, {principals: [Alice]}]", Observing()),
    ],
)
def test_entries_add_up(entries: str, expected: Observing) -> None:
    assert observing(entries) == expected


def test_a_token_that_only_looks_ends_nothing_of_others() -> None:
    reading = Principal("alice", ALICE.groups, only_reads=True)
    entries = "[{groups: [sre], output: true, cancel: true}]"
    assert observing(entries, reading) == Observing(state=True, output=True)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("[{output: true}]", "line 2: observers[0] is for nobody"),
        ("[{principals: [a], outputs: true}]", "line 2: observers[0].outputs is not a field; there are principals,"),
        ("[{principals: [a], output: 'yes'}]", "line 2: observers[0].output must be a valid boolean"),
        ("[{principals: [a, a]}]", "line 2: observers[0].principals has something twice"),
        ("[{principals: ['']}]", "line 2: observers[0].principals[0]"),
        ("{principals: [a]}", "line 2: observers must be a valid list"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(entries: str, said: str) -> None:
    with pytest.raises(PolicyError) as error:
        observing(entries)
    assert str(error.value).startswith(said)


def test_check_warns_where_the_runs_of_all_are_everybodys() -> None:
    policy = read(f"{RULES}observers: [{{principals: [a*]}}, {{groups: ['**'], output: true, cancel: true}}]")
    [warning] = warnings(policy.observers)
    assert warning == (
        "warning: observers[1] is for everybody: each caller sees the runs of all others, "
        "reads their commands and output and can end them"
    )
    assert warnings(read(f"{RULES}observers: [{{principals: ['*']}}]").observers) == [
        "warning: observers[0] is for everybody: each caller sees the runs of all others"
    ]
