"""Running other programs, and waiting for what they promise."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import ClusterError


def say(message: str) -> None:
    """Tell the person at the terminal; stdout is kept for the line that a shell evaluates."""
    print(message, file=sys.stderr, flush=True)


def run(*argv: str | Path, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its stdout; ClusterError with its stderr if it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]}: no such program") from error
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def problem_of(*argv: str | Path) -> str | None:
    """None if the program succeeds, else why it did not: a probe for `wait_for`."""
    try:
        run(*argv)
    except ClusterError as error:
        return str(error)
    return None


def wait_for(what: str, probe: Callable[[], str | None], seconds: float = 60, log: Path | None = None) -> None:
    """Ask `probe` until it reports no problem; when time is up, ClusterError with the last one and the log's end."""
    deadline = time.monotonic() + seconds
    while problem := probe():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} is not ready after {seconds:g} s: {problem}{end_of(log)}")
        time.sleep(0.1)


def end_of(log: Path | None, lines: int = 15) -> str:
    """The last lines of a log with its path, to be put at the end of an error message."""
    if log is None or not log.exists():
        return ""
    tail = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"\nThe end of its log, {log}:", *tail])
