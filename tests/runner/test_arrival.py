"""The runner of a warm pod: it waits for its files, as the kubelet puts a Secret's there, and says so."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_mcp.runner import __main__ as entry_point
from k8s_mcp.runner.frames import EXIT, HELLO, NEVER_STARTED, STDOUT, WAITING, Decoder, Frame, decode
from tests.support.service import wait_for

FILES = {"id": "ab" * 16, "command": "echo ready; exit 3", "timeout": "60", "kubeconfig": "{}", "stdin": ""}
SIGTERM_CODE = 128 + signal.SIGTERM
NO_WATCH = "import k8s_mcp.runner.quick as q; q.watch_directory = lambda path: -1"
START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); {}; "
    "from k8s_mcp.runner import main; sys.exit(main.main(sys.argv[1:]))"
)


class Waiting:
    """A runner that waits for the files of `run`."""

    def __init__(self, directory: Path, before: str = "pass") -> None:
        self.run = directory / "run"
        self.log = directory / "log"
        work = directory / "work"
        for folder in (self.run, work):
            folder.mkdir()
        self.put("..empty", {})
        program = [sys.executable, "-I", "-S", "-c", START.format(before), str(Path(entry_point.__file__).parents[2])]
        options = [f"--run={self.run}", f"--work={work}", "--wait=yes", f"--termination-log={directory / 'last'}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*program, *options], stdin=subprocess.DEVNULL, stdout=log)

    def put(self, stamp: str, files: dict[str, str]) -> None:
        """As the kubelet does: a directory, one rename, then the names."""
        (self.run / stamp).mkdir()
        for name, content in files.items():
            (self.run / stamp / name).write_text(content)
        (self.run / "..data_tmp").symlink_to(stamp)
        (self.run / "..data_tmp").rename(self.run / "..data")
        for name in files:
            (self.run / name).symlink_to(f"..data/{name}")

    def is_asleep(self) -> bool:
        """Whether it waits for the kernel to wake it."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][:1] == "S"

    def processor_time(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def catches_signals(self) -> bool:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def frames(self) -> list[Frame]:
        return Decoder().feed(self.log.read_bytes())


@pytest.fixture(params=["watching", "looking"])
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Waiting]:
    """By inotify, and where the kernel has none to give."""
    runner = Waiting(tmp_path, "pass" if request.param == "watching" else NO_WATCH)
    wait_for(runner.catches_signals, what="a runner that waits")
    yield runner
    runner.process.kill()
    runner.process.wait()


def test_it_runs_what_comes_as_if_it_had_been_there(waiting: Waiting) -> None:
    wait_for(waiting.is_asleep)
    [said] = waiting.log.read_bytes().splitlines()
    assert (frame := decode(said)) is not None
    assert frame.type == WAITING
    waiting.put("..first", FILES)
    assert waiting.process.wait(30) == 3
    frames = waiting.frames()
    assert [frame.type for frame in frames] == [HELLO, STDOUT, EXIT]
    assert [frame.seq for frame in frames] == [0, 1, 2]
    assert frames[1].payload == b"ready\n"
    assert frames[2].payload == b"done 3"


def test_one_that_ends_before_a_run_comes_says_that_none_ever_started(waiting: Waiting) -> None:
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.process.wait(30) == SIGTERM_CODE
    waiting.put("..late", FILES)
    [frame] = waiting.frames()
    assert (frame.type, frame.payload) == (EXIT, NEVER_STARTED.encode())
    assert (waiting.run.parent / "last").read_bytes() == waiting.log.read_bytes().splitlines(keepends=True)[-1]


def test_waiting_costs_next_to_nothing(waiting: Waiting) -> None:
    """Measured by what it has used, not by the clock: a busy machine makes it no dearer."""
    wait_for(waiting.is_asleep)
    before = waiting.processor_time()
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.process.wait(1)
    assert waiting.processor_time() - before <= 0.03
