"""Principals with tokens of their own, and the file by which a service knows them."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from k8s_mcp.auth.tokens import line_of, make_token
from tests.support.prepared import Start
from tests.support.service import Service, services


class Callers:
    """`file` is for K8S_MCP_AUTH_TOKENS."""

    def __init__(self, file: Path, *names: str) -> None:
        self.file = file
        self.tokens: dict[str, str] = {}
        file.write_text("")
        for name in names:
            self.add(name)

    def add(self, name: str, *groups: str) -> str:
        """A new token for `name`."""
        token = self.tokens[name] = make_token()
        with self.file.open("a") as file:
            file.write(line_of(token, name, groups) + "\n")
        return token

    def remove(self, name: str) -> None:
        lines = self.file.read_text().splitlines(keepends=True)
        self.file.write_text("".join(line for line in lines if line.split()[0] != name))

    def headers(self, name: str) -> dict[str, str]:
        return bearer(self.tokens[name])

    def http(self, url: str, name: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, headers=self.headers(name))


@contextmanager
def service_with_policy(
    directory: Path, tools: Path, how: Start, callers: Callers, policy: str, **settings: object
) -> Generator[Service]:
    """A service that lets these callers in, and has the `policy`, a file's text."""
    (directory / "policy.yaml").write_text(policy)
    with services(directory, tools, how=how) as start:
        yield start(auth_tokens=callers.file, policy=directory / "policy.yaml", **settings)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
