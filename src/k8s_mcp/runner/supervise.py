"""One command from its start to its exit code:

a single-threaded loop over its pipes, our output, signals and deadlines.
"""

import os
import select
import time

from k8s_mcp.runner import process
from k8s_mcp.runner.frames import HEARTBEAT, PIECE, STDERR, STDOUT, Encoder
from k8s_mcp.runner.quick import signal

HEARTBEAT_SECONDS = 5.0
_COALESCE = 0.004  # after a small chunk let the next one grow: dense output fills frames, sparse output is prompt
_SMALL = 16 * 1024
BURST = 16e6
"""Bytes of frames that are free: most output is shorter, and then a log is rotated at most once."""
_BREATH = 0.1  # then some at a time: who follows a log works for every write that it sees
_DRAIN_QUIET = 0.1  # how long a silent child that waits may hold the pipes of a command that has ended,
_DRAIN_TOTAL = 0.5  # and how long a noisy or a busy one,
_DRAIN_BYTES = 4 << 20  # to say how much, what is in the pipes included
_KILL_AGAIN = 0.05
_UNKILLABLE = 2.0

# At `_due` comes, in this order: SIGTERM; SIGKILL; SIGKILL to whoever still holds the pipes; SIGKILL again; the end,
# as soon as our reader has taken what is in the pipes.
_RUNNING, _STOPPING, _ENDED, _KILLED, _GIVEN_UP, _DONE = range(6)


class Supervisor:
    """Runs one command and writes its output to file descriptor 1 as frames.

    grace: seconds from SIGTERM to SIGKILL. rate: most bytes of frames a second, once there were BURST, 0: no limit.
    lifeline: end the command when our standard input ends. `status` says how it ended: done, timeout or cancelled;
    `abandoned`, that whoever started us is gone.
    """

    def __init__(self, encoder: Encoder, grace: float, rate: float, lifeline: bool) -> None:
        self.status = "done"
        self.abandoned = False
        self._encoder = encoder
        self._grace = grace
        self._rate = rate
        self._lifeline = lifeline
        self._phase = _RUNNING
        self._pid = 0
        self._wait_status: int | None = None
        self._streams: dict[int, str] = {}
        self._owed: dict[int, int] = {}  # bytes in the pipes when we gave up on their end
        self._pending = b""
        self._nobody_reads = False
        self._drain_bytes = _DRAIN_BYTES
        self._spent_until = 0.0
        self._read_at = self._due = self._deadline = self._drain_until = self._give_up_at = self._beat_at = 0.0
        self.signals, signals_write = os.pipe()
        for fd in (self.signals, signals_write, 1):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(signals_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _on_signal)  # the wakeup descriptor tells the loop which one came

    def run(self, argv: list[str], env: dict[str, str], directory: str, stdin: int, timeout: float) -> int:
        """Start the command, see it and everything it started to the end, and return its exit code. After `timeout`
        seconds it gets SIGTERM.

        OSError when it cannot start. A command that is to end before that is never started.
        """
        if self._nobody_reads or self.is_told_to_end():
            return 128 + signal.SIGTERM
        self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
        child = process.start(argv, env, directory, stdin)
        self._pid = child.pid
        self._streams = {child.stdout: STDOUT, child.stderr: STDERR}
        self._due = self._deadline = time.monotonic() + timeout
        while self._phase != _DONE:
            self._wait()
            now = time.monotonic()
            if self._pending and self._phase == _ENDED:
                self._drain(now, now + _DRAIN_TOTAL)
            if now >= self._due:
                self._next_phase(now)
            if now >= self._beat_at and not self._pending:
                self._send(self._encoder.control(HEARTBEAT))
            if self._wait_status is not None and not self._streams:
                self._phase = _DONE
        self._kill_what_is_left()
        if self.status == "timeout":
            return 124
        code = os.waitstatus_to_exitcode(self._wait_status) if self._wait_status is not None else -signal.SIGKILL
        return code if code >= 0 else 128 - code

    def is_told_to_end(self) -> bool:
        """Whether, before the command was started, a signal has come or our lifeline was cut."""
        poll = select.poll()
        for fd in (self.signals, 0) if self._lifeline else (self.signals,):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0):
            if fd == 0:
                self._on_lifeline()
            elif any(number != signal.SIGCHLD for number in os.read(fd, 4096)):
                self._stop("cancelled")
        return self._phase != _RUNNING

    def say(self, kind: str, text: str = "") -> bytes:
        """Write a control frame behind everything before it, and wait until it is out. Returns the frame."""
        frame = self._encoder.control(kind, text)
        self._pending += frame
        while self._pending:
            select.select([], [1], [])
            self._flush()
        return frame

    def _wait(self) -> None:
        """Wait for the next thing to happen, and answer it."""
        now = time.monotonic()
        until = min(self._due, self._beat_at)
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        if self._lifeline:
            poll.register(0, select.POLLIN)
        if self._pending:
            poll.register(1, select.POLLOUT)
            if now >= self._beat_at:
                until = self._due
        elif now >= self._read_at or self._wait_status is not None:
            for fd in self._streams:
                poll.register(fd, select.POLLIN)
        else:
            until = min(until, self._read_at)
        for fd, _ in poll.poll(max(0.0, until - now) * 1000 + 0.5):
            if fd == self.signals:
                self._on_signal()
            elif fd == 0:
                self._on_lifeline()
            elif fd == 1:
                self._flush()
            else:
                self._read(fd)

    def _read(self, fd: int) -> None:
        chunk = os.read(fd, PIECE)
        if not chunk:
            os.close(fd)
            del self._streams[fd]
            self._owed.pop(fd, None)
            return
        self._owed[fd] = max(self._owed.get(fd, 0) - len(chunk), 0)
        frames = self._encoder.output(self._streams[fd], chunk)
        self._send(frames)
        now = time.monotonic()
        self._read_at = now + (_COALESCE if len(chunk) < _SMALL else 0.0)
        if self._rate:
            self._pace(len(frames), now)
        if self._phase == _ENDED:
            self._drain_bytes -= len(chunk)
            self._drain(now, self._drain_until)

    def _pace(self, size: int, now: float) -> None:
        """Spend `size` bytes of the rate. When nothing is left, read on only when there is some again."""
        self._spent_until = max(self._spent_until, now - BURST / self._rate) + size / self._rate
        if self._spent_until > now:
            self._read_at = self._spent_until + _BREATH

    def _send(self, frames: bytes) -> None:
        self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
        self._pending += frames
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending and not self._nobody_reads:
                self._pending = self._pending[os.write(1, self._pending) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._nobody_reads = True
            self._stop("cancelled")
        self._pending = b""

    def _on_signal(self) -> None:
        for number in os.read(self.signals, 4096):
            if number != signal.SIGCHLD:
                self._stop("cancelled")
        status = process.reap(self._pid)
        if status is not None:
            self._wait_status = status
            if self._phase == _RUNNING:
                self._phase = _ENDED
                now = time.monotonic()
                self._drain(now, now + _DRAIN_TOTAL)

    def _on_lifeline(self) -> None:
        if not os.read(0, 4096):
            self._lifeline = False
            self.abandoned = True
            self._stop("cancelled")

    def _stop(self, status: str) -> None:
        if self._phase == _RUNNING:
            self.status = status
            self._phase = _STOPPING
            self._due = time.monotonic() + self._grace
            process.signal_all(signal.SIGTERM)

    def _next_phase(self, now: float) -> None:
        if self._phase == _RUNNING:
            self._stop("timeout")
            return
        if self._phase == _ENDED and self._is_owed_time(now):
            self._drain(now, self._drain_until)
            return
        if self._phase in (_STOPPING, _ENDED):
            self._phase = _KILLED
            self._give_up_at = now + _UNKILLABLE
        elif self._phase == _KILLED and now >= self._give_up_at:
            self._phase = _GIVEN_UP
            self._owed = {fd: process.unread(fd) for fd in self._streams}
        if self._phase == _GIVEN_UP and not any(self._owed.values()):
            self._phase = _DONE
        if process.has_children():
            process.signal_all(signal.SIGKILL)
        self._due = now + _KILL_AGAIN

    def _drain(self, now: float, until: float) -> None:
        """The command has ended. Its children have a little time after each output, while our reader is slow, and
        while one only waits for a processor, as it does where the pod's limit is used up.
        """
        self._drain_until = until
        self._due = min(now + _DRAIN_QUIET, until, self._deadline) if self._drain_bytes > 0 else now

    def _is_owed_time(self, now: float) -> bool:
        """Whether there is some left, and a child has been silent because it has no processor."""
        left = self._drain_bytes > 0 and now < min(self._drain_until, self._deadline)
        return left and process.is_one_ready_to_run()

    def _kill_what_is_left(self) -> None:
        """End descendants that kept no pipe open: a command leaves no process behind."""
        give_up_at = time.monotonic() + _UNKILLABLE
        while process.has_children() and time.monotonic() < give_up_at:
            process.signal_all(signal.SIGKILL)
            select.select([self.signals], [], [], _KILL_AGAIN)
            if select.select([self.signals], [], [], 0)[0]:
                os.read(self.signals, 4096)
            process.reap(0)


def _on_signal(*_: object) -> None:
    """Python needs a handler to write to the wakeup descriptor."""
