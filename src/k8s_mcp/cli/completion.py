"""`k8s-mcp completion`: what makes bash, zsh and fish complete the commands, made from their parsers."""

import argparse
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

_FILES = ("FILE", "VALUE")

_BASH = """\
_k8s_mcp() {
    local cur=${COMP_WORDS[COMP_CWORD]} i words path="${COMP_WORDS[1]-}"
    for ((i = 1; i < COMP_CWORD; i++)); do [ "${COMP_WORDS[i]}" = -- ] && return; done
    [ "$COMP_CWORD" -gt 2 ] && path="$path ${COMP_WORDS[2]}"
    [ "$COMP_CWORD" -le 1 ] && path=
    case $path in
CASES
        *) words= ;;
    esac
    case ${COMP_WORDS[COMP_CWORD-1]} in
        FILE_OPTIONS) COMPREPLY=($(compgen -f -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    esac
}
complete -o bashdefault -F _k8s_mcp k8s-mcp
"""
_ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


@dataclass(frozen=True)
class _Command:
    """`path` is how it is called: `clusters add`."""

    path: str
    options: tuple[tuple[str, str, bool], ...]  # flag, help, whether a file follows
    actions: tuple[tuple[str, str], ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp completion`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Print what makes a shell complete k8s-mcp's commands and options."
    parser.epilog = """\
bash:  echo 'source <(k8s-mcp completion bash)' >> ~/.bashrc
zsh:   echo 'source <(k8s-mcp completion zsh)' >> ~/.zshrc
fish:  k8s-mcp completion fish > ~/.config/fish/completions/k8s-mcp.fish"""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=completion)


def completion(options: argparse.Namespace) -> int:
    """Print it; the exit code."""
    from k8s_mcp.cli.main import COMMANDS, parser_of  # which imports this file

    top = _Command("", (("--help", "", False), ("--version", "", False)), _described(COMMANDS))
    commands = [top, *(one for name in COMMANDS for one in _commands(name, parser_of(name)))]
    match options.shell:
        case "fish":
            print("\n".join(_fish(commands)))
        case "zsh":
            print(_ZSH + _bash(commands), end="")
        case _:
            print(_bash(commands), end="")
    return 0


def _described(commands: Mapping[str, tuple[str, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, (text, _) in commands.items())


def _commands(path: str, parser: argparse.ArgumentParser) -> Iterator[_Command]:
    options: list[tuple[str, str, bool]] = []
    actions: list[tuple[str, str]] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 # argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            below |= cast("dict[str, argparse.ArgumentParser]", cast("Any", action).choices)
            actions += [(str(one.dest), str(one.help)) for one in action._choices_actions]  # noqa: SLF001
        elif not action.option_strings and action.choices:
            actions += [(str(choice), "") for choice in action.choices]
        text = str(action.help or "").replace("%%", "%")
        options += [(flag, text, action.metavar in _FILES) for flag in action.option_strings]
    yield _Command(path, tuple(options), tuple(actions))
    for name, one in below.items():
        yield from _commands(f"{path} {name}", one)


def _bash(commands: list[_Command]) -> str:
    cases: list[str] = []
    for command in sorted(commands, key=lambda one: -len(one.path)):
        words = [name for name, _ in command.actions] + [flag for flag, _, _ in command.options]
        pattern = f'"{command.path}"' + (f'|"{command.path} "*' if command.path else "")
        cases.append(f'        {pattern}) words="{" ".join(words)}" ;;')
    files = sorted({flag for one in commands for flag, _, is_file in one.options if is_file})
    return _BASH.replace("CASES", "\n".join(cases)).replace("FILE_OPTIONS", "|".join(files))


def _fish(commands: list[_Command]) -> Iterator[str]:
    yield "complete -c k8s-mcp -f"
    for command in commands:
        first, _, second = command.path.partition(" ")
        condition = f"__fish_seen_subcommand_from {first}" if first else "__fish_use_subcommand"
        if second:
            condition += f"; and __fish_seen_subcommand_from {second}"
        where = f"complete -c k8s-mcp -n {shlex.quote(condition)}"
        for name, text in command.actions:
            yield f"{where} -a {name} -d {shlex.quote(text)}"
        for flag, text, is_file in command.options:
            name = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            yield f"{where} {name} -d {shlex.quote(text)}{' -r -F' if is_file else ''}"
