"""`k8s-mcp exec` as a process."""

import fcntl
import os
import subprocess
import sys
import termios
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2

from tests.support.prepared import Prepared
from tests.support.service import Service

K8S_MCP = [sys.executable, "-W", "error", "-m", "k8s_mcp"]

Result = subprocess.CompletedProcess[str]


class Exec:
    """Runs `k8s-mcp exec` against one service, in `home` and with its environment."""

    def __init__(self, url: str, home: Path, kubeconfig: str, prepared: Prepared) -> None:
        self.home = home
        self._prepared = prepared
        self.kubeconfig = home / "kubeconfig"
        self.kubeconfig.write_text(kubeconfig)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("K8S_MCP_", "KUBECONFIG"))}
        self.environment = {**kept, "HOME": str(home), "KUBECONFIG": str(self.kubeconfig), "K8S_MCP_URL": url}

    def __call__(self, *words: str, stdin: str | bytes = "", environment: Mapping[str, str] | None = None) -> Result:
        """To its end, with its output as text."""
        return self.subcommand("exec", *words, stdin=stdin, environment=environment)

    def subcommand(
        self, *words: str, stdin: str | bytes = "", environment: Mapping[str, str] | None = None
    ) -> Result:
        """The same for any of those that are a client's."""
        given = {**self.environment, **(environment or {})}
        data = stdin.encode() if isinstance(stdin, str) else stdin
        result = self._prepared.run("client", words, given, self.home, data)
        return Result(result.args, result.returncode, result.stdout.decode(), result.stderr.decode())

    @contextmanager
    def started(
        self,
        *words: str,
        prefix: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Generator["subprocess.Popen[bytes]"]:
        """From scratch and in a process group of its own, as a shell starts it."""
        process = subprocess.Popen(
            [*prefix, *K8S_MCP, "exec", *words],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=self.environment,
            cwd=self.home,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def runs(server: Service) -> dict[str, str]:
    """Id and status of every run."""
    found = httpx2.get(f"{server.url}/runs", trust_env=False).raise_for_status().json()["runs"]
    return {run["run_id"]: run["status"] for run in found}


def line(process: "subprocess.Popen[bytes]") -> bytes:
    """The next line of its stdout."""
    assert process.stdout
    return process.stdout.readline()


def bytes_in(pipe: IO[bytes] | None) -> int:
    """How many bytes nobody has read yet."""
    assert pipe
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def ended_as(server: Service, before: Mapping[str, str], status: str) -> bool:
    """Whether the only run that is not among those of `before` ended like that."""
    new = runs(server).keys() - before.keys()
    assert len(new) == 1
    return runs(server)[new.pop()] == status


def k8s_mcp(*words: str, **environment: str) -> Result:
    """Any subcommand, with nothing of ours in its environment but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_MCP_")}
    return subprocess.run([*K8S_MCP, *words], env=kept | environment, capture_output=True, text=True, check=False)
