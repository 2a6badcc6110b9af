"""For tests/web/test_openapi.py: what no schema can say of a valid request, put into those that are to be valid.

A valid kubeconfig, a key that was not used before, the id of a run that there is. The invalid requests stay as they
were generated, but for their commands: none is run that somebody made up by chance.
"""

import itertools
from typing import Any, cast

import httpx
import schemathesis

from tests.support import kubeconfigs

_numbers = itertools.count()


def before_call(context: schemathesis.HookContext, case: Any, kwargs: dict[str, Any]) -> None:
    """Called by Schemathesis before every request."""
    body: dict[str, Any] = _fields(case.body)
    if case.path == "/sse" and _could_run(body.get("command")):
        body["command"] = "cat; exit 3"
    if case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    number = next(_numbers)
    if isinstance(body.get("kubeconfig"), str):
        body["kubeconfig"] = kubeconfigs.fake()
    if body.get("timeout"):
        body["timeout"] = number % 3600 + 1
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{number}"
    elif case.path == "/sse":
        case.headers.pop("Last-Event-ID", None)  # without a key it is refused
    if "run_id" in case.path_parameters and number % 2:
        case.path_parameters["run_id"] = _finished_run(case.operation.base_url)


def _fields(body: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _could_run(command: Any) -> bool:
    return isinstance(command, str) and bool(command.strip()) and "\0" not in command


def _finished_run(url: str) -> str:
    run = {"command": "seq 3", "kubeconfig": kubeconfigs.fake()}
    httpx.post(f"{url.rstrip('/')}/sse", json=run, headers={"Idempotency-Key": "finished"}, trust_env=False)
    runs = httpx.get(f"{url.rstrip('/')}/runs", trust_env=False).json()["runs"]
    return runs[-1]["run_id"]


cast("Any", schemathesis).hook(before_call)
