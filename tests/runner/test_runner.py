"""The runner as a process of its own, started as the local executor starts it.

Run by root, these tests take all capabilities from it: nothing is proven by files and processes that root may touch.
"""

import os
import random
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from k8s_mcp.limits import COMMAND_BYTES
from k8s_mcp.runner import __main__ as entry_point
from k8s_mcp.runner.frames import (
    EXIT,
    HEARTBEAT,
    HELLO,
    RECORDED,
    STDERR,
    STDOUT,
    Decoder,
    Encoder,
    Frame,
    PipeDecoder,
)
from k8s_mcp.runner.supervise import BURST
from tests.support.service import processes_with, wait_for

RUNNER = Path(entry_point.__file__)
UNPRIVILEGED = [
    shutil.which("setpriv") or "setpriv",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--",
]
KUBECONFIG = "apiVersion: v1\nkind: Config\n"
RUN_ID = "0123456789abcdef"
WAITING = "mkfifo go; exec 3<>go; "  # then `read x <&3` waits for `Runner.go_on`
EXECUTE = "import os, sys; {}; os.execv(sys.executable, [sys.executable, '-I', '-S', *sys.argv[1:]])"


def is_alive(pid: str) -> bool:
    """Not gone, and no zombie that its parent has not collected yet."""
    return _text(Path("/proc", pid.strip(), "stat")).rpartition(") ")[2][:1] not in {"", "Z", "X"}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Runner:
    """One run. `raw`: as the local executor has it; else as in a pod."""

    def __init__(
        self,
        directory: Path,
        command: str,
        *,
        timeout: float = 60,
        grace: float = 5,
        stdin: str | None = None,
        proxies: str | None = None,
        raw: bool = True,
        lifeline: bool = True,
        options: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        program: tuple[str, ...] = (str(RUNNER),),
        stdout: int = subprocess.PIPE,
    ) -> None:
        self.run = directory
        self.work = directory / "work"
        self.kubeconfig = self.work / f"kubeconfig-{RUN_ID}.yaml"
        self.log = directory.with_suffix(".log")
        self.frames: list[Frame] = []
        self._reported = False
        self._decoder = PipeDecoder() if raw else Decoder()
        self.work.mkdir(mode=0o700, parents=True)
        files: dict[str, str | None] = {
            "id": RUN_ID,
            "command": command,
            "timeout": str(timeout),
            "kubeconfig": KUBECONFIG,
        }
        for name, content in (files | {"stdin": stdin, "proxies": proxies}).items():
            if content is not None:
                (directory / name).write_text(content)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(UNPRIVILEGED if os.getuid() == 0 else []),
                    *(sys.executable, "-I", "-S", *program),
                    *(f"--run={directory}", f"--work={self.work}", f"--grace={grace}"),
                    *(["--raw=yes"] if raw else []),
                    *(["--lifeline=yes"] if lifeline else []),
                    *options,
                ],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=log,
                env={"PATH": os.environ["PATH"]} | dict(env or {}),
                start_new_session=True,
            )

    def read(self, most: int = 1 << 16) -> bool:
        """Take what comes next; False at the end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), most)
        self.frames += self._decoder.feed(data)
        return bool(data)

    def until(self, text: str) -> None:
        """Read until stdout ends with `text`."""
        while not self.stdout.endswith(text.encode()):
            assert self.read(), f"{self.stdout!r} {self.stderr!r} {self.log.read_text()}"

    def to_end(self) -> str:
        """Read everything; the text of the exit frame."""
        while self.read():
            pass
        self.process.wait()
        self._reported = True
        assert self.log.read_text() == ""
        assert [frame.seq for frame in self.frames] == list(range(len(self.frames)))
        assert self.frames[0].type == HELLO
        assert [frame.type for frame in self.frames].index(EXIT) == len(self.frames) - 1
        last = self.frames[-1]
        assert (last.out_bytes, last.err_bytes) == (len(self.stdout), len(self.stderr))
        return last.payload.decode()

    @property
    def stdout(self) -> bytes:
        return self._output(STDOUT)

    @property
    def stderr(self) -> bytes:
        return self._output(STDERR)

    def _output(self, kind: str) -> bytes:
        return b"".join(frame.payload for frame in self.frames if frame.type == kind)

    def go_on(self, word: str = "on") -> None:
        (self.work / "go").write_text(f"{word}\n")

    def has_left_nothing(self) -> bool:
        """No process, and no copy of the kubeconfig."""
        return not processes_with(str(self.run)) and not self.kubeconfig.exists()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        for pid in () if self._reported else processes_with(str(self.run)):
            os.kill(pid, signal.SIGKILL)
        for file in (self.process.stdin, self.process.stdout):
            if file is not None:
                file.close()


Start = Callable[..., Runner]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    with ExitStack() as stack:

        def start(command: str, **how: Any) -> Runner:
            runner = Runner(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", command, **how)
            stack.callback(runner.close)
            return runner

        yield start


@pytest.fixture(scope="module", autouse=True)
def silent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Runner]:
    """Silent for seconds already when its test, the last one, comes."""
    runner = Runner(tmp_path_factory.mktemp("silent") / "run", f"{WAITING}read x <&3", timeout=3600)
    yield runner
    runner.close()


@pytest.mark.parametrize("code", [0, 1, 3, 124, 125, 127, 128, 255])
def test_the_exit_code_is_the_commands(start: Start, code: int) -> None:
    runner = start(f"echo out; echo err >&2; exit {code}")
    assert runner.to_end() == f"done {code}"
    assert (runner.stdout, runner.stderr) == (b"out\n", b"err\n")
    assert runner.process.returncode == code
    assert runner.has_left_nothing()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGTERM])
def test_a_command_ended_by_a_signal_has_128_and_its_number(start: Start, number: signal.Signals) -> None:
    assert start(f"kill -{number} $$").to_end() == f"done {128 + number}"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("no-such-command", 127),
        ("exec no-such-command", 127),
        ("/etc/passwd", 126),
        ("/", 126),
        ("syntax error (", 2),
        ("false | true", 0),
        ("exec >&- 2>&-; sleep 0.2; exit 5", 5),
    ],
)
def test_the_shell_decides_about_the_exit_code(start: Start, command: str, code: int) -> None:
    assert start(command).to_end() == f"done {code}"


def test_a_command_that_cannot_be_started_is_an_error_and_no_exit_code(start: Start) -> None:
    runner = start("echo never", env={"PATH": "/nonexistent"})
    assert runner.to_end().startswith("error - [Errno 2] No such file or directory")
    assert runner.process.returncode == 125
    assert runner.has_left_nothing()


def test_the_exit_frame_is_in_the_termination_log_as_well(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    assert start("exit 7", raw=False, options=(f"--termination-log={file}",)).to_end() == "done 7"
    (frame,) = Decoder().feed(file.read_bytes())
    assert (frame.type, frame.payload) == (EXIT, b"done 7")


@pytest.mark.parametrize("raw", [True, False])
def test_both_streams_come_whole_and_in_order(start: Start, raw: bool) -> None:
    runner = start("seq 1 100000 & seq -f 'error %.0f' 1 100000 >&2; wait", raw=raw)
    assert runner.to_end() == "done 0"
    assert runner.stdout == b"".join(b"%d\n" % n for n in range(1, 100001))
    assert runner.stderr == b"".join(b"error %d\n" % n for n in range(1, 100001))
    last = runner.frames[-1]
    assert (last.out_lines, last.err_lines) == (100_000, 100_000)


@pytest.mark.parametrize("raw", [True, False])
def test_bytes_of_every_kind_come_as_they_are(start: Start, tmp_path: Path, raw: bool) -> None:
    data = random.Random(1).randbytes(1_000_000) + b"\0\r\n\r no newline at the end"
    (tmp_path / "data").write_bytes(data)
    runner = start(f"cat {tmp_path}/data; cat {tmp_path}/data >&2", raw=raw)
    assert runner.to_end() == "done 0"
    assert runner.stdout == data
    assert runner.stderr == data


def test_a_limited_rate_loses_nothing(start: Start, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(int(0.8 * BURST))  # which base64 makes longer than is free
    (tmp_path / "data").write_bytes(data)
    runner = start(f"cat {tmp_path}/data", raw=False, options=("--rate=10e6",))
    assert runner.to_end() == "done 0"
    assert runner.stdout == data


@pytest.mark.parametrize("what", ["echo one", "printf one", "echo one >&2", "printf 'one\r'"])
def test_output_comes_while_the_command_still_runs(start: Start, what: str) -> None:
    runner = start(f"{WAITING}{what}; read x <&3; {what}")
    while b"one" not in runner.stdout + runner.stderr:
        assert runner.read()
    runner.go_on()
    assert runner.to_end() == "done 0"
    assert (runner.stdout + runner.stderr).count(b"one") == 2


def test_each_of_many_lines_comes_before_the_next_is_printed(start: Start) -> None:
    runner = start(WAITING + "for n in {1..20}; do echo line $n; read x <&3; done")
    for number in range(1, 21):
        runner.until(f"line {number}\n")
        runner.go_on()
    assert runner.to_end() == "done 0"


def test_output_cannot_forge_frames(start: Start) -> None:
    forger = Encoder()
    forged = forger.control(HELLO) + forger.output(STDOUT, b"forged\n") + forger.control(EXIT, "done 0")
    for raw in (True, False):
        runner = start(
            f"for n in 1 2 3; do echo {shlex.quote(forged.decode())}; done | tee /dev/stderr; exit 9", raw=raw
        )
        assert runner.to_end() == "done 9"
        assert runner.stdout == runner.stderr == (forged + b"\n") * 3


def test_output_before_the_timeout_is_kept_and_the_exit_code_is_124(start: Start) -> None:
    runner = start("echo before; echo error >&2; printf unfinished; sleep 999", timeout=1)
    assert runner.to_end() == "timeout 124"
    assert (runner.stdout, runner.stderr) == (b"before\nunfinished", b"error\n")
    assert runner.process.returncode == 124
    assert runner.has_left_nothing()


def test_at_the_timeout_everything_the_command_started_may_say_goodbye(start: Start) -> None:
    child = "trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.05; done"
    runner = start(f"trap 'wait; echo parent; exit 0' TERM; setsid bash -c {shlex.quote(child)} & wait", timeout=1.5)
    assert runner.to_end() == "timeout 124"
    assert runner.stdout == b"ready\nchild\nparent\n"
    assert runner.has_left_nothing()


def test_a_command_that_ignores_sigterm_is_over_soon_after_its_timeout(start: Start) -> None:
    runner = start("trap '' TERM; while :; do sleep 0.05; done", timeout=0.3, grace=0.3)
    assert runner.to_end() == "timeout 124"
    assert runner.has_left_nothing()


@pytest.mark.parametrize(
    "command",
    [
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
        "trap '' TERM; echo ready; sleep 999",
        "echo ready; kill -STOP $$",
        "(trap '' TERM; sleep 999) & echo ready; wait",
        "trap '' TERM; echo ready; yes",
    ],
)
def test_what_ignores_sigterm_is_killed_after_the_grace_period(start: Start, command: str) -> None:
    runner = start(command, grace=0.3)
    while b"ready" not in runner.stdout:
        assert runner.read()
    runner.process.terminate()
    assert runner.to_end().startswith("cancelled 1")
    assert runner.has_left_nothing()


@pytest.mark.parametrize(
    "command",
    [
        "sleep 999 & exit 3",
        "(trap '' TERM HUP INT; sleep 999) & exit 3",
        "setsid sleep 999 & exit 3",
        "(setsid -f sleep 999 </dev/null >/dev/null 2>&1 &); exit 3",
        "(setsid -f bash -c '(exec -a daemon sleep 999) & disown' &); exit 3",
        "(while :; do echo noise; sleep 0.01; done) & exit 3",
        "(while :; do sleep 999 & sleep 0.01; done) >/dev/null 2>&1 & exit 3",
        "yes >&2 & exit 3",
        "coproc cat; exit 3",
    ],
)
def test_a_run_ends_when_its_command_ends_and_leaves_no_process(start: Start, command: str) -> None:
    runner = start(command, timeout=100)
    assert runner.to_end() == "done 3"
    assert runner.has_left_nothing()


def test_what_a_command_printed_at_its_end_comes_though_its_child_holds_the_pipe(start: Start) -> None:
    runner = start("sleep 999 & seq 1 100000; echo last; exit 3")
    assert runner.to_end() == "done 3"
    assert runner.stdout.endswith(b"100000\nlast\n")
    assert runner.stdout.count(b"\n") == 100_001


def test_the_kubeconfig_is_a_private_writable_file_in_the_commands_directory(start: Start) -> None:
    show = 'stat -c %a "$KUBECONFIG"; echo "$KUBECONFIG"; cat "$KUBECONFIG"; echo x >> "$KUBECONFIG"'
    runner = start(f"{WAITING}{show} || exit; read x <&3")
    runner.until(KUBECONFIG)
    assert runner.stdout.decode() == f"600\n{runner.kubeconfig}\n{KUBECONFIG}"
    assert stat.S_IMODE(runner.kubeconfig.stat().st_mode) == 0o600
    assert runner.kubeconfig.name == f"kubeconfig-{RUN_ID}.yaml"
    runner.go_on()
    assert runner.to_end() == "done 0"
    assert not runner.kubeconfig.exists()


def test_the_kubeconfig_is_private_whatever_the_umask(start: Start) -> None:
    runner = start('stat -c %a "$KUBECONFIG"', program=("-c", EXECUTE.format("os.umask(0)"), str(RUNNER)))
    assert runner.to_end() == "done 0"
    assert runner.stdout == b"600\n"


def test_no_link_is_followed_to_where_the_kubeconfig_goes(start: Start, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = f"os.symlink({str(victim)!r}, sys.argv[3].removeprefix('--work=') + '/kubeconfig-{RUN_ID}.yaml')"
    runner = start("echo never", program=("-c", EXECUTE.format(link), str(RUNNER)))
    assert runner.to_end().startswith("error - [Errno 17]")
    assert victim.read_text() == "precious"
    assert runner.stdout == b""


@pytest.mark.parametrize(
    ("what", "outcome"),
    [("exit", "done 0"), ("timeout", "timeout 124"), ("cancel", "cancelled 143"), ("kill", "done 137")],
)
def test_the_kubeconfig_is_gone_however_the_run_ends(start: Start, what: str, outcome: str) -> None:
    timeout = 1 if what == "timeout" else 60
    runner = start(WAITING + "echo ready; read x <&3; [ $x != kill ] || kill -9 $$", timeout=timeout)
    runner.until("ready\n")
    assert runner.kubeconfig.exists()
    if what == "cancel":
        runner.process.terminate()
    elif what != "timeout":
        runner.go_on(what)
    assert runner.to_end() == outcome
    assert runner.has_left_nothing()


@pytest.mark.parametrize(
    "command",
    [
        'rm "$KUBECONFIG"',
        'rm "$KUBECONFIG"; mkdir "$KUBECONFIG"',
        "chmod 500 .",
        "chmod 0 .",
        'cd ..; rm -rf "$HOME"',
        'cd ..; rm -rf "$HOME"; echo > "$HOME"',
    ],
)
def test_how_a_command_ended_is_told_whatever_it_did_to_its_directory(start: Start, command: str) -> None:
    runner = start(f"{command}; exit 4")
    assert runner.to_end() == "done 4"
    assert not runner.kubeconfig.is_file()


def test_the_environment_is_minimal_and_not_the_services(start: Start) -> None:
    runner = start("env -0", env={"K8S_MCP_TOKEN": "secret", "LD_PRELOAD": "", "PYTHONPATH": "/nonexistent"})
    assert runner.to_end() == "done 0"
    work = str(runner.work)
    variables = dict(entry.split("=", 1) for entry in runner.stdout.decode().rstrip("\0").split("\0"))
    editor = variables["EDITOR"]
    assert variables == {
        "EDITOR": editor,
        "HOME": work,
        "KUBE_EDITOR": editor,
        "KUBECONFIG": str(runner.kubeconfig),
        "LANG": "C.UTF-8",
        "PAGER": "cat",
        "PATH": os.environ["PATH"],
        "SHELL": "/bin/bash",
        "TERM": "dumb",
        "TMPDIR": work,
        "VISUAL": editor,
        "PWD": work,  # these three are the shell's own
        "SHLVL": variables["SHLVL"],
        "_": variables["_"],
    }


def test_the_images_bash_env_is_the_commands(start: Start, tmp_path: Path) -> None:
    """Which is how a command that is not there is answered."""
    (tmp_path / "bash-env").write_text("command_not_found_handle() { echo no $1; return 127; }")
    runner = start("nowhere-found", env={"BASH_ENV": str(tmp_path / "bash-env")})
    assert runner.to_end() == "done 127"
    assert (runner.stdout, runner.stderr) == (b"no nowhere-found\n", b"")


def test_the_command_inherits_its_three_streams_only(start: Start) -> None:
    runner = start("ls /proc/self/fd; ps -o sid= $$; echo $$")
    assert runner.to_end() == "done 0"
    *fds, session, pid = runner.stdout.split()
    assert fds == [b"0", b"1", b"2", b"3"], "3 is the directory that ls reads"
    assert session == pid, "a session of its own"


def test_signals_have_their_default_meaning_in_the_command(start: Start) -> None:
    runner = start("grep SigIgn /proc/self/status; yes | head -1")
    assert runner.to_end() == "done 0"
    _, ignored, line = runner.stdout.split()
    reserved = 1 << 31 | 1 << 32  # signals 32 and 33 are the C library's: no program can set them, they are inherited
    assert int(ignored, 16) & ~reserved == 0
    assert line == b"y"


def test_a_command_may_have_every_character_and_the_kernels_full_length(start: Start) -> None:
    head = "printf %s '東京 🗼 é\t\n\\' | tr a a; : "
    runner = start(head + "x" * (COMMAND_BYTES - len(head.encode())))
    assert runner.to_end() == "done 0"
    assert runner.stdout.decode() == "東京 🗼 é\t\n\\"


def test_stdin_is_delivered_whole_and_ends(start: Start) -> None:
    text = "".join(f"line {n} 東京\n" for n in range(50_000))
    runner = start("cat; echo end", stdin=text)
    assert runner.to_end() == "done 0"
    assert runner.stdout.decode() == text + "end\n"


def test_without_stdin_there_is_nothing_to_read(start: Start) -> None:
    runner = start("cat; read x; echo end $?")
    assert runner.to_end() == "done 0"
    assert runner.stdout == b"end 1\n"


def test_stdin_that_is_not_read_holds_nobody(start: Start) -> None:
    assert start("exit 6", stdin="x" * 900_000).to_end() == "done 6"


@pytest.mark.parametrize("prepare", [":", "mkdir -p go/mod; touch go/mod/x; chmod -R a-w go"])
def test_when_the_lifeline_ends_so_do_the_command_and_its_files(start: Start, prepare: str) -> None:
    runner = start(f"ln -s / root; {prepare}; echo ready; sleep 999")
    runner.until("ready\n")
    assert runner.process.stdin is not None
    runner.process.stdin.close()
    assert runner.to_end() == "cancelled 143"
    assert not runner.run.exists()
    assert runner.has_left_nothing()


def test_without_a_lifeline_the_end_of_standard_input_means_nothing(start: Start) -> None:
    runner = start(WAITING + "echo ready; read x <&3; exit 8", lifeline=False)
    assert runner.process.stdin is not None
    runner.process.stdin.close()
    runner.until("ready\n")
    runner.go_on()
    assert runner.to_end() == "done 8"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_runner_cancels_the_command(start: Start, number: signal.Signals) -> None:
    runner = start("trap 'echo bye; exit 1' TERM; echo ready; while :; do sleep 0.05; done")
    runner.until("ready\n")
    runner.process.send_signal(number)
    assert runner.to_end() == "cancelled 1"
    assert runner.stdout == b"ready\nbye\n"
    assert runner.has_left_nothing()


@pytest.mark.parametrize("by", ["signal", "lifeline"])
def test_a_run_that_ends_while_it_waits_for_its_proxies_starts_no_command(start: Start, by: str) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        runner = start("touch started", proxies=str(nobody_listens.getsockname()[1]))
        while not runner.frames:
            assert runner.read()
        if by == "signal":
            runner.process.send_signal(signal.SIGTERM)
        else:
            assert runner.process.stdin is not None
            runner.process.stdin.close()
        assert runner.to_end() == "cancelled 143"
    assert not (runner.work / "started").exists()


@contextmanager
def gate(answer: bytes) -> Generator[tuple[str, list[bytes]]]:
    """Something that takes connections as the gate does and answers with this; its port, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # until it is closed
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if request := connection.recv(4096):
                            asked.append(request)
                            connection.sendall(answer)

        Thread(target=serve, daemon=True).start()
        try:
            yield str(listener.getsockname()[1]), asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n17 0\n", ["17 0"]),
        (b"HTTP/1.0 200 OK\r\n\r\n17 2", ["17 2"]),
        (b"HTTP/1.0 404 Not Found\r\n\r\n404 page not found\n", []),
        (b"HTTP/1.0 200 OK\r\n\r\n-1 0", []),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"9" * 30 + b" 0", []),
        (b"\xff" * 100_000, []),
        (b"", []),
    ],
)
def test_the_end_of_a_run_says_how_long_the_gates_record_is(start: Start, answer: bytes, said: list[str]) -> None:
    with gate(answer) as (port, asked):
        runner = start("exit 3", proxies=port)
        assert runner.to_end() == "done 3"
    assert [frame.payload.decode() for frame in runner.frames if frame.type == RECORDED] == said
    assert [request.split(b"\r\n")[0] for request in asked] == [b"GET /.gate/recorded HTTP/1.0"]


def test_a_run_whose_gate_has_gone_ends_all_the_same(start: Start) -> None:
    with gate(b"") as (port, _):
        runner = start(f"{WAITING} echo started; read x <&3; exit 3", proxies=port)
        runner.until("started\n")
    runner.go_on()
    assert runner.to_end() == "done 3"
    assert RECORDED not in [frame.type for frame in runner.frames]


def test_a_killed_runner_takes_its_command_with_it(start: Start) -> None:
    runner = start("trap '' HUP TERM INT; echo $$; while :; do sleep 0.05; done")
    while not runner.stdout.endswith(b"\n"):
        assert runner.read()
    runner.process.kill()
    wait_for(lambda: not is_alive(runner.stdout.decode()), what="the end of the command")


PROBE = """
for file in environ mem maps fd/0 fd/1 fd/2; do
    for way in '<' '>'; do
        (eval "exec 3$way/proc/$PPID/$file") 2>/dev/null && echo "$way$file"
    done
done
ls /proc/$PPID/cwd/ /proc/$PPID/fdinfo/ >/dev/null 2>&1 && echo ls
exit 0
"""
UNHARDENED = f"""
import sys
sys.path.insert(0, {str(RUNNER.parents[2])!r})
from k8s_mcp.runner import main, process
process.harden = lambda: None
sys.exit(main.main(sys.argv[1:]))
"""


def test_the_command_cannot_open_the_runners_descriptors_memory_or_environment(start: Start) -> None:
    runner = start(PROBE)
    assert runner.to_end() == "done 0"
    assert runner.stdout == b""


def test_it_could_if_the_runner_did_not_harden_itself(start: Start) -> None:
    runner = start(PROBE, program=("-c", UNHARDENED))
    while runner.read():
        pass
    assert {b"<environ", b">fd/1", b"ls"} <= set(runner.stdout.split())


def test_a_command_whose_output_nobody_takes_is_ended_at_its_timeout_and_nothing_is_lost(
    start: Start, tmp_path: Path
) -> None:
    block = random.Random(2).randbytes(1 << 14).hex()
    (tmp_path / "block").write_text(block)
    write = 'while printf %s "$block"; do echo $((++n)) > written; done'
    runner = start(f"trap '' TERM; echo $$ > pid; block=$(cat {tmp_path}/block); {write}", timeout=1, grace=0.2)
    pid = wait_for(lambda: _text(runner.work / "pid"))
    wait_for(lambda: not is_alive(pid), what="the end of the command")
    written = int(_text(runner.work / "written"))
    assert runner.to_end() == "timeout 124"
    assert len(runner.stdout) >= written * len(block)
    assert runner.stdout == (block * (written + 2)).encode()[: len(runner.stdout)]
    assert runner.has_left_nothing()


def test_output_of_an_ended_command_waits_for_a_reader_that_is_late(start: Start) -> None:
    runner = start("echo $$ > pid; seq 1 200000; exit 5")
    pid = wait_for(lambda: _text(runner.work / "pid"))
    while is_alive(pid):
        assert runner.read(100)
    assert runner.to_end() == "done 5"
    assert runner.stdout.endswith(b"\n200000\n")


def test_a_child_that_waits_for_a_late_reader_is_heard_after_its_command_has_ended(start: Start) -> None:
    runner = start("seq 1 400000 & echo $$ > pid; sleep 0.2; exit 5")
    pid = wait_for(lambda: _text(runner.work / "pid"))
    wait_for(lambda: not is_alive(pid), what="the end of the command")
    time.sleep(1)  # the reader is as late as that
    assert runner.to_end() == "done 5"
    assert runner.stdout.endswith(b"\n400000\n")


def test_a_child_that_is_busy_is_not_taken_for_a_silent_one(start: Start) -> None:
    spin = "end=$((${EPOCHREALTIME/./} + 250000)); while ((${EPOCHREALTIME/./} < end)); do :; done"
    runner = start(f"({spin}; echo late) & exit 5")
    assert runner.to_end() == "done 5"
    assert runner.stdout == b"late\n"


def test_a_pipe_that_is_held_from_outside_delays_a_run_a_little_and_loses_nothing(start: Start) -> None:
    runner = start(f"{WAITING}echo $$ > pid; read x <&3; seq 1 100000; exit 5", timeout=1.5)
    pid = wait_for(lambda: _text(runner.work / "pid")).strip()
    with Path("/proc", pid, "fd", "1").open("wb"):
        runner.go_on()
        wait_for(lambda: not is_alive(pid), what="the end of the command")
        time.sleep(4)  # the reader is later than the runner gives up on the pipe's end
        assert runner.to_end() == "done 5"
    assert runner.stdout.endswith(b"\n100000\n")


def test_a_child_is_ended_at_the_timeout_though_nobody_reads_and_its_command_has_ended(start: Start) -> None:
    runner = start("(echo $BASHPID > pid; exec yes) & sleep 0.2; exit 5", timeout=1)
    pid = wait_for(lambda: _text(runner.work / "pid"))
    wait_for(lambda: not is_alive(pid), what="the end of the child")
    assert runner.to_end() == "done 5"


@pytest.mark.parametrize("most", [4096, 1 << 20])
def test_a_noisy_child_is_heard_briefly_only_however_slow_the_reader_is(start: Start, most: int) -> None:
    runner = start("yes & exit 3")
    while runner.read(most):
        pass
    assert runner.to_end() == "done 3"
    assert len(runner.stdout) < 64 << 20


def test_a_runner_whose_output_is_closed_ends_its_command(start: Start) -> None:
    runner = start("echo ready; while :; do echo more; sleep 0.01; done")
    runner.until("more\n")
    assert runner.process.stdout is not None
    runner.process.stdout.close()
    runner.process.wait()
    assert runner.has_left_nothing()


def test_a_runner_without_a_reader_starts_no_command(start: Start) -> None:
    read, write = os.pipe()
    os.close(read)
    runner = start("touch started; sleep 999", stdout=write)
    os.close(write)
    runner.process.wait()
    assert not (runner.work / "started").exists()
    assert runner.has_left_nothing()


def test_the_runner_imports_little_and_nothing_but_the_standard_library(start: Start, tmp_path: Path) -> None:
    report = tmp_path / "modules"
    program = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(RUNNER.parents[2])!r})
from k8s_mcp.runner import main
main.main(sys.argv[1:])
with open({str(report)!r}, "w") as file:
    print(*sys.modules.keys() - before, file=file)
"""
    assert start("echo x; exit 0", program=("-c", program)).to_end() == "done 0"
    modules = report.read_text().split()
    assert "k8s_mcp.runner.supervise" in modules
    others = {name.partition(".")[0] for name in modules} - {"k8s_mcp"}
    assert others <= sys.stdlib_module_names
    assert [name for name in modules if re.match(r"k8s_mcp\.(?!runner)", name)] == []
    assert len(modules) <= 40
    slow = {
        "asyncio",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "logging",
        "re",
        "json",
        "pathlib",
        "typing",
        "shutil",
    }
    assert not others & slow


def test_a_silent_command_gives_heartbeats(silent: Runner) -> None:
    while not any(frame.type == HEARTBEAT for frame in silent.frames):
        assert silent.read()
    silent.go_on()
    assert silent.to_end() == "done 0"
