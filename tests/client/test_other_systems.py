"""The client runs where Linux is not, as far as Linux can tell.

Nothing on its path is imported that other systems lack, and the type checker finds everything that it uses in the
standard library as Windows has it, which lacks the most.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.service import Service

_LACKING = (
    *("fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"),
    *("httptools", "uvicorn", "kubernetes", "fastapi", "mcp"),
)
"""Modules of the standard library for Unix alone; and of the service, which the client has no need of."""

_PROGRAM = """
import sys

for name in {lacking!r}:
    sys.modules[name] = None
from k8s_mcp.cli.main import main

code = main({words!r})
sys.stdout.flush()
with open({listed!r}, "a") as listed:
    for name, module in list(sys.modules.items()):
        if name.startswith("k8s_mcp"):
            print(module.__file__, file=listed)
sys.exit(code)
"""


def _client(listed: Path, url: str, kubeconfig: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`k8s-mcp WORDS` in a Python that lacks those; adds the files that it imports to `listed`."""
    program = _PROGRAM.format(lacking=_LACKING, words=list(words), listed=str(listed))
    given = {"PATH": os.environ["PATH"], "K8S_MCP_URL": url, "KUBECONFIG": str(kubeconfig)}
    return subprocess.run(
        [sys.executable, "-c", program], env=given, cwd=listed.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(180)
def test_client_needs_nothing_of_linux(server: Service, fake_kubeconfig: str, tmp_path: Path) -> None:
    kubeconfig, listed, policy = tmp_path / "kubeconfig", tmp_path / "listed", tmp_path / "policy.yaml"
    kubeconfig.write_text(fake_kubeconfig)
    policy.write_text("rules: [{name: all, principals: ['*'], own_kubeconfigs: true}]\n")

    def client(*words: str, code: int = 0) -> str:
        done = _client(listed, server.url, kubeconfig, *words)
        assert done.returncode == code, done.stderr
        return done.stdout

    assert client("exec", "--", "echo out; exit 3", code=3) == "out\n"
    run_id = client("exec", "--detach", "--", "echo later").strip()
    assert client("runs", "follow", run_id) == "later\n"
    assert run_id in client("runs", "list")
    client("clusters", "add", "mine", "--ttl", "60")
    assert "mine" in client("clusters", "list")
    assert client("exec", "--cluster", "mine", "--cluster", "mine", "--", "echo two") == "two\n"
    client("clusters", "remove", "mine")
    assert client("token", "alice", "--file", "tokens")
    assert client("token", "bob", "--file", "tokens")
    assert (tmp_path / "tokens").read_text().count("\n") == 2
    assert "1 rule" in client("policy", "check", str(policy))
    assert "access: full" in client("policy", "test", "--file", str(policy), "--principal", "alice")
    assert "complete" in client("completion", "bash")

    files = sorted({*listed.read_text().split(), *map(str, (ROOT / "src" / "k8s_mcp" / "client").glob("*.py"))})
    checked = subprocess.run(
        [Path(sys.executable).parent / "pyright", "--pythonplatform", "Windows", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
