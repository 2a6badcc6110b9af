"""`k8s-mcp policy` says what is wrong with a file, and what somebody may do by it."""

from pathlib import Path

import pytest

from k8s_mcp.cli.main import main

POLICY = """
rules:
  - name: everything
    principals: [root]
    handles: ["*"]
    own_kubeconfigs: true
  - name: looking
    groups: [dev]
    handles: [prod]
    access: read_only
    deny: [{verbs: [get], apiGroups: [""], resources: [nodes]}]
    max_runs: 2
    insecure_tls: true
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return str(tmp_path / "policy.yaml")


def test_check(file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["policy", "check", file]) == 0
    assert capsys.readouterr().out == f"{file}: 2 rules\n"
    monkeypatch.setenv("K8S_MCP_POLICY", file)
    assert main(["policy", "check"]) == 0


def test_check_names_file_and_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text(f"{POLICY}    max_time: 5\n")
    assert main(["policy", "check", file]) == 1
    assert capsys.readouterr().err.startswith(f"{file}: line 14: rules[1].max_time is not a field")


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read(file: str, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).unlink()
    if content is not None:
        Path(file).write_bytes(content)
    assert main(["policy", "check", file]) == 1
    assert file in capsys.readouterr().err


def test_without_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K8S_MCP_POLICY", raising=False)
    assert main(["policy", "check"]) == 2
    assert "K8S_MCP_POLICY" in capsys.readouterr().err


def test_allowed_and_by_which_rule(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    test = ["policy", "test", "--file", file, "--server", "https://192.0.2.1"]
    assert main([*test, "--principal", "root"]) == 0
    assert capsys.readouterr().out == "allowed by everything (line 3)\n  access: full\n"
    assert main([*test, "--principal", "x", "--group", "dev", "--group", "ops", "--cluster", "prod"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "allowed by looking (line 7)",
        "  access: read_only",
        "  secrets: masked",
        "  deny: what one of 1 entries names is refused",
        "  runs at a time: 2 at most",
        "  kubeconfigs may have: insecure-skip-tls-verify",
    ]


def test_refused_and_why(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    test = ["policy", "test", "--file", file, "--principal", "x", "--group", "dev"]
    assert main([*test, "--server", "https://192.0.2.1"]) == 1
    assert "looking (line 7): it has no `own_kubeconfigs`" in capsys.readouterr().out
    assert main([*test, "--cluster", "staging", "--server", "https://192.0.2.1"]) == 1
    assert "looking (line 7): no pattern in `handles` is like staging" in capsys.readouterr().out
    assert main([*test, "--cluster", "staging"]) == 2


def test_all_rules_of_a_caller(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    test = ["policy", "test", "--file", file]
    assert main([*test, "--principal", "root", "--group", "dev"]) == 0
    shown = capsys.readouterr().out
    assert "clusters: the offered * and kubeconfigs of their own; servers: *" in shown
    assert shown.index("everything (line 3)") < shown.index("looking (line 7)")
    assert main([*test, "--principal", "nobody"]) == 1
    assert capsys.readouterr().out == "refused: no rule is for them\n"


@pytest.mark.parametrize("server", ["web.dev.example.com", "", "https://", "https://a@b", "ftp://h", "https://h?x"])
def test_what_is_no_url_of_a_server_is_not_judged(server: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", "--file", file, "--principal", "root", "--server", server]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--server must be https or http://HOST[:PORT][/PATH]" in said.err
