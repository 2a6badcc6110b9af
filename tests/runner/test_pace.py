"""The rate of long output: a burst is free, what comes after it is slowed down, and all of it arrives."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

from k8s_mcp.runner import __main__ as runner
from k8s_mcp.runner.frames import EXIT, STDOUT, Decoder, Frame
from k8s_mcp.runner.supervise import BURST

RATE = 2_000_000
NOISE = "import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes({}))"


def output(directory: Path, size: int, rate: int) -> tuple[float, int, list[Frame]]:
    """Seconds, bytes of frames, and the frames of a command that prints `size` bytes."""
    (directory / "work").mkdir()
    files = {
        "id": "0" * 32,
        "command": shlex.join([sys.executable, "-c", NOISE.format(size)]),
        "timeout": "60",
        "kubeconfig": "",
    }
    for name, content in files.items():
        (directory / name).write_text(content)
    options = [f"--run={directory}", f"--work={directory / 'work'}", f"--rate={rate}"]
    start = time.monotonic()
    written = subprocess.run(
        [sys.executable, "-I", "-S", runner.__file__, *options], stdout=subprocess.PIPE, check=True
    ).stdout
    return time.monotonic() - start, len(written), Decoder().feed(written)


def test_a_burst_is_not_slowed_down(tmp_path: Path) -> None:
    rate = RATE // 10  # at which it would take a minute
    seconds, written, frames = output(tmp_path, 10_000_000, rate)
    assert written < BURST
    assert seconds < written / rate
    assert frames[-1].type == EXIT
    assert sum(len(frame.payload) for frame in frames if frame.type == STDOUT) == 10_000_000


def test_long_output_is_slowed_down_and_arrives_whole(tmp_path: Path) -> None:
    seconds, written, frames = output(tmp_path, 18_000_000, RATE)
    in_the_pipe = 2 << 20  # what is left of it when the command has ended goes out at once
    assert seconds > (written - BURST - in_the_pipe) / RATE
    assert frames[-1].type == EXIT
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert sum(len(frame.payload) for frame in frames if frame.type == STDOUT) == 18_000_000
