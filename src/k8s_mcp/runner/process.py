"""Starting the command, and ending everything it started.

Sources: prctl(2), PR_SET_CHILD_SUBREAPER(2const), PR_SET_PDEATHSIG(2const), proc(5).
"""

import os
import sys

from k8s_mcp.runner.quick import prctl, signal

_MOST_DESCRIPTORS = 1 << 20
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def limit_files(size: int) -> None:
    """Nothing from here on writes a file of more than `size` bytes, and cannot undo that: setrlimit(2).

    The termination log of a container is a file on its node's disk. The command can write it, and no limit of
    Kubernetes' counts it: https://github.com/kubernetes/kubernetes/issues/122224.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Process:
    """A started command: its pid and the read ends of its stdout and stderr."""

    __slots__ = ("pid", "stderr", "stdout")

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr


def harden() -> None:
    """Shut the command out of this process, and adopt every process the command leaves behind.

    Not dumpable, nobody of the same user can open our file descriptors, memory or environment through /proc. As
    subreaper we become the parent of orphaned descendants, so none of them is lost sight of. Raises OSError when the
    kernel refuses.
    """
    prctl(_PR_SET_DUMPABLE, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def start(argv: list[str], env: dict[str, str], directory: str, stdin: int) -> Process:
    """Start `argv` in a session of its own, with the file descriptor `stdin` as its standard input.

    Raises OSError (from exec) when the program cannot be started. The command dies with this process, even if that is
    killed.
    """
    out_read, out_write = _wide_pipe()
    err_read, err_write = _wide_pipe()
    failure_read, failure_write = os.pipe()
    runner = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, env, directory, (stdin, out_write, err_write), failure_write, runner)
    for fd in (out_write, err_write, failure_write):
        os.close(fd)
    failure = os.read(failure_read, 16)
    os.close(failure_read)
    if failure:
        os.waitpid(pid, 0)
        number = int(failure)
        raise OSError(number, os.strerror(number), argv[0])
    return Process(pid, out_read, err_read)


def signal_all(number: int) -> bool:
    """Send a signal to every descendant of this process. Says whether there was one."""
    if os.getpid() == 1:
        return _send(-1, number)
    return any([_send(pid, number) for pid in _descendants(os.getpid())])


def reap(wanted: int) -> int | None:
    """Collect all children that have ended; the wait status of `wanted` if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            found = status


def has_children() -> bool:
    """Whether any child, ended or not, is still ours."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def is_one_ready_to_run() -> bool:
    """Whether a descendant of this process wants a processor: it is not silent, it has not had its turn yet."""
    states = (_state(pid) for pid in _descendants(os.getpid()))
    return any(state is not None and state[0] == b"R" for state in states)


def unread(pipe: int) -> int:
    """How many bytes `pipe` holds."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _wide_pipe() -> tuple[int, int]:
    import fcntl

    read, write = os.pipe()
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    except PermissionError:
        pass  # the user's pipe budget is spent: the default 64 KiB serves as well, only slower
    return read, write


def _become(
    argv: list[str],
    env: dict[str, str],
    directory: str,
    streams: tuple[int, int, int],
    failure: int,
    runner: int,
) -> None:
    """In the forked child: turn into the command. Never returns."""
    try:
        os.setsid()
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        os.closerange(3, failure)  # whatever else we were started with is not the command's
        os.closerange(failure + 1, _MOST_DESCRIPTORS)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != runner:
            os._exit(1)
        _be_first_to_die_of_memory()
        for number in (
            signal.SIGPIPE,
            signal.SIGXFSZ,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGCHLD,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(directory)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(failure, b"%d" % (error.errno or 1))
    finally:
        os._exit(127)


def _be_first_to_die_of_memory() -> None:
    """When memory runs out the kernel should take the command and leave the runner to report it."""
    # /proc/self belongs to root while we are not dumpable; exec comes before any code of the caller's.
    prctl(_PR_SET_DUMPABLE, 1)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # only a preference: some sandboxes have no such file, and the command runs as well without it


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # it changed its user (sudo): nothing we may signal
    return True


def _descendants(root: int) -> list[int]:
    """Every living descendant of `root`, from one pass over /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = _living_parent(name)
            if parent is not None:
                children.setdefault(parent, []).append(int(name))
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _living_parent(pid: str) -> int | None:
    state = _state(pid)
    return None if state is None or state[0] in (b"Z", b"X") else int(state[1])


def _state(pid: str | int) -> list[bytes] | None:
    """A process's state, its parent, and what follows them in proc_pid_stat(5); None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
