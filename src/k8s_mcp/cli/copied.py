"""A run's output copied to standard output and error, and how that ended."""

from collections.abc import Callable
from dataclasses import dataclass

from k8s_mcp.cli.broken_pipe import nobody_reads
from k8s_mcp.cli.standard_files import FILES
from k8s_mcp.cli.start_notice import StartNotice
from k8s_mcp.client.event_source import Control, Lines
from k8s_mcp.client.remote_run import Busy, RemoteRun, ServiceError

FAILED, TIMED_OUT, CANCELLED, CLOSED, USAGE = 125, 124, 130, 141, 2
"""Exit codes of our own, as docker, timeout and shells have them. Other codes are the remote command's."""


@dataclass(frozen=True)
class End:
    """How it ended. `cancel`: here and not there; `busy`: the service had no room, and nothing was started."""

    exit_code: int
    message: str = ""
    cancel: bool = False
    busy: bool = False


Write = Callable[[int, bytes], None]
Tell = Callable[[str], None]


def copy_output(run: RemoteRun, notice: StartNotice, on_started: Callable[[], None], write: Write, tell: Tell) -> End:
    """Until the run's end, or until the service or whoever reads the output is gone."""
    try:
        return _copy(run, notice, on_started, write, tell)
    except ServiceError as error:
        return End(FAILED, str(error), busy=isinstance(error, Busy))
    except OSError as error:
        if nobody_reads(error):
            return End(CLOSED, cancel=True)
        tell(f"cannot write the output: {error.strerror}")
        return End(FAILED, cancel=True)


def _copy(run: RemoteRun, notice: StartNotice, on_started: Callable[[], None], write: Write, tell: Tell) -> End:
    for event in run.events():
        if isinstance(event, Lines):
            notice.over()
            write(FILES[event.stream], event.data)
            continue
        status = event.data.get("status")
        if status == "pending":
            notice.on(str(event.data.get("reason")), str(event.data.get("message")))
            continue
        if status == "started":
            on_started()
            notice.started()
            continue
        notice.over()
        if status == "gap":
            stream = event.data.get("stream") or "stdout and stderr"
            tell(f"{event.data.get('missing')} lines of {stream} were lost on the way")
        elif (end := _end(event)) is not None:
            return end
    return End(FAILED, "the service did not say how the command ended")


def _end(event: Control) -> End | None:
    match event.data:
        case {"status": "done", "exit_code": int(exit_code)}:
            return End(exit_code)
        case {"status": "timeout", "timeout": timeout}:
            return End(TIMED_OUT, f"the command was ended at its timeout of {timeout} s")
        case {"status": "cancelled"}:
            return End(CANCELLED, "the run was cancelled")
        case {"status": "error", "reason": reason, "message": message}:
            return End(FAILED, f"{reason}: {message}")
        case _:
            return None


def cancel(run: RemoteRun, tell: Tell) -> bool:
    """Ask the service to end it. Whether the service knows now."""
    if run.run_id is None:
        return False
    try:
        run.cancel()
    except ServiceError as error:
        tell(f"could not cancel the run, but without a client the service does: {error}")
        return False
    return True
