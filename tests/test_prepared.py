"""A prepared program differs from one that was started from scratch in nothing but the time it takes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.execute import K8S_MCP, Exec
from tests.support.prepared import Prepared, from_scratch
from tests.support.service import Service, wait_for


def _name(file: Path, pid: int) -> str:
    """Without what is another one for each process."""
    return "its own directory" if file.name.startswith(f"{pid}-") else file.name.partition(":")[0]


def _seen(service: Service) -> dict[str, object]:
    """What the kernel says of the process."""
    process = Path(f"/proc/{service.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    return {
        "signals": [status[name] for name in ("SigBlk", "SigIgn", "SigCgt")],
        "leads its session": os.getsid(service.pid) == os.getpgid(service.pid) == service.pid,
        "threads": status["Threads"],
        "directory": (process / "cwd").readlink(),
        "streams": [(process / "fd" / number).readlink().name for number in "012"],
        "files": sorted(_name(each.readlink(), service.pid) for each in (process / "fd").iterdir()),
    }


def test_the_kernel_sees_the_same(prepared: Prepared, tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    for how in (from_scratch, prepared):
        home = tmp_path / str(len(seen))
        home.mkdir()
        service = Service(home, os.environ["PATH"], {}, how)
        try:
            seen.append(_seen(service))
        finally:
            service.kill()
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)], ids=str
)
def test_its_end_is_told(prepared: Prepared, tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    service = Service(tmp_path, os.environ["PATH"], {}, prepared)
    assert service.process.poll() is None
    os.kill(service.pid, number)
    assert service.end() == exit_code
    assert service.process.poll() == exit_code
    wait_for(lambda: not Path(f"/proc/{service.pid}").exists(), what="nothing to be left of it")
    service.kill()  # says nothing of what is gone already


def test_what_keeps_it_from_starting_is_in_its_log(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No such file"):
        Service(tmp_path, os.environ["PATH"], {"policy": tmp_path / "there is none"}, prepared)


_WORDS = ["exec", "-i", "--timeout", "9", "--", "tr a-z A-Z; echo err >&2; exit 7"]


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (_WORDS, "eins\nzwei 😀"),
        (_WORDS, b"\xff"),
        (["exec", "--kubeconfig", "-", "--", "pwd; wc -l <$KUBECONFIG"], "no kubeconfig"),
        (["exec", "--kubeconfig", "there is none", "--", "true"], ""),
        (["exec", "--bogus"], ""),
        (["clusters", "list"], ""),
    ],
)
def test_a_command_prints_and_ends_the_same(
    prepared: Prepared, server: Service, tmp_path: Path, fake_kubeconfig: str, words: list[str], stdin: str | bytes
) -> None:
    execute = Exec(server.url, tmp_path, fake_kubeconfig, prepared)
    given = stdin.encode() if isinstance(stdin, str) else stdin
    scratch = subprocess.run(
        [*K8S_MCP, *words], input=given, capture_output=True, env=execute.environment, cwd=tmp_path, check=False
    )
    seen = execute.subcommand(*words, stdin=stdin)
    assert (seen.returncode, seen.stdout, seen.stderr) == (
        scratch.returncode,
        scratch.stdout.decode(),
        scratch.stderr.decode(),
    )
