"""Records `terminal.cast`: `python -m docs.pictures.record`, with a service that $K8S_MCP_URL names.

It needs the Kubernetes executor, the cluster handle `prod`, and there a Deployment `web` in the namespace `shop`. The
commands are run as they are printed, in a terminal of their own, and written down with their times in asciinema's
format (https://docs.asciinema.org/manual/asciicast/v2/). `draw.py` makes the picture of it.
"""

import json
import os
import pty
import time
from pathlib import Path

CAST = Path(__file__).parent / "terminal.cast"
COLUMNS, ROWS = 100, 24
_PROMPT = "\x1b[32m$\x1b[0m "
_TYPED = 0.035
"""Seconds a letter takes to type."""
_READ = 1.4
"""Seconds to read what was printed."""

COMMANDS = (
    "k8s-mcp exec --cluster prod -- 'kubectl -n shop get deployments | sort -k4 -n'",
    "k8s-mcp exec --cluster prod -- 'kubectl config view --raw -o jsonpath={.users}; echo'",
    "k8s-mcp exec --cluster prod --read-only -- kubectl -n shop scale deployment web --replicas 0",
    "k8s-mcp exec --cluster prod --dry-run --changes -- kubectl -n shop delete deployment web",
)


def _output(command: str) -> list[tuple[float, str]]:
    """What `command` prints on its terminal, each piece with the seconds since its start."""
    started = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execvp("bash", ["bash", "-c", command])
    pieces: list[tuple[float, str]] = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append((time.monotonic() - started, piece.decode(errors="replace")))
    os.close(terminal)
    os.waitpid(pid, 0)
    return pieces


def main() -> None:
    """Write the recording."""
    now = 0.5
    events: list[tuple[float, str]] = []
    for command in COMMANDS:
        events.append((now, _PROMPT))
        for letter in command:
            now += _TYPED
            events.append((now, letter))
        events.append((now, "\r\n"))
        pieces = _output(command)
        events += [(now + at, piece) for at, piece in pieces]
        now += (pieces[-1][0] if pieces else 0) + _READ
    head = {"version": 2, "width": COLUMNS, "height": ROWS}
    lines = [json.dumps(head), *(json.dumps([round(at, 3), "o", piece]) for at, piece in events)]
    CAST.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
