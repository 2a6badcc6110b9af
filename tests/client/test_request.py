"""What `k8s-mcp exec` sends: command, kubeconfig, standard input."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.execute import Exec
from tests.support.kubeconfigs import TOKEN, credentials_in
from tests.support.prepared import Prepared
from tests.support.service import Service


@pytest.fixture
def execute(server: Service, tmp_path: Path, fake_kubeconfig: str, prepared: Prepared) -> Exec:
    """Runs commands on `server`, with the made-up kubeconfig."""
    return Exec(server.url, tmp_path, fake_kubeconfig, prepared)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--", "echo one | tr a-z A-Z; echo $((1+1))"], "ONE\n2\n"),
        (["echo without dashes"], "without dashes\n"),
        (["--", "printf", "%s,", "a  b", "$HOME", "it's", "-i", "--", "--url"], "a  b,$HOME,it's,-i,--,--url,\n"),
        (["printf", "%s,", "-i", "--timeout=x", "--c", "--"], "-i,--timeout=x,--c,--,\n"),
        (["--timeout", "9", "echo", "after an option"], "after an option\n"),
    ],
)
def test_one_word_is_a_shell_line_and_several_are_words(execute: Exec, words: list[str], output: str) -> None:
    assert execute(*words).stdout == output


def test_stdin_is_sent_when_asked_for(execute: Exec) -> None:
    assert execute("-i", "--", "cat; echo end", stdin="eins\r\nzwei 😀\n").stdout == "eins\nzwei 😀\nend\n"
    assert execute("--", "cat; echo end", stdin="not sent").stdout == "end\n"


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"x" * 921_601, "standard input is over 900 KiB"),
        (b"x" * 921_600, "too large: together at most 921600 bytes (command: 3, kubeconfig: "),
        (b"ab\xff", "standard input is not text in UTF-8 (byte 2)"),
    ],
)
def test_stdin_that_cannot_be_sent_is_refused(execute: Exec, stdin: bytes, message: str) -> None:
    result = execute("-i", "--", "cat", stdin=stdin)
    assert (result.returncode, result.stdout) == (125, "")
    assert message in result.stderr


def test_a_command_that_is_not_text_is_refused(execute: Exec) -> None:
    result = execute("--", "echo", os.fsdecode(b"\xff"))
    assert (result.returncode, result.stderr) == (125, "k8s-mcp: the command is not text in UTF-8\n")


@pytest.mark.parametrize("option", ["--read-only", "--dry-run"])
def test_what_is_asked_to_be_enforced_is_sent(execute: Exec, option: str) -> None:
    """The local executor cannot, and says so."""
    result = execute(option, "--", "echo ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert "a run cannot be read-only here, nor a dry run" in result.stderr


def contexts(execute: Exec, *options: str, **rest: Any) -> list[str]:
    """The contexts that the command sees, the current one first."""
    result = execute(*options, "--", "cat $KUBECONFIG", **rest)
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    names = [context["name"] for context in config["contexts"]]
    assert [user["name"] for user in config["users"]] == names
    return sorted(names, key=lambda name: (name != config["current-context"], name))


def test_only_the_chosen_context_is_sent(execute: Exec) -> None:
    assert contexts(execute) == ["first"]
    assert contexts(execute, "--context", "second") == ["second"]
    assert contexts(execute, "--all-contexts", "--context", "third") == ["third", "first", "second"]


def test_the_kubeconfig_is_found_where_kubectl_finds_it(execute: Exec) -> None:
    text = execute.kubeconfig.read_text()
    assert contexts(execute, "--kubeconfig", "-", stdin=text, environment={"KUBECONFIG": ""}) == ["first"]
    default = execute.home / ".kube" / "config"
    default.parent.mkdir()
    default.write_text(text.replace('"current-context": "first"', '"current-context": "second"'))
    assert contexts(execute, environment={"KUBECONFIG": ""}) == ["second"]
    assert contexts(execute) == ["first"]
    assert contexts(execute, "--kubeconfig", ".kube/config") == ["second"]


def test_several_kubeconfigs_are_one(execute: Exec) -> None:
    config = json.loads(execute.kubeconfig.read_text())
    (execute.home / "users").write_text(json.dumps({"users": config.pop("users")}))
    execute.kubeconfig.write_text(json.dumps(config))
    several = f"/does/not/exist:{execute.kubeconfig}:users"
    result = execute("--", "echo fine", environment={"KUBECONFIG": several})
    assert (result.stdout, result.stderr) == ("fine\n", "")


def test_files_that_the_kubeconfig_names_are_sent(execute: Exec) -> None:
    config = json.loads(execute.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = "files/ca.crt"
    config["users"][0]["user"] = {"tokenFile": "files/token"}
    (execute.home / "files").mkdir()
    (execute.home / "files" / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (execute.home / "files" / "token").write_text(f"{TOKEN}\n")
    execute.kubeconfig.write_text(json.dumps(config))
    result = execute("--", "cd /; grep -c -e certificate-authority-data -e 'token.*:' $KUBECONFIG")
    assert (result.stdout, result.stderr) == ("2\n", "")
    (execute.home / "files" / "token").unlink()
    result = execute("--", "true")
    assert result.returncode == 125
    assert "tokenFile (of 'first') 'files/token' cannot be read (No such file or directory)" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kubeconfig", "nowhere"], "the kubeconfig nowhere cannot be read: No such file or directory"),
        (["--kubeconfig", "."], "the kubeconfig . cannot be read: Is a directory"),
        (["--context", "fourth"], "current-context 'fourth' does not exist; name one of the contexts ('first', "),
        (["--cluster", "production"], "404: no such cluster"),
        (["--timeout", "0"], "422: timeout: "),
        (["--timeout", "9999999"], "422: timeout: must be at most 3600"),
    ],
)
def test_what_cannot_be_sent_or_is_refused_is_125_and_said(execute: Exec, options: list[str], message: str) -> None:
    result = execute(*options, "--", "echo ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert message in result.stderr
    assert result.stderr.startswith("k8s-mcp: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["--timeout", "soon", "--", "true"],
        ["--time", "3", "--", "true"],
        ["--cluster", "a", "--context", "b", "--", "true"],
        ["--cluster", "a", "--all-contexts", "--", "true"],
        ["--cluster", "a", "--kubeconfig", "b", "--", "true"],
        ["-i", "--kubeconfig", "-", "--", "true"],
        ["--url", "127.0.0.1:9096", "--", "true"],
        ["--url", f"http://someone:{TOKEN}@localhost:9096", "--", "true"],
        ["--url", "http://localhost:port", "--", "true"],
        ["--url", "http://[::1", "--", "true"],
        ["--url", "ftp://localhost", "--", "true"],
        ["--url", "http://", "--", "true"],
        ["--url", "http://localhost?a=b", "--", "true"],
    ],
)
def test_wrong_options_are_2_and_said(execute: Exec, words: list[str]) -> None:
    result = execute(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert result.stderr
    assert credentials_in(result.stderr) == []


def test_no_message_ever_holds_a_credential(execute: Exec) -> None:
    good = execute.kubeconfig.read_text()
    bad = [
        "{" + good,
        good.replace('"kind": "Config"', '"kind": "Pod"'),
        good.replace("https://192.0.2.1:6443", f"https://someone:{TOKEN}@192.0.2.1"),
        good.replace("https://192.0.2.1:6443", "https://169.254.169.254"),
        good.replace('"clusters"', '"Clusters"'),
        good.replace('"token": "', '"token": "\\u0000'),
        good.replace('"token": "', '"exec": {"command": "aws"}, "x": "'),
        good.replace('"server": ', '"insecure-skip-tls-verify": true, "server": '),
        good.replace('"client-key-data": "', '"client-key-data": "!').replace(
            'context": "first"', 'context": "third"'
        ),
        good[: len(good) // 2],
        "\ufeff\x00" + good,
    ]
    for text in bad:
        result = execute("--kubeconfig", "-", "--", "true", stdin=text)
        assert result.returncode == 125, text
        assert credentials_in(result.stderr) == []
        assert "Traceback" not in result.stderr
    unreachable = execute("--url", "http://127.0.0.1:1", "--", "true")
    assert credentials_in(unreachable.stderr) == []


@pytest.mark.cluster
def test_a_manifest_can_come_from_standard_input(
    server: Service, kubectl: Path, kubeconfig: str, tmp_path: Path, prepared: Prepared
) -> None:
    execute = Exec(server.url, tmp_path, kubeconfig, prepared)
    name = f"exec-test-{os.getpid()}"
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "värde 😀"}}
    try:
        assert execute("-i", "--", "kubectl apply -f -", stdin=json.dumps(manifest)).returncode == 0
        read = execute("--", "kubectl", "get", "configmap", name, "-o", "jsonpath={.data.key}")
        assert read.stdout == "värde 😀\n"
    finally:
        assert execute("--", "kubectl", "delete", "configmap", name).returncode == 0
