"""docs/cli.md, made from the program: `.venv/bin/python -m tests.support.cli_page` writes it.

Commands and options are the parsers'; messages are the texts that the client's sources raise or tell, with `…` for
what is filled in.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from k8s_mcp.cli import copied
from k8s_mcp.cli.main import COMMANDS, parser_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
_SETTINGS = ("serve", "check", "clean", "config")
_TELLING = frozenset(("ServiceError", "UsageError", "InputError", "FileError", "StartError", "ValueError"))
_SAYING = frozenset(("tell", "_tell", "say", "_fail", "End"))
_SOURCES = ("client", "cli")

_BEGINNING = """\
# The command k8s-mcp
All commands, their options, exit codes and messages. This page is made from the program:
`.venv/bin/python -m tests.support.cli_page`.

Output goes to standard output, and what `k8s-mcp` says itself to standard error, a line each, with `k8s-mcp: ` before
it. Completion for bash, zsh and fish: `k8s-mcp completion --help`.

## Exit codes
| code | of | means |
|---|---|---|
"""

CODES = (
    (0, "all", "it is done; `check`: runs will work; `policy test`: allowed"),
    (1, "all but `exec`", "it failed, and why is on standard error; `policy`: refused, or not right"),
    (2, "all", "wrong options, or settings that make no sense"),
    (copied.TIMED_OUT, "`exec`, `runs follow`", "the command was ended at its timeout"),
    (copied.FAILED, "`exec`, `runs follow`", "the service or the run failed; why is on standard error"),
    (copied.CANCELLED, "all", "ended by Ctrl-C (other signals: 128 and their number); `exec`: or cancelled"),
    (copied.CLOSED, "all", "the reader of the output is gone (`| head`)"),
    ("any other", "`exec`, `runs follow`", "the command's own"),
)  # fmt: skip


def page() -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {whose} | {text} |\n" for code, whose, text in CODES)
    commands = "".join(_command(f"k8s-mcp {name}", parser_of(name), text) for name, (text, _) in COMMANDS.items())
    messages = "".join(f"| {text} |\n" for text in sorted(set(_messages())))
    return (
        f"{_BEGINNING}{codes}\n## Commands\n{commands}\n## Messages\n"
        "`…` is filled in: a name, an address, what a system said. What a service says is passed on as it is."
        "\n\n| message |\n|---|\n" + messages
    )


def _command(call: str, parser: argparse.ArgumentParser, text: str) -> str:
    lines = [f"\n### {call}\n{_sentence(text)}\n"]
    if call.removeprefix("k8s-mcp ") in _SETTINGS:
        lines.append("Its options are the [settings](configuration.md), and:\n")
    rows: list[str] = []
    below: list[str] = []
    for action in parser._actions:  # argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            helps = {str(one.dest): str(one.help) for one in action._choices_actions}
            choices = cast("dict[str, argparse.ArgumentParser]", cast("Any", action).choices)
            below += [_command(f"{call} {name}", one, helps[name]) for name, one in choices.items()]
        elif action.dest != "help" and ("[K8S_MCP_" not in str(action.help) or not call.endswith(_SETTINGS)):
            rows.append(_row(action))
    if rows:
        lines.append("| option | |\n|---|---|\n" + "".join(rows))
    return "\n".join(lines) + "".join(below)


def _row(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    value = f" {action.metavar}" if action.option_strings and action.nargs != 0 and action.metavar else ""
    text = "the command: see above" if action.help == argparse.SUPPRESS else str(action.help or "")
    if action.choices and not text:
        text = ", ".join(map(str, action.choices))
    return f"| `{names}{value}` | {_cell(text.replace('%%', '%'))} |\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _messages() -> Iterator[str]:
    for folder in _SOURCES:
        for file in sorted((ROOT / "src" / "k8s_mcp" / folder).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield from _said(node)


def _said(call: ast.Call) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in _TELLING | _SAYING or name == "error":
        for argument in call.args:
            text = _text(argument)
            if " " in text.strip():
                yield _cell(f"… {text}" if name == "error" else text)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page())
