"""Quotas: a cluster is one cluster, whatever way its address is written."""

import dataclasses

import pytest

from k8s_mcp.errors import TooManyRuns
from k8s_mcp.models import RunSpec
from k8s_mcp.policy.quotas import Quotas
from k8s_mcp.policy.rules import Grant

QUOTAS = Quotas(runs=100, runs_on_cluster=1)
ANY = Grant("any")


def run_on(*servers: str) -> RunSpec:
    return RunSpec("0" * 32, "run", "owner", "digest", servers[0], 300, "now", servers=servers)


SAME = [
    ("https://h", "https://h:443", "https://H", "https://h/", "https://h.", "https://h/x/..", "https://h/x/../"),
    (
        "https://h",
        "https://h//",
        "https://h///.",
        "https://h/./",
        "https://h/%78/%2e%2e",
        "https://h/%2e",
        "https://h/..",
    ),
    ("http://h", "http://h:80"),
    ("https://h/k8s/c", "https://h:443/k8s/c/", "https://h/k8s//c", "https://h/k8s/x/../c", "https://h/k8s/%63"),
    ("https://192.0.2.1:6443", "https://[::ffff:192.0.2.1]:6443", "https://[::ffff:c000:201]:6443"),
    ("https://[2001:db8::1]", "https://[2001:DB8:0:0::1]:443"),
]


@pytest.mark.parametrize("spellings", SAME, ids=[spellings[-1] for spellings in SAME])
def test_spellings_of_one_address_are_one_cluster(spellings: tuple[str, ...]) -> None:
    for one in spellings:
        for other in spellings:
            with pytest.raises(TooManyRuns, match="the most it may have"):
                QUOTAS.check(run_on(one), ANY, [run_on(other)])


@pytest.mark.parametrize(
    "other", ["https://i", "https://h:6443", "http://h", "https://h/x", "https://h.example", "https://h/..x"]
)
def test_other_addresses_are_other_clusters(other: str) -> None:
    QUOTAS.check(run_on("https://h"), ANY, [run_on(other)])


def test_run_with_two_spellings_of_a_cluster_counts_once() -> None:
    two = Quotas(runs=100, runs_on_cluster=2)
    two.check(run_on("https://h"), ANY, [run_on("https://h", "https://h:443")])
    with pytest.raises(TooManyRuns):
        two.check(
            run_on("https://h"), ANY, [run_on("https://h/x/..", "https://i"), run_on("https://i", "https://h.")]
        )


def test_quota_of_a_rule_counts_by_cluster_as_well() -> None:
    grant = dataclasses.replace(ANY, max_cluster_runs=1)
    with pytest.raises(TooManyRuns):
        Quotas(runs=100).check(run_on("https://h/x/.."), grant, [run_on("https://h")])
