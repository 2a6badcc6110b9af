"""`k8s-mcp config` says what holds and where it is from; `serve --help` has groups; completion knows every option."""

import json
import shutil
import subprocess

import pytest

from k8s_mcp.cli.main import COMMANDS, main
from k8s_mcp.settings import HEADINGS, Settings
from tests.support.execute import k8s_mcp

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
    for shell, text in (("fish", fish), ("zsh", zsh)):
        if shutil.which(shell):
            subprocess.run([shell, "--no-execute"], input=text, text=True, check=True)
