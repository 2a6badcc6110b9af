"""Cluster handles through HTTP and `k8s-mcp clusters`: stored once, named from then on, never given back."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from k8s_mcp.runs.handles import MAX_HANDLES
from tests.support import kubeconfigs
from tests.support.execute import Exec, Result
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, wait_for

Clusters = Callable[..., Result]


@pytest.fixture
def http(serve: StartService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serve().url, trust_env=False) as http:
        yield http


@pytest.fixture
def clusters(server: Service, tmp_path: Path, prepared: Prepared) -> Clusters:
    """`k8s-mcp clusters` with the made-up kubeconfig as the user's own."""
    return partial(Exec(server.url, tmp_path, kubeconfigs.fake(), prepared).subcommand, "clusters")


def put(http: httpx.Client, name: str, **changed: object) -> httpx.Response:
    return http.put(f"/clusters/{name}", json={"kubeconfig": kubeconfigs.fake(), **changed})


def test_command_names_the_stored_cluster(http: httpx.Client) -> None:
    assert put(http, "prod").status_code == 200
    seen = http.post("/sse", json={"command": "cat $KUBECONFIG", "cluster": "prod"}).text
    assert "current-context" in seen
    assert '{"status": "done", "exit_code": 0}' in seen
    assert kubeconfigs.credentials_in(seen) == []


def test_kubeconfig_is_never_given_back(http: httpx.Client) -> None:
    answers = [put(http, "prod"), http.get("/clusters"), http.get("/clusters/prod")]
    for answer in answers:
        assert answer.status_code == 200
        assert kubeconfigs.credentials_in(answer.text) == []
        assert "kubeconfig" not in answer.text
    [listed] = answers[1].json()["clusters"]
    assert listed == answers[2].json()
    assert set(listed) == {"name", "server", "contexts", "expires", "offered"}


def test_handle_is_gone_after_its_time(http: httpx.Client) -> None:
    assert put(http, "short", ttl=1).status_code == 200
    wait_for(lambda: http.get("/clusters/short").status_code == 404, 5)
    assert "expired" in http.get("/clusters/short").json()["detail"]
    assert http.get("/clusters").json() == {"clusters": []}
    refused = http.post("/sse", json={"command": "true", "cluster": "short"})
    assert refused.status_code == 404


def test_handle_can_be_replaced_and_deleted(http: httpx.Client) -> None:
    put(http, "prod", ttl=10)
    first = http.get("/clusters/prod").json()["expires"]
    put(http, "prod", ttl=1000)
    assert http.get("/clusters/prod").json()["expires"] > first
    assert http.delete("/clusters/prod").status_code == 204
    assert http.get("/clusters/prod").status_code == http.delete("/clusters/prod").status_code == 404


@pytest.mark.parametrize(
    ("name", "changed", "field"),
    [
        ("Prod", {}, "name"),
        ("a" * 64, {}, "name"),
        ("-a", {}, "name"),
        ("prod", {"ttl": 0}, "ttl"),
        ("prod", {"ttl": True}, "ttl"),
        ("prod", {"ttl": 31 * 24 * 3600}, "ttl"),
        ("prod", {"kubeconfig": "nonsense"}, "kubeconfig"),
        ("prod", {"owner": "me"}, "owner"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, name: str, changed: dict[str, object], field: str) -> None:
    answer = put(http, name, **changed)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert kubeconfigs.credentials_in(answer.text) == []


def test_number_of_handles_is_bounded(http: httpx.Client) -> None:
    for number in range(MAX_HANDLES):
        assert put(http, f"c{number}").status_code == 200
    assert put(http, "one-more").status_code == 422
    assert put(http, "c0").status_code == 200  # replacing one is not one more


def test_people_store_list_and_remove_clusters(clusters: Clusters) -> None:
    added = clusters("add", "people", "--ttl", "100")
    assert (added.returncode, added.stdout) == (0, "")
    assert "people is stored until" in added.stderr
    listed = clusters("list")
    assert listed.stdout.splitlines()[0].split() == ["NAME", "SERVER", "CONTEXTS", "EXPIRES"]
    assert "people" in listed.stdout
    assert [cluster["name"] for cluster in json.loads(clusters("list", "--json").stdout)] == ["people"]
    assert clusters("remove", "people").returncode == 0
    again = clusters("remove", "people")
    assert again.returncode == 1
    assert "no such cluster" in again.stderr
    assert kubeconfigs.credentials_in(added.stderr + listed.stdout + again.stderr) == []


def test_named_context_only_is_stored(clusters: Clusters) -> None:
    assert clusters("add", "one", "--context", "no-such-context").returncode == 1
    assert clusters("add", "one").returncode == 0
    [stored] = json.loads(clusters("list", "--json").stdout)
    assert len(stored["contexts"]) == 1
    assert clusters("add", "one", "--all-contexts").returncode == 0
    [stored] = json.loads(clusters("list", "--json").stdout)
    assert len(stored["contexts"]) > 1


def test_service_that_is_not_there_is_said(clusters: Clusters) -> None:
    result = clusters("list", "--url", "http://127.0.0.1:1")
    assert result.returncode == 1
    assert "cannot reach http://127.0.0.1:1" in result.stderr
