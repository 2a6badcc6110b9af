"""Running other programs."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .errors import BuildError


def say(message: str) -> None:
    """Tell the person at the terminal; stdout is kept for the path that was asked for."""
    print(message, file=sys.stderr, flush=True)


def run(*argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program to its end, with what it prints on stderr; BuildError if it fails."""
    nothing, messages = subprocess.DEVNULL, sys.stderr.fileno()
    process = subprocess.Popen(argv, env=env, stdin=nothing, stdout=messages, process_group=0)
    try:
        exit_code = process.wait()
    except BaseException:  # interrupted: what it started ends with it
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if exit_code != 0:
        raise BuildError(f"{_shown(argv)}: exit {exit_code}; its messages are above")


def output(*argv: str | Path, stdin: str = "") -> str:
    """What a program prints; BuildError, with its messages, if it fails."""
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{_shown(argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def succeeds(*argv: str | Path) -> bool:
    """Whether a program that only answers a question says yes."""
    quiet = subprocess.DEVNULL
    return subprocess.run(argv, check=False, stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0


def _shown(argv: tuple[str | Path, ...]) -> str:
    return " ".join(str(word) for word in argv)
