"""Directories of runs and of services: made for one user alone, locked, removed with their processes."""

import fcntl
import os
import shutil
import signal
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from k8s_mcp.errors import StartError
from k8s_mcp.models import RunSpec

_KILL_ROUNDS = 100  # each kills all that the last one's victims had just started


def default_directory() -> Path:
    """Where runs are kept unless set otherwise: in memory if possible."""
    memory = Path("/dev/shm")  # noqa: S108
    name = f"k8s-mcp-{os.getuid()}"
    if os.access(memory, os.W_OK):
        return memory / name
    return Path(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/var/tmp") / name  # noqa: S108


def make_private(directory: Path) -> None:
    """Make `directory`, or accept it only if it is ours alone: others can create names in a shared parent."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise StartError(
            f"{directory} must be a directory of this user's with mode 0700; remove it or set K8S_MCP_LOCAL_DIR"
        )


def write_run(directory: Path, spec: RunSpec) -> None:
    """Make the directory of a run, with the files that the runner reads."""
    directory.mkdir(mode=0o700)
    (directory / "work").mkdir(mode=0o700)
    files = {
        "id": spec.run_id,
        "command": spec.command,
        "timeout": str(spec.timeout),
        "kubeconfig": spec.kubeconfig,
    }
    if spec.stdin is not None:
        files["stdin"] = spec.stdin
    for name, content in files.items():
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content.encode())


def lock(directory: Path) -> int:
    """A descriptor that locks `directory` for this process alone, until it is closed or the process ends."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Hold the lock of `lock` for as long as the context lasts."""
    fd = lock(directory)
    try:
        yield
    finally:
        os.close(fd)


def remove_if_abandoned(directory: Path) -> None:
    """Remove the directory of a service if that is no more, with all processes of its runs."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its service lives
    else:
        kill_all_of(directory)
        with suppress(OSError):
            remove(directory)
    finally:
        os.close(fd)


def remove(directory: Path) -> None:
    """Remove it with all that is in it, also from directories that the command made read-only."""
    with suppress(FileNotFoundError):  # the command may have removed it itself
        try:
            shutil.rmtree(directory)
        except PermissionError:
            directory.chmod(0o700)
            for path, names, _ in os.walk(directory):
                for child in (Path(path, name) for name in names):
                    if not child.is_symlink():
                        child.chmod(0o700)
            shutil.rmtree(directory)


def kill_all_of(directory: Path) -> None:
    """Kill every process whose HOME is inside `directory`:

    the commands of lost runners, and whatever they started.
    """
    home = b"HOME=" + bytes(directory) + b"/"
    for _ in range(_KILL_ROUNDS):
        pids = [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _began_with(entry, home)
        ]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _began_with(process: Path, variable: bytes) -> bool:
    """Whether `process` was started with an environment variable that begins so."""
    try:
        environment = (process / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(value.startswith(variable) for value in environment.split(b"\0"))
