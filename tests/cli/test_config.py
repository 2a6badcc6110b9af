"""`k8s-mcp config` says what holds and where it is from; `serve --help` has groups; completion knows every option."""

import json
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from k8s_mcp.cli.main import COMMANDS, main
from k8s_mcp.settings import HEADINGS, Settings
from tests.support.execute import k8s_mcp
from tests.support.left_out import leave_out

TOKEN = "k8smcp_secret-of-somebody"


def test_config_says_where_each_setting_is_from() -> None:
    environment = {
        "K8S_MCP_PORT": "9100",
        "K8S_MCP_MAX_RUNS": "7",
        "K8S_MCP_NAMESPACE": "",
        "K8S_MCP_OIDC_ISSUER": f"https://someone:{TOKEN}@issuer.example.com",
        "K8S_MCP_TOKEN": TOKEN,
    }
    done = k8s_mcp("config", "--json", "--max-runs", "8", **environment)
    assert TOKEN not in done.stdout + done.stderr
    found = {one["name"]: (one["value"], one["from"]) for one in json.loads(done.stdout)}
    assert {f"K8S_MCP_{name.upper()}" for name in Settings.model_fields} < found.keys()
    assert found["K8S_MCP_PORT"] == ("9100", "K8S_MCP_PORT")
    assert found["K8S_MCP_MAX_RUNS"] == ("8", "--max-runs")
    assert found["K8S_MCP_NAMESPACE"] == ("k8s-mcp", "default")
    assert found["K8S_MCP_OIDC_ISSUER"][0] == "https://[masked]@issuer.example.com"
    assert found["K8S_MCP_TOKEN"][0] == "[masked]"
    table = k8s_mcp("config", **environment).stdout
    assert table.splitlines()[0].split() == ["SETTING", "VALUE", "FROM"]
    assert TOKEN not in table


@pytest.mark.parametrize("command", ["serve", "check", "clean", "config"])
def test_help_has_groups(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    places = [text.index(f"\n{heading}:\n") for heading in HEADINGS.values()]
    assert places == sorted(places)
    assert places[0] < text.index("\n  --host ") < places[1]
    assert places[-1] < text.index("\n  --local-dir ")


def completions(*words: str) -> list[str]:
    """What bash offers behind those words; the last one is being typed."""
    script = """
        source <(printf %s "$SCRIPT")
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _k8s_mcp
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = {"SCRIPT": k8s_mcp("completion", "bash").stdout, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["k8s-mcp", ""], sorted(COMMANDS)),
        (["k8s-mcp", "cl"], ["clean", "clusters"]),
        (["k8s-mcp", "clusters", ""], ["add", "list", "remove"]),
        (["k8s-mcp", "clusters", "add", "--re"], ["--renew"]),
        (["k8s-mcp", "runs", "follow", "x", "--ur"], ["--url"]),
        (["k8s-mcp", "serve", "--runner-t"], ["--runner-tmp-size", "--runner-tolerations"]),
        (["k8s-mcp", "serve", "--port", "1", "--ho"], ["--host"]),
        (["k8s-mcp", "completion", "f"], ["fish"]),
        (["k8s-mcp", "exec", "--", "--"], []),
    ],
)
def test_bash_completes(words: list[str], some: list[str]) -> None:
    found = completions(*words)
    assert set(some) <= set(found)
    assert not words[-1] or found == some


def test_fish_and_zsh_know_every_command_and_option() -> None:
    fish = k8s_mcp("completion", "fish").stdout
    zsh = k8s_mcp("completion", "zsh").stdout
    for name in COMMANDS:
        assert f" -a {name} -d " in fish
        assert f'"{name}"' in zsh
    for name in Settings.model_fields:
        assert f" -l {name.replace('_', '-')} " in fish
        assert f"--{name.replace('_', '-')}" in zsh
    assert "bashcompinit" in zsh


def test_fish_completes(tmp_path: Path) -> None:
    fish = _installed("fish")
    (tmp_path / "known.crt").touch()
    asked = {
        "": set(COMMANDS),
        "clusters ": {"add", "list", "remove"},
        "clusters add --rene": {"--renew"},
        "serve --runner-to": {"--runner-tolerations"},
        "completion f": {"fish"},
        "exec --ca-file kno": {"known.crt"},
        "exec -- kno": set[str](),
    }
    lines = [f"complete -C 'k8s-mcp {line}'; echo /" for line in asked]
    script = "\n".join(["source (printf '%s' $SCRIPT | psub)", *lines])
    environment = {**os.environ, "SCRIPT": k8s_mcp("completion", "fish").stdout, "HOME": str(tmp_path)}
    done = subprocess.run(
        [fish, "--no-config", "--command", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    answers = [{line.split("\t")[0] for line in one.splitlines() if line} for one in done.stdout.split("/\n")]
    assert dict(zip(asked, answers, strict=False)) == asked


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("runs can", "runs cancel "),
        ("clusters add --rene", "clusters add --renew "),
        ("serve --runner-to", "serve --runner-tolerations "),
        ("exec --ca-file kno", "exec --ca-file known.crt "),
    ],
)
def test_zsh_completes(tmp_path: Path, typed: str, completed: str) -> None:
    zsh = _installed("zsh")
    (tmp_path / "known.crt").touch()
    (tmp_path / "script").write_text(k8s_mcp("completion", "zsh").stdout)
    terminal, its_end = pty.openpty()
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb"}
    process = subprocess.Popen(
        [zsh, "-f", "-i"],
        env=environment,
        cwd=tmp_path,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    try:
        os.write(terminal, b"source script; print rea''dy\n")
        _shown(terminal, "ready\r\n")
        os.write(terminal, f"k8s-mcp {typed}\t".encode())
        _shown(terminal, f"k8s-mcp {completed}")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _installed(shell: str) -> str:
    return shutil.which(shell) or leave_out(f"{shell} is not installed")


def _shown(terminal: int, text: str, seconds: float = 30) -> None:
    """Wait until the terminal shows it."""
    shown, until = b"", time.monotonic() + seconds
    while text.encode() not in shown:
        assert select.select([terminal], [], [], max(until - time.monotonic(), 0))[0], shown
        shown += os.read(terminal, 4096)
