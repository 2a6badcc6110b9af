"""compose.yaml as an operator has it: in a directory with tokens, settings and a certificate."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.engine import Engine
from tests.support.documents import ROOT
from tests.support.events import Parser, Transcript

Json = dict[str, Any]

URL = "http://127.0.0.1:9096"


class Project:
    """One installation in `directory`, whose containers `engine` runs."""

    def __init__(self, engine: Engine, directory: Path, kubeconfig: str, tools: Path) -> None:
        self.engine = engine
        self.directory = directory
        shutil.copy2(ROOT / "compose.yaml", directory)
        shutil.copytree(ROOT / "compose", directory / "compose")
        (directory / ".kube").mkdir()
        (directory / ".kube" / "config").write_text(kubeconfig)
        path = os.pathsep.join(
            [
                str(Path(engine.client).parent),
                str(Path(sys.executable).parent),
                str(tools),
                engine.environment["PATH"],
            ]
        )
        self.environment = {**engine.environment, "HOME": str(directory), "PATH": path}

    def compose(self, *arguments: str) -> str:
        return self.engine("compose", *arguments, directory=self.directory)

    def up(self) -> None:
        self.compose("up", "--detach", "--wait", "--wait-timeout=60")

    def inspect(self, service: str = "server") -> Json:
        """What the engine says about a service's container."""
        (container,) = self.compose("ps", "--all", "--quiet", service).split()
        (found,) = json.loads(self.engine("inspect", container))
        return found

    def admit(self, name: str) -> str:
        """Hand out a token."""
        tokens = self.directory / "secrets" / "tokens"
        tokens.mkdir(parents=True, exist_ok=True)
        file = tokens / "callers"
        made = subprocess.run(
            [sys.executable, "-m", "k8s_mcp", "token", name, "--file", file],
            check=True,
            capture_output=True,
            text=True,
        )
        file.chmod(0o644)
        return made.stdout.strip()

    def curl(self, *arguments: str) -> list[str]:
        """The command that calls the published port."""
        return [*self.engine.enter, "curl", "--silent", "--show-error", "--no-buffer", *arguments]

    def run(self, command: str, kubeconfig: str, token: str) -> Transcript:
        """A run through the published port, to its end."""
        with self.started(command, kubeconfig, token) as process:
            output, _ = process.communicate(timeout=60)
        return transcript(output)

    @contextmanager
    def started(self, command: str, kubeconfig: str, token: str) -> "Generator[subprocess.Popen[bytes]]":
        """The same as a process of curl's."""
        body = self.directory / "body.json"
        body.write_text(json.dumps({"command": command, "kubeconfig": kubeconfig}))
        headers = ("-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {token}")
        argv = self.curl(*headers, "--data-binary", f"@{body}", f"{URL}/sse")
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()
                body.unlink()


def transcript(output: bytes) -> Transcript:
    """What a client saw, of the bytes it got."""
    return Transcript(list(Parser().feed(output)))


def containing(texts: Sequence[str], *places: Path) -> list[str]:
    """The files below `places` that contain any of the texts."""
    patterns = "\n".join(texts)
    grep = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--devices=skip", "--file=-", *places]
    found = subprocess.run(grep, input=patterns, capture_output=True, text=True, check=False)
    assert found.returncode in {0, 1}, found.stderr
    return found.stdout.split()
