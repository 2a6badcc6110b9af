"""`k8s-mcp exec`: a command on a service as if it ran here, with its output, its exit code, and Ctrl-C."""

import argparse
import time
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Thread

from k8s_mcp.cli.changes import say_changes
from k8s_mcp.cli.copied import FAILED, USAGE, End, cancel, copy_output
from k8s_mcp.cli.exec_several import execute_on
from k8s_mcp.cli.signals import signals_to
from k8s_mcp.cli.standard_files import FILES, open_all, tell, write
from k8s_mcp.cli.start_notice import StartNotice
from k8s_mcp.client.calls import stored_clusters
from k8s_mcp.client.remote_run import RemoteRun, ServiceError
from k8s_mcp.client.request import check_options, run_request
from k8s_mcp.client.service import InputError, UsageError, service_of

_CANCEL_SECONDS = 20.0  # for the final event, once the service was asked to cancel: commands have a grace period
_START_SECONDS = 2.0  # for the run's id, without which it cannot be asked

_News = int | End | BaseException | None  # a signal, the end, a bug, or that the run has an id


def execute(options: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    open_all()
    try:
        service = service_of(options)
        check_options(options)
        names: list[str] = options.cluster
        clusters = stored_clusters(service) if options.all_clusters else list(dict.fromkeys(names))
        request = run_request(options, tell)
        if options.all_clusters or len(clusters) > 1:
            return execute_on(service, request, clusters, changes=options.changes)
        run = RemoteRun(service, {**request, "cluster": clusters[0]} if clusters else request, tell)
        if options.detach:
            return _detach(run)
    except UsageError as error:
        tell(str(error))
        return USAGE
    except (InputError, ServiceError) as error:
        tell(str(error))
        return FAILED
    return attend(run, changes=options.changes)


def attend(run: RemoteRun, *, cancels: bool = True, changes: bool = False) -> int:
    """Copy a run's output to its end; the exit code. A signal ends that, and with `cancels` the run. With `changes`,
    say at the end what the command changed.
    """
    news: SimpleQueue[_News] = SimpleQueue()
    notice = StartNotice(run.is_pending, tell, write)
    with signals_to(news.put):
        # The events have a thread of their own: signals are then acted on whatever that one waits for, the network
        # or a reader of our output.
        Thread(target=_follow, args=(run, news, notice), daemon=True).start()
        exit_code = _supervise(run, news, notice) if cancels else _look_on(run, news, notice)
        if changes:
            say_changes(run, tell)
        return exit_code


def _detach(run: RemoteRun) -> int:
    """Print the run's id as soon as there is one. Raises ServiceError."""
    with closing(run.events()) as events:
        for _ in events:
            if run.run_id:
                break
    if run.run_id is None:
        raise ServiceError("the service did not say which run it is")
    window = run.resume_window()
    write(FILES["stdout"], f"{run.run_id}\n".encode())
    within = "its resume window (K8S_MCP_RESUME_WINDOW)" if window is None else f"{window:g} s"
    tell(f"unless somebody follows it, the service cancels it after {within}: k8s-mcp runs follow {run.run_id}")
    return 0


def _next(news: SimpleQueue[_News], seconds: float | None, notice: StartNotice) -> int | End | None:
    """Raises Empty after so many seconds, and what went wrong in the thread."""
    item = news.get(timeout=seconds)
    if item is not None:
        notice.over()
    if isinstance(item, BaseException):
        raise item
    return item


def _look_on(run: RemoteRun, news: SimpleQueue[_News], notice: StartNotice) -> int:
    """Until the end, or a signal."""
    while (item := _next(news, None, notice)) is None:
        pass
    if isinstance(item, int):
        if run.watches:
            return 128 + item
        tell("nobody follows the run here any more; within the service's resume window somebody else can")
        return 128 + item
    if item.message:
        tell(item.message)
    return item.exit_code


def _supervise(run: RemoteRun, news: SimpleQueue[_News], notice: StartNotice) -> int:
    interrupted = 0
    asked = False
    deadline = 0.0
    while True:
        try:
            item = _next(news, max(0, deadline - time.monotonic()) if interrupted else None, notice)
        except Empty:
            tell("the run has not ended yet; without a client the service cancels it")
            return interrupted
        if isinstance(item, End):
            if item.cancel:
                cancel(run, tell)
            elif item.message and not interrupted:
                tell(item.message)
            return interrupted or item.exit_code
        if isinstance(item, int) and not interrupted:
            interrupted = 128 + item
            deadline = time.monotonic() + _START_SECONDS
        if interrupted and run.run_id and not asked:
            asked = True
            deadline = time.monotonic() + _CANCEL_SECONDS
            if not cancel(run, tell):
                return interrupted


def _follow(run: RemoteRun, news: SimpleQueue[_News], notice: StartNotice) -> None:
    try:
        news.put(copy_output(run, notice, lambda: news.put(None), write, tell))
    except BaseException as error:  # noqa: BLE001 # raised again in the main thread
        news.put(error)
