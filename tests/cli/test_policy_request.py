"""`k8s-mcp policy test --verb` says which entry decides; `policy check` warns of what leads to everything."""

from pathlib import Path

import pytest

from k8s_mcp.cli.main import main

POLICY = """
rules:
  - name: team
    principals: [alice]
    own_kubeconfigs: true
    servers: ["*.dev.example.com"]
    secrets: masked
    allow:
      - {verbs: [get, list, watch], apiGroups: ["*"], resources: ["*"]}
      - {verbs: [patch], apiGroups: [apps], resources: [deployments, deployments/scale], namespaces: ["shop-*"]}
    deny:
      - {verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: [kube-system]}
  - name: trying
    principals: [alice, bob]
    handles: ["*"]
    own_kubeconfigs: true
    access: dry_run
"""
TEAM, TRYING = "team (line 3)", "trying (line 13)"
PATCH = ("--verb", "patch", "--resource", "deployments.apps")


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return str(tmp_path / "policy.yaml")


@pytest.fixture
def said(file: str, capsys: pytest.CaptureFixture[str]) -> "Said":
    return Said(file, capsys)


class Said:
    """Exit code, and the lines about the request."""

    def __init__(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._file, self._capsys = file, capsys

    def __call__(self, *words: str) -> tuple[int, list[str]]:
        code = main(["policy", "test", "--file", self._file, *words])
        out, err = self._capsys.readouterr()
        lines = [line.strip() for line in (out + err).splitlines()]
        return code, [line for line in lines if code == 2 or "allowed by" in line or "refused by" in line]


def test_of_a_caller_on_a_server_the_entry_that_decides_is_named(said: Said) -> None:
    alice = ("--principal", "alice", "--server", "https://web.dev.example.com")
    code, lines = said(*alice, *PATCH, "--namespace", "shop-eu", "--name", "web")
    assert code == 0
    assert lines == [
        f"allowed by {TEAM}",
        f"patch deployments.apps web in namespace shop-eu: allowed by {TEAM}: allow[1]",
    ]
    code, lines = said(*alice, *PATCH, "--namespace", "shop")
    assert code == 1
    assert (
        lines[1] == f"patch deployments.apps in namespace shop: refused by {TEAM}: allow (no entry of allow names it)"
    )
    code, lines = said(
        *alice, "--verb", "get", "--resource", "pods", "--subresource", "log", "--namespace", "kube-system"
    )
    assert (code, lines[1]) == (1, f"get pods/log in namespace kube-system: refused by {TEAM}: deny[0]")
    code, lines = said(*alice, "--verb", "get", "--resource", "secrets", "--namespace", "shop")
    assert (code, lines[1]) == (0, f"get secrets in namespace shop: allowed by {TEAM}: allow[0]; values masked")


def test_of_several_servers_all_rules_hold(said: Said) -> None:
    servers = ("--server", "https://web.dev.example.com", "--server", "https://192.0.2.1")
    code, lines = said("--principal", "alice", *servers, *PATCH, "--namespace", "shop-eu")
    assert code == 0
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        f"allowed by {TEAM}: allow[1]",
        f"allowed by {TRYING}: access: dry_run; tried, and not made",
    ]
    assert said("--principal", "alice", *servers, *PATCH, "--namespace", "shop")[0] == 1


def test_without_a_server_each_rule_that_could_decide_says_it(said: Said) -> None:
    """The exit code is 0 when whichever of them decides would allow it."""
    code, lines = said(*PATCH, "--namespace", "shop")
    assert code == 1
    assert [line.split(": ")[1] for line in lines] == [f"refused by {TEAM}", f"allowed by {TRYING}"]
    assert said(*PATCH, "--namespace", "shop-eu")[0] == 0
    code, lines = said("--principal", "bob", *PATCH)
    assert (code, len(lines)) == (0, 1)
    assert said("--principal", "carol", *PATCH)[0] == 1


def test_without_a_namespace_it_is_asked_of_any(said: Said) -> None:
    code, lines = said("--principal", "alice", "--verb", "list", "--resource", "pods")
    assert code == 1
    assert "deny[0] (a request over all namespaces would reach the ones that it names)" in lines[0]
    assert said("--verb", "create", "--resource", "widgets.example.com")[1][0].endswith(
        "would reach the ones that it names)"
    )
    for request in (("get", "nodes", "--name", "n"), ("list", "widgets.example.com", "--namespace", "shop")):
        assert said("--verb", request[0], "--resource", *request[1:])[0] == 0
    assert said("--verb", "get", "--resource", "widgets.example.com", "--name", "w", "--namespace", "")[0] == 0
    assert said("--verb", "get", "--resource", "namespaces", "--name", "kube-system")[0] == 1


def test_paths_are_asked_for_as_well(said: Said) -> None:
    code, lines = said("--verb", "get", "--path", "/api")
    assert code == 0
    assert lines[0] == f"get /api: allowed by {TEAM}: what everybody may ask"
    assert said("--verb", "get", "--path", "/debug/pprof")[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resource", "pods"], "say with --verb what is asked"),
        (["--verb", "get"], "say with --resource (or --path) of what"),
        (["--verb", "GET", "--resource", "pods"], "--verb must be one of get, list, "),
        (["--verb", "post", "--resource", "pods"], "--verb must be one of get, list, "),
        (["--verb", "bind", "--resource", "roles.rbac.authorization.k8s.io"], "no request has another"),
        (["--verb", "list", "--path", "/metrics"], "--verb must be one of get, head, "),
        (["--verb", "get", "--resource", "Pods"], "--resource must be in lower case"),
        (["--verb", "get", "--resource", "deployments"], "--resource deployments needs its group"),
        (["--verb", "get", "--resource", "users"], "--resource users needs its group"),
        (["--verb", "get", "--resource", "pods/log", "--subresource", "log"], "is in --resource already"),
        (["--verb", "create", "--resource", "pods", "--name", "x"], "a request to create has no --name"),
        (["--verb", "get", "--path", "/x", "--resource", "pods"], "--path and --resource exclude each other"),
        (["--verb", "get", "--path", "x"], "--path must begin with a slash"),
        (["--verb", "get", "--resource", "pods", "--group", "dev"], "say with --principal who is calling"),
        ([], "say with --principal who is calling"),
    ],
)
def test_what_is_no_request_is_not_judged(said: Said, words: list[str], message: str) -> None:
    code, lines = said(*words)
    assert code == 2
    assert message in lines[0]


def test_check_warns_of_what_leads_to_everything(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", file]) == 0
    said = capsys.readouterr().err
    assert f"{file}: warning: {TEAM} leaves a way to all that the credential may do: to start pods" in said
    assert "(patch deployments.apps)" in said
    assert "to run code" not in said, "get on everything is no exec"
    assert f"warning: {TRYING} leaves" not in said
