"""A daemon for as long as a `with` block lasts."""

import os
import select
import socket
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import BuildError

_START_LIMIT = 60.0  # seconds
_STOP_LIMIT = 60.0


@contextmanager
def running(command: Sequence[str | Path], directory: Path) -> Generator[None]:
    """Start it, wait until it says that it is ready, and stop it at the end.

    It says so as to systemd (sd_notify(3)), on a socket in `directory`, where its log is kept, too. If this
    process dies, the daemon is told to stop.
    """
    log = directory / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as log_file:
        ready.bind(str(directory / "ready"))
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "ready")},
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,  # Ctrl-C is for the program that then stops it
        )
        try:
            if problem := _problem(process, ready):
                raise BuildError(f"{command[0]} {problem}; the end of its log:\n{_end_of(log)}")
            yield
        finally:
            _stop(process)


def _problem(process: subprocess.Popen[bytes], ready: socket.socket) -> str | None:
    """None once it is ready, else why it is not."""
    end = os.pidfd_open(process.pid)
    try:
        while True:
            readable, _, _ = select.select([ready, end], [], [], _START_LIMIT)
            if not readable:
                return f"was not ready after {_START_LIMIT:g} s"
            if end in readable:
                return f"ended with exit {process.wait()}"
            if b"READY=1" in ready.recv(4096).splitlines():
                return None
    finally:
        os.close(end)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
