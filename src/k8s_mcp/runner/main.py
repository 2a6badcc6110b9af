"""The runner's options and files, and the order of things around one command.

The run comes in a directory (`--run`), one value a file: `id`, `command`, `timeout` (seconds), `kubeconfig`, and
when there are any `stdin` and `proxies` (ports to wait for). Options, each `--name=value`:

    --run=DIR               where those files are
    --work=DIR              the command's home and current directory; its kubeconfig is copied there
    --grace=SECONDS         from SIGTERM to SIGKILL, 5 by default
    --raw=yes               standard output is a pipe that nobody else writes to, and no pod's log: raw frames
    --rate=BYTES            most bytes of frames a second in long output, which a pod's log and its follower can take
    --termination-log=FILE  write the exit frame there, too
    --lifeline=yes          when standard input ends, whoever started us is gone: end the command, remove the files
    --wait=yes              the files come later: the pod is a warm one, and waits for the run that claims it
"""

import os
import time

from k8s_mcp.runner import process
from k8s_mcp.runner.arrival import PLACE, Arrival
from k8s_mcp.runner.frames import EXIT, HELLO, NEVER_STARTED, RECORDED, WAITING, Encoder
from k8s_mcp.runner.supervise import Supervisor

_PROXY_SECONDS = 60.0  # on a crowded node it starts that much later than we do
_PROXY_POLL = 0.005
_RECORD_SECONDS = 1.0  # it waits for requests that are still open, but not so long
_RECORD_REQUEST = b"GET /.gate/recorded HTTP/1.0\r\n\r\n"
_RECORD_BYTES = 4096
_SIGTERM_CODE = 128 + 15
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(arguments: list[str]) -> int:
    """Run the command of `--run`; the exit code is the command's, 124 at the timeout, 125 when it could not be
    started.
    """
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    run, work = options["run"], options["work"]
    supervisor = Supervisor(
        Encoder(raw="raw" in options),
        grace=float(options.get("grace", "5")),
        rate=float(options.get("rate", "0")),
        lifeline="lifeline" in options,
    )
    process.harden()
    if "file-size" in options:
        process.limit_files(int(options["file-size"]))
    if "wait" in options:
        if not _claimed(run, supervisor):
            _say_exit(supervisor, NEVER_STARTED, options)
            return _SIGTERM_CODE
        run = os.path.join(run, PLACE)
    supervisor.say(HELLO)
    kubeconfig = os.path.join(work, f"kubeconfig-{_read(run, 'id').decode()}.yaml")
    code = 125
    try:
        _write(kubeconfig, _read(run, "kubeconfig"))
        _await_proxies(run, supervisor)
        argv = ["bash", "-c", _read(run, "command").decode()]
        timeout = float(_read(run, "timeout"))
        code = supervisor.run(argv, _environment(work, kubeconfig), work, _stdin(run), timeout)
        outcome = f"{supervisor.status} {code}"
        recorded = _recorded(run)
        if recorded:
            supervisor.say(RECORDED, recorded)
    except OSError as error:
        outcome = f"error - {error}"
    finally:
        _remove(kubeconfig)
    _say_exit(supervisor, outcome, options)
    if supervisor.abandoned:
        _remove_tree(run)
    return code


def _claimed(run: str, supervisor: Supervisor) -> bool:
    """Wait for the run that this pod is for; False when the pod is to end before there is one."""
    import socket  # noqa: F401 # pyright: ignore[reportUnusedImport] - now there is time for it

    arrival = Arrival(run, supervisor.signals)
    supervisor.say(WAITING)
    try:
        while not supervisor.is_told_to_end():
            if arrival.wait():
                return True
        return False
    finally:
        arrival.close()


def _say_exit(supervisor: Supervisor, outcome: str, options: dict[str, str]) -> None:
    frame = supervisor.say(EXIT, outcome)
    if "termination-log" in options:
        _write_log(options["termination-log"], frame)


# The quotes make kubectl start it through a shell.
_NO_EDITOR = (
    """sh -c 'echo "there is no editor here: use kubectl patch, set, or apply -f - instead" >&2; exit 1' --"""
)


def _environment(work: str, kubeconfig: str) -> dict[str, str]:
    """No program in it finds a terminal or a person: pagers print, and editors fail at once instead of waiting.

    Of ours it has PATH, and BASH_ENV where there is one: the runner image has, the local executor gives us none.
    """
    return {
        **({"BASH_ENV": os.environ["BASH_ENV"]} if "BASH_ENV" in os.environ else {}),
        "EDITOR": _NO_EDITOR,
        "HOME": work,
        "KUBE_EDITOR": _NO_EDITOR,
        "KUBECONFIG": kubeconfig,
        "LANG": "C.UTF-8",
        "PAGER": "cat",
        "PATH": os.environ.get("PATH", _DEFAULT_PATH),
        "SHELL": "/bin/bash",
        "TERM": "dumb",
        "TMPDIR": work,
        "VISUAL": _NO_EDITOR,
    }


def _stdin(run: str) -> int:
    """A descriptor to read the run's stdin from:

    in memory, so that a command which does not read it blocks nobody.
    """
    try:
        content = _read(run, "stdin")
    except FileNotFoundError:
        return os.open(os.devnull, os.O_RDONLY)
    fd = os.memfd_create("stdin")
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _await_proxies(run: str, supervisor: Supervisor) -> None:
    """Wait until every credential proxy (the ports in the file `proxies`) takes connections: they start beside us.
    Or until we are to end.
    """
    if not os.path.exists(os.path.join(run, "proxies")):
        return
    import socket

    deadline = time.monotonic() + _PROXY_SECONDS
    for port in _read(run, "proxies").split():
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise OSError(f"the credential proxy did not start within {_PROXY_SECONDS:g} s") from None
                if supervisor.is_told_to_end():
                    return
                time.sleep(_PROXY_POLL)


def _recorded(run: str) -> str:
    """What the gate says about its record, `LINES OPEN`: now that the command has ended, nobody asks for more.

    Empty where there is none, or where it does not say: then a reader of the record has to wait for its end.
    """
    try:
        port = _read(run, "proxies").partition(b" ")[0]
    except FileNotFoundError:
        return ""
    if not port:
        return ""
    import socket

    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", int(port)), _RECORD_SECONDS) as gate:
            gate.sendall(_RECORD_REQUEST)
            while len(answer) < _RECORD_BYTES and (more := gate.recv(_RECORD_BYTES)):
                answer += more
    except OSError:
        return ""
    numbers = answer.partition(b"\r\n\r\n")[2].split()
    return b" ".join(numbers).decode() if len(numbers) == 2 and all(map(_is_number, numbers)) else ""


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 20


def _read(run: str, name: str) -> bytes:
    with open(os.path.join(run, name), "rb") as file:
        return file.read()


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _write_log(path: str, frame: bytes) -> None:
    with open(path, "wb") as file:
        file.write(frame)


def _remove(path: str) -> None:
    directory = os.path.dirname(path)
    try:
        if not os.access(directory, os.W_OK | os.X_OK):
            os.chmod(directory, 0o700)  # the command made it read-only
        os.unlink(path)
    except OSError:
        pass  # the command removed it itself, or the way to it; how it ended must be reported all the same


def _remove_tree(path: str) -> None:
    import shutil

    for directory, names, _ in os.walk(path):
        for child in (os.path.join(directory, name) for name in names):
            if not os.path.islink(child):
                os.chmod(child, 0o700)  # the command may have made it read-only, as Go does with its module cache
    shutil.rmtree(path)
