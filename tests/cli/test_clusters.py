"""`k8s-mcp clusters`: what it stores, and what it says of what is wrong."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k8s_mcp.cli.main import main
from tests.support.execute import K8S_MCP, Exec, k8s_mcp
from tests.support.faults import Script, answer
from tests.support.prepared import Prepared
from tests.support.real_kubeconfigs import Access, Real
from tests.support.service import Service, wait_for

LIST = {"name": "stage", "server": "https://192.0.2.1", "contexts": ["a", "b"], "expires": None}


def as_json(value: object) -> bytes:
    return answer(body=json.dumps(value), media_type="application/json")


@pytest.mark.parametrize("name", ["../runs/ID", "stage?x=1", "stage#oops", "a/b", "%61", "A", "", "-a", "a" * 64])
@pytest.mark.parametrize("action", ["add", "remove"])
def test_a_name_that_is_none_reaches_no_service(
    action: str, name: str, tmp_path: Path, fake_kubeconfig: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(fake_kubeconfig)
    more = ["--kubeconfig", str(tmp_path / "config")] if action == "add" else []
    with Script(as_json({"name": name, "expires": "2099-01-01T00:00:00Z"})) as service:
        assert main(["clusters", action, "--url", service.url, *more, "--", name]) == 2
    assert service.requests == []
    assert "is no name" in capfd.readouterr().err


def test_a_kubeconfig_is_stored_listed_and_forgotten(
    server: Service, tmp_path: Path, fake_kubeconfig: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(fake_kubeconfig)
    at = ["--url", server.url]
    assert main(["clusters", "add", "a.b-c_1", *at, "--kubeconfig", str(tmp_path / "config"), "--all-contexts"]) == 0
    assert main(["clusters", "list", *at]) == 0
    head, row = capfd.readouterr().out.splitlines()
    assert head.split() == ["NAME", "SERVER", "CONTEXTS", "EXPIRES"]
    assert row.split()[:3] == ["a.b-c_1", "https://192.0.2.1:6443", "first,second,third"]
    assert main(["clusters", "remove", "a.b-c_1", *at]) == 0
    assert main(["clusters", "list", "--json", *at]) == 0
    assert json.loads(capfd.readouterr().out) == []


@pytest.mark.parametrize(
    "got",
    [
        answer(body="<html>hello</html>", media_type="text/html"),
        as_json([]),
        as_json({}),
        as_json({"clusters": [{"name": "a"}]}),
        as_json({"clusters": {"name": "a"}}),
        answer(body="[" * 100_000, media_type="application/json"),
        answer(body="", media_type="application/json"),
    ],
    ids=repr,
)
def test_another_web_server_is_told_apart(got: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with Script(got) as service:
        assert main(["clusters", "list", "--url", service.url]) == 1
        assert capfd.readouterr().err == (
            f"k8s-mcp: {service.url} is no k8s-mcp service: its answer is not the one that a service gives\n"
        )


def test_a_path_that_is_not_there_is_no_bare_404(capfd: pytest.CaptureFixture[str]) -> None:
    with Script(answer("404 Not Found", "no such page", "text/plain")) as service:
        assert main(["clusters", "list", "--url", service.url]) == 1
    assert "answered 404: no k8s-mcp service is there; correct --url" in capfd.readouterr().err


def test_what_a_server_is_called_does_not_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Script(as_json({"clusters": [{**LIST, "server": "https://a\x1b]0;owned\x07\x1b[2J"}]})) as service:
        assert main(["clusters", "list", "--url", service.url]) == 0
    printed = capfd.readouterr().out
    assert "owned" in printed
    assert all(character.isprintable() for character in printed.replace("\n", ""))


def test_https_where_nobody_speaks_it_is_said(server: Service, capfd: pytest.CaptureFixture[str]) -> None:
    url = server.url.replace("http:", "https:")
    assert main(["clusters", "list", "--url", url]) == 1
    assert capfd.readouterr().err == f"k8s-mcp: {url} does not speak TLS; is it http://?\n"


def test_the_reader_of_a_table_may_leave() -> None:
    many = {"clusters": [LIST] * 5000}
    with Script(as_json(many)) as service:
        words = [*K8S_MCP, "clusters", "list", "--url", service.url]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait() == 141


def test_a_full_disk_is_said() -> None:
    with Script(as_json({"clusters": [LIST]})) as service, Path("/dev/full").open("w") as full:
        words = [*K8S_MCP, "clusters", "list", "--url", service.url]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "k8s-mcp: cannot write the output: No space left on device\n")


def test_ctrl_c_while_it_reads_standard_input_is_130() -> None:
    words = [*K8S_MCP, "clusters", "add", "a", "--kubeconfig", "-", "--url", "http://127.0.0.1:1"]
    reading, writing = os.pipe()
    with subprocess.Popen(words, stdin=reading, stderr=subprocess.PIPE, text=True) as process:
        os.close(reading)
        # It is interrupted when it waits in read(2), and so has taken what was written.
        os.write(writing, b"a: b\n")
        wait_for(lambda: _unread(writing) == 0)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert process.stderr.read() == ""
        assert process.wait() == 130
    os.close(writing)


def _unread(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def test_renew_stores_the_credential_again_before_it_ends(tmp_path: Path, prepared: Prepared) -> None:
    access = Access("https://192.0.2.1", "", "token-0", "", "")
    real = Real(access, tmp_path)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never"}
    }
    config = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [real.cluster("a", **{"certificate-authority-data": None})],
        "users": [{"name": "a", "user": user}],
    }
    (tmp_path / "plugin").write_text(
        "#!/bin/bash\necho x >> count\n"
        'printf \'{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":'
        '{"token":"token-%s","expirationTimestamp":"%s"}}\' '
        '"$(wc -l < count)" "$(date -u -d "+3 seconds" +%Y-%m-%dT%H:%M:%SZ)"\n'
    )
    (tmp_path / "plugin").chmod(0o755)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with Script(as_json({"name": "a", "expires": later})) as service:
        execute = Exec(service.url, tmp_path, json.dumps(config), prepared)
        words = [*K8S_MCP, "clusters", "add", "a", "--renew"]
        with subprocess.Popen(
            words, env=execute.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                wait_for(lambda: len(service.requests) >= 3)
            finally:
                process.send_signal(signal.SIGINT)
            assert process.wait() == 130
            assert process.stderr
            assert process.stderr.readline() == f"k8s-mcp: a is stored until {later}\n"
        once = subprocess.run(
            words[:-1], env=execute.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=True
        )
        assert "its credential ends at" in once.stderr
        assert "--renew" in once.stderr
    for number, request in enumerate(service.requests[:3], 1):
        assert f"token-{number}" in request


def test_renew_and_standard_input_exclude_each_other() -> None:
    done = k8s_mcp("clusters", "add", "a", "--renew", "--kubeconfig", "-")
    assert done.returncode == 2
    assert "--renew and --kubeconfig - exclude each other" in done.stderr


@pytest.mark.parametrize("url", ["http://192.0.2.1", "HTTP://example.com:9096/x", "http://localhost.example.com"])
@pytest.mark.parametrize("words", [["clusters", "list"], ["runs"], ["runs", "list"], ["exec", "--", "true"]])
def test_nothing_goes_to_another_machine_in_the_clear(
    url: str, words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8S_MCP_URL", url)
    assert main(words) == 2
    assert "use https://, or say --insecure-http" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "variable"), [(["--insecure-http"], ""), ([], "1")])
def test_it_does_if_that_is_said(
    words: list[str], variable: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8S_MCP_INSECURE_HTTP", variable)
    with Script(as_json({"clusters": []})) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert main(["clusters", "list", "--url", "http://192.0.2.1", *words]) == 0
    assert proxy.requests[0].startswith("GET http://192.0.2.1/clusters ")
    assert capfd.readouterr().err == ""
