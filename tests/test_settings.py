"""Every setting is a variable and an option, the option wins, and what makes no sense is refused by name."""

import os
from typing import Any, Literal, get_args, get_origin

import pytest

from k8s_mcp.cli.main import main
from k8s_mcp.settings import PREFIX, Settings
from tests.support import configuration

USAGE_ERROR = 2
FIELDS = sorted(Settings.model_fields)
NONSENSE = "no-such-value"
TAKES_ANY_TEXT = {name for name in FIELDS if Settings.model_fields[name].annotation is str}
TAKES_WORDS = {name for name in FIELDS if get_args(Settings.model_fields[name].annotation)[:1] == (str,)} | {
    name for name in FIELDS if Settings.model_fields[name].annotation == list[str]
}
STRICT = [name for name in FIELDS if name not in TAKES_ANY_TEXT | TAKES_WORDS]
SAMPLES: dict[object, tuple[str, Any]] = {
    bool: ("true", True),
    int: ("1048576", 1048576),
    float: ("7.5", 7.5),
    str: ("some-text", "some-text"),
    list[str]: ("one, two,", ["one", "two"]),
    dict[str, str]: ('{"pool": "runners"}', {"pool": "runners"}),
    list[dict[str, Any]]: ('[{"key": "runners"}]', [{"key": "runners"}]),
}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def sample(name: str) -> tuple[str, Any]:
    """A value as text, and what it means; one that is not the default."""
    if name == "port":
        return "9097", 9097
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        last = get_args(annotation)[-1]
        return last, last
    text, value = SAMPLES[annotation]
    return ("false", False) if Settings.model_fields[name].default is value else (text, value)


def refusals(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What `k8s-mcp serve` says; it is made to end before it serves."""
    assert main(["serve", "--host", "0.0.0.0", *words]) == USAGE_ERROR
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = sample(name)
    assert Settings().model_dump()[name] != value  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv(variable(name), text)
    assert Settings().model_dump()[name] == value  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", FIELDS)
def test_an_empty_variable_counts_as_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings()  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv(variable(name), "")
    assert Settings() == default  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("command", ["serve", "check", "clean"])
def test_every_setting_is_an_option_explained_by_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in FIELDS:
        assert option(name) in text
        assert f"[{variable(name)}" in text.replace("\n", " ").replace("  ", "")


@pytest.mark.parametrize("name", STRICT)
def test_nonsense_in_a_variable_is_refused_by_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), NONSENSE)
    (said,) = refusals(capsys)
    assert said.startswith(f"k8s-mcp: {variable(name)} ({option(name)}): ")


@pytest.mark.parametrize("name", [name for name in STRICT if Settings.model_fields[name].annotation is not bool])
def test_the_option_wins(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), sample(name)[0])
    (said,) = refusals(capsys, option(name), NONSENSE)
    assert said.startswith(f"k8s-mcp: {variable(name)} ({option(name)}): ")
    monkeypatch.setenv(variable(name), NONSENSE)
    (said,) = refusals(capsys, option(name), sample(name)[0])
    assert "refusing to listen" in said


def test_all_mistakes_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusals(capsys, "--port", "99999", "--max-runs", "0", "--runner-tolerations", "[")
    assert [line.split()[1] for line in said] == ["K8S_MCP_PORT", "K8S_MCP_MAX_RUNS", "K8S_MCP_RUNNER_TOLERATIONS"]


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--prot", "80"])
    assert ended.value.code == USAGE_ERROR
    assert "--prot" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "k8s-mcp.example.com", "localhost.example.com"])
def test_without_authentication_only_this_machine_can_reach_it(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", host]) == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"refusing to listen on {host}" in said
    assert "--insecure-no-auth" in said


def test_the_documentation_has_every_setting() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run python -m tests.support.configuration"
