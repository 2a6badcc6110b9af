"""`k8s-mcp exec`: a command on a service as if it ran here, with its output, its exit code, and Ctrl-C."""

import argparse
import os
import select
import signal
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from types import FrameType

from k8s_mcp.cli.changes import say_changes
from k8s_mcp.cli.start_notice import StartNotice
from k8s_mcp.cli.tell import printable
from k8s_mcp.client.event_source import Control, Lines
from k8s_mcp.client.remote_run import RemoteRun, ServiceError
from k8s_mcp.client.request import run_request
from k8s_mcp.client.service import InputError, UsageError, service_of

FAILED, TIMED_OUT, CANCELLED, CLOSED, USAGE = 125, 124, 130, 141, 2
"""Exit codes of our own, as docker, timeout and shells have them. Other codes are the remote command's."""

_FILES = {"stdout": 1, "stderr": 2}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CANCEL_SECONDS = 20.0  # for the final event, once the service was asked to cancel: commands have a grace period
_START_SECONDS = 2.0  # for the run's id, without which it cannot be asked


@dataclass(frozen=True)
class _End:
    exit_code: int
    message: str = ""
    cancel: bool = False


_News = int | _End | BaseException | None  # a signal, the end, a bug, or that the run has an id


def execute(options: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    _open_standard_files()
    if options.detach and options.changes:
        _tell("--changes are said at the end of a run; with --detach nobody waits for that")
        return USAGE
    try:
        service = service_of(options)
        run = RemoteRun(service, run_request(options, _tell), _tell)
        if options.detach:
            return _detach(run)
    except UsageError as error:
        _tell(str(error))
        return USAGE
    except (InputError, ServiceError) as error:
        _tell(str(error))
        return FAILED
    return attend(run, changes=options.changes)


def attend(run: RemoteRun, *, cancels: bool = True, changes: bool = False) -> int:
    """Copy a run's output to its end; the exit code. A signal ends that, and with `cancels` the run. With `changes`,
    say at the end what the command changed.
    """
    news: SimpleQueue[_News] = SimpleQueue()
    notice = StartNotice(run.is_pending, _tell, _write)
    with run, _signals_to(news.put):
        # The events have a thread of their own: signals are then acted on whatever that one waits for, the network
        # or a reader of our output.
        Thread(target=_follow, args=(run, news, notice), daemon=True).start()
        exit_code = _supervise(run, news, notice) if cancels else _look_on(news, notice)
        if changes:
            say_changes(run, _tell)
        return exit_code


def _detach(run: RemoteRun) -> int:
    """Print the run's id as soon as there is one. Raises ServiceError."""
    with run:
        with closing(run.events()) as events:
            for _ in events:
                if run.run_id:
                    break
        if run.run_id is None:
            raise ServiceError("the service did not say which run it is")
        window = run.resume_window()
    _write(_FILES["stdout"], f"{run.run_id}\n".encode())
    within = "its resume window (K8S_MCP_RESUME_WINDOW)" if window is None else f"{window:g} s"
    _tell(f"unless somebody follows it, the service cancels it after {within}: k8s-mcp runs follow {run.run_id}")
    return 0


def _next(news: SimpleQueue[_News], seconds: float | None, notice: StartNotice) -> int | _End | None:
    """Raises Empty after so many seconds, and what went wrong in the thread."""
    item = news.get(timeout=seconds)
    if item is not None:
        notice.over()
    if isinstance(item, BaseException):
        raise item
    return item


def _look_on(news: SimpleQueue[_News], notice: StartNotice) -> int:
    """Until the end, or a signal."""
    while (item := _next(news, None, notice)) is None:
        pass
    if isinstance(item, int):
        _tell("nobody follows the run here any more; within the service's resume window somebody else can")
        return 128 + item
    if item.message:
        _tell(item.message)
    return item.exit_code


def _supervise(run: RemoteRun, news: SimpleQueue[_News], notice: StartNotice) -> int:
    interrupted = 0
    asked = False
    deadline = 0.0
    while True:
        try:
            item = _next(news, max(0, deadline - time.monotonic()) if interrupted else None, notice)
        except Empty:
            _tell("the run has not ended yet; without a client the service cancels it")
            return interrupted
        if isinstance(item, _End):
            if item.cancel:
                _cancel(run)
            elif item.message and not interrupted:
                _tell(item.message)
            return interrupted or item.exit_code
        if isinstance(item, int) and not interrupted:
            interrupted = 128 + item
            deadline = time.monotonic() + _START_SECONDS
        if interrupted and run.run_id and not asked:
            asked = True
            deadline = time.monotonic() + _CANCEL_SECONDS
            if not _cancel(run):
                return interrupted


def _cancel(run: RemoteRun) -> bool:
    """Whether the service knows now."""
    if run.run_id is None:
        return False
    try:
        run.cancel()
    except ServiceError as error:
        _tell(f"could not cancel the run, but without a client the service does: {error}")
        return False
    return True


@contextmanager
def _signals_to(put: Callable[[int], None]) -> Generator[None]:
    """Report signals, except those that whoever started us has set to be ignored. A second Ctrl-C ends us at once."""
    seen = set[int]()

    def on_signal(number: int, _: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            os._exit(128 + number)
        seen.add(number)
        put(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow(run: RemoteRun, news: SimpleQueue[_News], notice: StartNotice) -> None:
    try:
        news.put(_copy_output(run, notice, lambda: news.put(None)))
    except ServiceError as error:
        news.put(_End(FAILED, str(error)))
    except BrokenPipeError:
        news.put(_End(CLOSED, cancel=True))
    except OSError as error:
        _tell(f"cannot write the output: {error.strerror}")
        news.put(_End(FAILED, cancel=True))
    except BaseException as error:  # noqa: BLE001 # raised again in the main thread
        news.put(error)


def _copy_output(run: RemoteRun, pending: StartNotice, on_started: Callable[[], None]) -> _End:
    for event in run.events():
        if isinstance(event, Lines):
            pending.over()
            _write(_FILES[event.stream], event.data)
            continue
        status = event.data.get("status")
        if status == "pending":
            pending.on(str(event.data.get("reason")), str(event.data.get("message")))
            continue
        if status == "started":
            on_started()
            pending.started()
            continue
        pending.over()
        if status == "gap":
            stream = event.data.get("stream") or "stdout and stderr"
            _tell(f"{event.data.get('missing')} lines of {stream} were lost on the way")
        elif (end := _end(event)) is not None:
            return end
    return _End(FAILED, "the service did not say how the command ended")


def _end(event: Control) -> _End | None:
    match event.data:
        case {"status": "done", "exit_code": int(exit_code)}:
            return _End(exit_code)
        case {"status": "timeout", "timeout": timeout}:
            return _End(TIMED_OUT, f"the command was ended at its timeout of {timeout} s")
        case {"status": "cancelled"}:
            return _End(CANCELLED, "the run was cancelled")
        case {"status": "error", "reason": reason, "message": message}:
            return _End(FAILED, f"{reason}: {message}")
        case _:
            return None


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:  # whoever started us has made it non-blocking
            select.select([], [file], [])


def _tell(text: str) -> None:
    """A line of our own on stderr. What a server says must not steer the terminal."""
    line = printable(f"k8s-mcp: {text}")
    with suppress(OSError):  # if nobody is there to be told
        _write(_FILES["stderr"], line.encode(errors="replace") + b"\n")


def _open_standard_files() -> None:
    """Whoever started us may have closed some: the next socket would get such a number, and our output with it."""
    for file in (0, 1, 2):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
