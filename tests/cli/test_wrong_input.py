"""No command prints a traceback, whatever is wrong with what it is told: one sentence, and an exit code."""

import os
import subprocess
from pathlib import Path

import pytest

from k8s_mcp.cli.main import main
from tests.support.execute import K8S_MCP

NOBODY = "http://127.0.0.1:1"
ODD = (
    "",
    " ",
    "-",
    "--",
    "..",
    "../x",
    "a/b",
    "a?b=1",
    "a#b",
    "%2e%2e",
    "A",
    "ä",
    "\x1b[31m",
    "\n",
    "a" * 5000,
    "\udcff",
)  # fmt: skip
URLS = (
    "", "x", "http", "http:", "http://", "https://", "ftp://h", "http://h:0", "http://h:99999", "http://h:p",
    "http://[",
    "http://[::1", "http://[x]", "http://u:p@h", "http://h?q", "http://h#f", "http://h/\n",
    "http://127.0.0.1:1/sse",
    "http://127.0.0.1:1/mcp/", "http://192.0.2.1", "http://example.com:9096", "HTTP://Example.com",
    "http://\\h", "//h",
    "http://..", "https://127.0.0.1:1", NOBODY, "http://a..b", f"http://{'a' * 70}.example", "http://\udcff",
)  # fmt: skip
NUMBERS = ("", "x", "1.5", "-", "1e3", "٣x", "9" * 5000)
HOSTS = ("..", "a..b", "a" * 70, "999.1.1.1", "[::1", "\udcff")
FILES = ("", "/", "/nowhere/at/all", "/dev/null", "/proc/self/mem", "a" * 5000, "\udcff")
TEXTS = (
    "",
    "{",
    "[]",
    "null",
    "a: [",
    "kind: Pod",
    "\x00",
    "users: 1",
    "contexts: [1]",
    "clusters: [{}]",
    "a: *b",
    "%X",
)  # fmt: skip

CASES: list[list[str]] = [
    [], ["bogus"], ["--bogus"], ["-"], [""], ["--", "serve"], ["\udcff"],
    *([name, "--bogus"] for name in ("serve", "check", "clean", "token", "exec", "runs", "clusters", "policy",
    "config")),
    *([name, "\x1b]0;x\x07"] for name in ("serve", "check", "clean", "clusters", "policy", "config", "completion")),
    *(["clusters", "remove", name] for name in ODD),
    *(["clusters", "add", name, "--kubeconfig", "/nowhere"] for name in ODD),
    *(["runs", "show", name] for name in ODD),
    *(["runs", "cancel", name] for name in ODD[4:]),
    *(["runs", "follow", name] for name in ODD[4:]),
    *(["runs", "list", "--url", url] for url in URLS),
    *(["exec", "--url", url, "--", "true"] for url in URLS),
    *(["exec", "--timeout", number, "--", "true"] for number in NUMBERS),
    *(["clusters", "add", "a", "--ttl", number] for number in NUMBERS),
    *(["exec", "--kubeconfig", file, "--", "true"] for file in FILES),
    *(["runs", "list", "--ca-file", file, "--url", "https://127.0.0.1:1"] for file in FILES),
    *(["runs", "list", "--token-file", file] for file in FILES),
    *(["runs", "list", "--token", token] for token in ("a b", "ä", "\n", "\udcff", "a" * 100_000)),
    *(["policy", "check", file] for file in FILES),
    *(["policy", "test", "--principal", "a", "--file", file, "--server", "https://h"] for file in FILES),
    *(["token", name] for name in ODD if name != "A"),
    *(["token", "a", "--file", file] for file in ("/", "/nowhere/at/all", "a" * 5000, "/proc/version")),
    *(["serve", "--port", number] for number in NUMBERS),
    *(["serve", "--host", host, "--insecure-no-auth"] for host in HOSTS),
    *(["serve", "--auth-tokens", file] for file in FILES[1:3]),
    *(["serve", "--oidc-issuer", url, "--oidc-audiences", "a"] for url in ("x", "http://x", "https://",
    "http://[")),
    *(["serve", "--policy", file] for file in FILES[1:3]),
    ["serve", "--tls-key", "/nowhere"], ["serve", "--tls-certificate", "/nowhere"], ["serve", "--log-format",
    "xml"],
    ["serve", "--tls-certificate", "/etc/hostname", "--tls-key", "/etc/hostname"],
    ["serve", "--runner-tolerations", "{"], ["serve", "--runner-node-selector", "[]"], ["serve", "--local-dir",
    "/dev/null"],
    ["serve", "--executor", "kubernetes", "--kubeconfig", "/nowhere"], ["clean"], ["clean", "--executor",
    "kubernetes",
     "--kubeconfig", "/nowhere"], ["config", "--port", "x"], ["completion"], ["completion", "tcsh"],
     ["completion", ""],
    ["serve", "--audit-log", "/nowhere/at/all"], ["exec"], ["exec", "--"], ["exec", "--cluster", "a",
    "--context", "b", "--", "x"],
]  # fmt: skip


def ended(words: list[str]) -> object:
    """The exit code. An exception would be the traceback."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code


def test_there_are_many() -> None:
    assert len(CASES) + len(TEXTS) > 200


@pytest.mark.parametrize("words", CASES, ids=lambda words: repr(words)[:60])
def test_what_is_wrong_is_said(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        if name.startswith(("K8S_MCP_", "KUBECONFIG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("K8S_MCP_URL", NOBODY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", None)
    assert ended(words) in {1, 2, 125}
    said = capfd.readouterr().err
    assert said
    assert "Traceback" not in said


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_wrong_with_a_kubeconfig_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(text)
    words = [*K8S_MCP, "exec", "--url", NOBODY, "--kubeconfig", "config", "--", "true"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("k8s-mcp: the kubeconfig config")
    assert done.stderr.count("\n") == 1
