"""Starting a component as a process of its own, and ending exactly that process.

A pid alone can come to mean somebody else's process. So what is kept is the pid with the time the kernel says it was
started and the boot that time counts from, and signals go through a pidfd.
"""

import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from .errors import ClusterError

# The shell is only a way to join the cgroup and leave the session before the program starts; each `exec` keeps the
# pid. The process is then nobody's child, so a test run that started it leaves no zombie behind when it dies.
_SPAWN = """
log=$1 cgroup=$2; shift 2
{ echo 0 >"$cgroup" && exec setsid "$@"; } </dev/null >>"$log" 2>&1 &
echo $!
"""


class _Identity(NamedTuple):
    pid: int
    started: int
    boot: str


def start(argv: list[str], pid_file: Path, log: Path, cgroup: Path) -> None:
    """Start a program in the background with an almost empty environment, so that no proxy setting leaks in."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    done = subprocess.run(
        ["sh", "-c", _SPAWN, "sh", str(log), str(cgroup), *argv],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"cannot start {argv[0]}: {done.stderr.strip()}")
    pid = int(done.stdout)
    started = _start_time(pid)
    if started is None:
        raise ClusterError(f"{argv[0]} ended at once; see {log}")
    pid_file.write_text(json.dumps(_Identity(pid, started, _boot())))


def pid_of(pid_file: Path) -> int | None:
    """The pid of the process that was started with this file, if that very process still runs."""
    if not pid_file.exists():
        return None
    identity = _Identity(*json.loads(pid_file.read_text()))
    same = identity.boot == _boot() and identity.started == _start_time(identity.pid)
    return identity.pid if same else None


def stop(pid_file: Path, how: signal.Signals = signal.SIGTERM, patience: float = 5) -> None:
    """End the process, by force when it takes longer than `patience` seconds; nothing if it already ended."""
    pid = pid_of(pid_file)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid_of(pid_file) == pid:  # the handle is that process's, and not its successor's
            _end(handle, how, patience)
    finally:
        os.close(handle)


def _end(handle: int, how: signal.Signals, patience: float) -> None:
    for one in (how, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(handle, one)
        except ProcessLookupError:
            return
        if select.select([handle], [], [], patience)[0]:
            return
    raise ClusterError(f"a process does not end within {patience:g} s of SIGKILL")


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when there is none, or only the remains of one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()  # the name before may contain anything
    return None if state in "ZX" else int(fields[18])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
