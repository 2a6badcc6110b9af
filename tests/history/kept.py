"""Services whose runs are looked for in their history, for alice and for others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.support import kubeconfigs
from tests.support.callers import Callers
from tests.support.service import Service, StartService, wait_for

POLICY = """
rules: [{name: all, principals: ["*"], own_kubeconfigs: true}]
observers:
  - principals: [looker]
  - {principals: [reader], output: true}
"""
WEEK = 604_800


class Kept:
    """Services on one database, for alice and others, who are observers or nobody."""

    def __init__(self, start: StartService, callers: Callers, settings: Mapping[str, object]) -> None:
        self._start = start
        self._settings = {**settings, "history_seconds": WEEK, "auth_tokens": callers.file}
        self.callers = callers
        self.service = self.start()

    def start(self, **changed: object) -> Service:
        self.service = self._start(**{**self._settings, **changed})
        return self.service

    def restart(self, **changed: object) -> None:
        """All that it had in memory is gone."""
        assert self.service.stop() == 0
        self.start(**changed)

    def get(self, who: str, path: str, **headers: str) -> httpx.Response:
        headers |= self.callers.headers(who)
        return httpx.get(f"{self.service.url}{path}", headers=headers, trust_env=False, timeout=30)

    def past(self, who: str = "alice", query: str = "") -> list[dict[str, Any]]:
        return self.get(who, f"/runs?past=true{query}").raise_for_status().json()["runs"]

    def run(self, command: str) -> dict[str, Any]:
        """Alice runs it; its state, once the history has it."""
        body = {"command": command, "kubeconfig": kubeconfigs.fake()}
        url, headers = f"{self.service.url}/sse", self.callers.headers("alice")
        answer = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60)
        run_id = json.loads(answer.text.partition("data: ")[2].partition("\n")[0])["run_id"]
        wait_for(lambda: run_id in {one["run_id"] for one in self.past()})
        return self.get("alice", f"/runs/{run_id}").json()


def callers_in(directory: Path) -> Callers:
    return Callers(directory / "tokens", "alice", "bob", "looker", "reader")
