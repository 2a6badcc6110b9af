"""`k8s-mcp exec` on several clusters: the same command on each at the same time, every line marked by its cluster."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from k8s_mcp.cli.changes import say_changes
from k8s_mcp.cli.copied import FAILED, End, Tell, Write, cancel, copy_output
from k8s_mcp.cli.signals import signals_to
from k8s_mcp.cli.standard_files import tell, write
from k8s_mcp.cli.start_notice import StartNotice
from k8s_mcp.cli.tell import printable
from k8s_mcp.client.remote_run import RemoteRun, ServiceError
from k8s_mcp.client.service import Endpoint

_AT_ONCE = 32  # each has a thread and a connection
_CANCEL_SECONDS = 20.0  # for the final events, once the service was asked to cancel: commands have a grace period
_START_SECONDS = 2.0  # for the ids of runs, without which it cannot be asked
_AGAIN_SECONDS = 0.5  # between two requests when the service has no room for another run
_CLEANED_UP_SECONDS = 15.0  # a run takes its place until it is cleaned up, a while behind its final event

_News = int | tuple[str, End] | BaseException  # a signal, the end on one cluster, a bug


def execute_on(
    service: Endpoint, request: Mapping[str, object], clusters: Sequence[str], *, changes: bool = False
) -> int:
    """Run it on each; the highest exit code. What goes wrong on one is said, and ends nothing on the others.

    With `changes`, say at the end what the command changed on each.
    """
    several = _Several(service, request, clusters)
    with signals_to(several.news.put):
        for _ in clusters[:_AT_ONCE]:
            Thread(target=several.work, daemon=True).start()
        exit_code = several.supervise()
        if changes:
            several.say_changes()
        return exit_code


class _Several:
    """One command on several clusters. Threads `work`, the main one supervises."""

    def __init__(self, service: Endpoint, request: Mapping[str, object], clusters: Sequence[str]) -> None:
        self.news: SimpleQueue[_News] = SimpleQueue()
        self._service = service
        self._request = request
        self._count = len(clusters)
        self._next = deque(clusters)
        self._active = set[str]()  # asked for, or started
        self._started: dict[str, RemoteRun] = {}
        self._ends: dict[str, End] = {}
        self._last_end = 0.0
        self._stopping = Event()
        self._stopped_at = 0.0
        self._writing = Lock()
        self._turn = Lock()

    def work(self) -> None:
        """Take one cluster after another, until none is left or all are to end."""
        try:
            while not self._stopping.is_set():
                try:
                    cluster = self._next.popleft()
                except IndexError:
                    return
                self.news.put((cluster, self._run(cluster)))
        except BaseException as error:  # noqa: BLE001 # raised again in the main thread
            self.news.put(error)

    def supervise(self) -> int:
        """Until all have ended, or have been cancelled; the exit code. Raises what went wrong in a thread."""
        interrupted = 0
        while len(self._ends) < self._count - len(self._next if interrupted else ()):
            try:
                item = self.news.get(timeout=self._seconds_left() if interrupted else None)
            except Empty:
                if self._seconds_left() > 0:
                    continue
                self._tell_of_late_ones()
                return interrupted
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, int):
                interrupted = self._stop(128 + item, interrupted)
                continue
            cluster, end = item
            self._ends[cluster] = end
            if end.cancel:
                return self._stop(end.exit_code, interrupted)
            if end.message and not interrupted:
                tell(f"{cluster}: {end.message}")
        if not interrupted:
            self._tell_of_failures()
        return interrupted or max(end.exit_code for end in self._ends.values())

    def say_changes(self) -> None:
        """What the command changed where it was started, one cluster after another; all are asked at once."""
        started = dict(sorted(self._started.items()))
        with ThreadPoolExecutor(_AT_ONCE) as asking:
            for cluster, lines in zip(started, asking.map(_changes_of, started.values()), strict=True):
                for text in lines:
                    _told_of(cluster)(text)

    def _run(self, cluster: str) -> End:
        say = _told_of(cluster)
        try:
            run = RemoteRun(self._service, {**self._request, "cluster": cluster}, say)
        except ServiceError as error:
            return End(FAILED, str(error))
        end = self._copy(cluster, run, say, lambda: None)
        if not end.busy:
            return end
        # The others of this command may take all of a quota: one of those that wait asks again, for all of them.
        with ExitStack() as turn:
            turn.enter_context(self._turn)
            while end.busy and self._room_is_to_come():
                end = self._copy(cluster, run, say, turn.close)
                if end.busy:
                    self._stopping.wait(_AGAIN_SECONDS)
        return end

    def _room_is_to_come(self) -> bool:
        cleaning_up = self._last_end and time.monotonic() < self._last_end + _CLEANED_UP_SECONDS
        return not self._stopping.is_set() and bool(self._active or cleaning_up)

    def _copy(self, cluster: str, run: RemoteRun, say: Tell, on_started: Callable[[], None]) -> End:
        def started() -> None:
            self._started[cluster] = run
            on_started()
            if self._stopping.is_set():
                cancel(run, say)

        notice = StartNotice(run.is_pending, say, write, transient=False)
        self._active.add(cluster)
        try:
            end = copy_output(run, notice, started, self._marked(cluster), say)
        finally:
            notice.over()
            self._active.discard(cluster)
        if not end.busy:
            self._last_end = time.monotonic()
        return end

    def _marked(self, cluster: str) -> Write:
        mark = printable(f"{cluster} | ").encode(errors="replace")

        def write_lines(file: int, data: bytes) -> None:
            lines = mark + data[:-1].replace(b"\n", b"\n" + mark) + b"\n"
            with self._writing:  # whole lines, also where both streams are one file
                write(file, lines)

        return write_lines

    def _stop(self, exit_code: int, before: int) -> int:
        """Cancel all, at the same time, if that was not done before; the exit code of the first cause."""
        if before:
            return before
        self._stopped_at = time.monotonic()
        self._stopping.set()
        going = self._going_on()
        threads = [Thread(target=cancel, args=(run, _told_of(name)), daemon=True) for name, run in going.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return exit_code

    def _going_on(self) -> Mapping[str, RemoteRun]:
        """Where the command was started, and has not ended as far as is known here."""
        over = {cluster for cluster, end in self._ends.items() if not end.cancel}
        return {cluster: run for cluster, run in list(self._started.items()) if cluster not in over}

    def _seconds_left(self) -> float:
        seconds = _CANCEL_SECONDS if self._going_on() else _START_SECONDS
        return max(0, self._stopped_at + seconds - time.monotonic())

    def _tell_of_late_ones(self) -> None:
        if late := ", ".join(self._going_on()):
            tell(f"not ended yet on {late}; without a client the service cancels that")

    def _tell_of_failures(self) -> None:
        failed = [f"{cluster} (exit code {end.exit_code})" for cluster, end in self._ends.items() if end.exit_code]
        if failed:
            tell(f"failed on {', '.join(failed)}")


def _changes_of(run: RemoteRun) -> list[str]:
    lines: list[str] = []
    say_changes(run, lines.append)
    return lines


def _told_of(cluster: str) -> Tell:
    return lambda text: tell(f"{cluster}: {text}")
