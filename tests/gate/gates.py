"""The gate as a program: started with a configuration, asked, stopped, and its record read."""

import json
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.support.service import wait_for

Json = dict[str, Any]

FULL: Json = {"access": "full", "secrets": "full"}


def configuration(contexts: list[str], **settings: Any) -> Json:
    """What the service writes for a run; every port is one that is free."""
    rule = {"name": "test", **FULL, **settings}
    return {"contexts": [{"name": name, "port": 0} for name in contexts], "rules": [rule]}


class Ask(Protocol):
    """Asks one request; see Gate.ask."""

    def __call__(
        self, method: str, path: str, body: str | bytes | Json = b"", **headers: str
    ) -> tuple[int, bytes]: ...


class Gate:
    """A running gate. `server` is the address of its first context, `kubeconfig` a file that has all of them."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self._log = directory / "record"
        self.kubeconfig = directory / "through"
        self.contexts: list[Json] = wait_for(self._lines, 10, "the gate says where it listens")[0]["contexts"]
        self.server = f"http://127.0.0.1:{self.contexts[0]['port']}"
        self.kubeconfig.write_text(yaml.safe_dump(through(self.contexts)))

    def _lines(self) -> list[Json]:
        assert self.process.poll() is None, f"the gate has ended with {self.process.returncode}"
        return self.lines()

    def lines(self) -> list[Json]:
        """The record so far."""
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def requests(self) -> list[Json]:
        """What was asked so far, in the order in which it ended."""
        return [line for line in self.lines() if line["event"] == "request"]

    def ask(self, method: str, path: str, body: str | bytes | Json = b"", **headers: str) -> tuple[int, bytes]:
        """One request as it is; the code and the body of the answer. `Content_Type` is the header Content-Type."""
        with self.asking() as ask:
            return ask(method, path, body, **headers)

    @contextmanager
    def asking(self) -> Generator["Ask"]:
        """`ask` over one connection, for many requests."""

        def ask(method: str, path: str, body: str | bytes | Json = b"", **headers: str) -> tuple[int, bytes]:
            sent = body if isinstance(body, str | bytes) else json.dumps(body)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=sent or None, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.read()

        connection = HTTPConnection("127.0.0.1", self.contexts[0]["port"], timeout=60)
        try:
            yield ask
        finally:
            connection.close()

    def stop(self) -> list[Json]:
        """End it as the kubelet does; the whole record."""
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(10) == 0
        return self.lines()


def through(contexts: list[Json]) -> Json:
    """A kubeconfig without a credential, whose contexts have the names of the real ones."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": contexts[0]["name"],
        "clusters": [
            {"name": one["name"], "cluster": {"server": f"http://127.0.0.1:{one['port']}"}} for one in contexts
        ],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [
            {"name": one["name"], "context": {"cluster": one["name"], "user": "nobody"}} for one in contexts
        ],
    }


def write_files(directory: Path, kubeconfig: str, **settings: Any) -> None:
    """The files that a gate is started with, for every context of `kubeconfig`."""
    names = [one["name"] for one in yaml.safe_load(kubeconfig)["contexts"]]
    (directory / "kubeconfig").write_text(kubeconfig)
    (directory / "gate.json").write_text(json.dumps(configuration(names, **settings)))


@contextmanager
def started(program: Path, directory: Path, kubeconfig: str, **settings: Any) -> Generator[Gate]:
    """A gate before the API servers of `kubeconfig`, until the end of the block."""
    write_files(directory, kubeconfig, **settings)
    argv = [program, directory / "gate.json", directory / "kubeconfig"]
    environment = {"PATH": os.environ["PATH"]}
    with (directory / "record").open("wb") as out, (directory / "messages").open("wb") as messages:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=messages, env=environment)
    try:
        gate = Gate(process, directory)
        yield gate
        if process.returncode != -signal.SIGKILL:  # a test's own deed
            gate.stop()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
