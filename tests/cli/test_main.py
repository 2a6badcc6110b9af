"""`k8s-mcp` starts fast: a subcommand imports only what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from k8s_mcp.cli.main import main
from tests.support.execute import Exec
from tests.support.prepared import Prepared
from tests.support.service import Service

LIST_MODULES = """
import sys
from k8s_mcp.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def execute(server: Service, tmp_path: Path, fake_kubeconfig: str, prepared: Prepared) -> Exec:
    """Runs commands on `server`, with the made-up kubeconfig."""
    return Exec(server.url, tmp_path, fake_kubeconfig, prepared)


def imported(execute: Exec, *words: str) -> set[str]:
    """The packages that a call of `k8s-mcp` imports."""
    call = [sys.executable, "-c", LIST_MODULES, *words]
    result = subprocess.run(call, env=execute.environment, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in result.stderr.split()}


def test_exec_imports_nothing_of_the_service(execute: Exec) -> None:
    packages = imported(execute, "exec", "--", "true")
    assert "yaml" in packages
    slow = {"httpx2", "httpx", "asyncio", "pydantic"}
    assert not packages & {*slow, "fastapi", "starlette", "uvicorn", "kubernetes", "mcp", "pydantic_settings"}


@pytest.mark.parametrize("words", [["--help"], ["exec", "--help"], ["--version"]])
def test_help_imports_next_to_nothing(execute: Exec, words: list[str]) -> None:
    packages = imported(execute, *words)
    assert not packages & {"httpx2", "pydantic", "yaml", "asyncio", "fastapi", "uvicorn", "kubernetes", "mcp"}


@pytest.mark.parametrize("words", [[], ["bogus"], ["--", "serve"], ["--bogus", "serve"], ["serv"]])
def test_the_first_word_must_be_a_subcommand(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["serve", "check", "clean", "token", "exec", "clusters", "policy"])
def test_what_is_wrong_with_a_subcommands_words_is_said_with_its_usage(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--bogus"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: k8s-mcp {name} ")
    assert f"\nk8s-mcp {name}: error: " in said
