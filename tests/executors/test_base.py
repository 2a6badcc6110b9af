"""What an exit frame says, also one that the command wrote: it can write the container's termination log."""

import pytest

from k8s_mcp.executors.base import read_exit
from k8s_mcp.models import Ended
from k8s_mcp.runner.frames import EXIT, STDOUT, Frame


def frame(text: str, kind: str = EXIT) -> Frame:
    return Frame(0, kind, (0, 0, 0, 0), 0, text.encode())


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("done 0", Ended("done", 0)),
        ("done 255", Ended("done", 255)),
        ("timeout 124", Ended("timeout", 124)),
        ("cancelled 143", Ended("cancelled")),
        ("error - no such file\nor directory", Ended("error", None, "StartError", "no such file\nor directory")),
    ],
)
def test_exit_frame_says_how_the_run_ended(text: str, ended: Ended) -> None:
    assert read_exit([frame("output", STDOUT), frame(text)]) == ended


@pytest.mark.parametrize("text", ["", "done", "done -", "done 1_0", "done ٣", "done -1", "done 0x1", "won 0", "\xff"])
def test_exit_frame_of_no_known_form_says_nothing(text: str) -> None:
    """Found by fuzzing: it would have made the run an internal error."""
    assert read_exit([frame(text)]) is None


def test_only_the_last_frame_can_say_it() -> None:
    assert read_exit([]) is None
    assert read_exit([frame("done 0"), frame("output", STDOUT)]) is None
