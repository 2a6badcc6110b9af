"""Single calls of a service's API, beside runs: JSON there and back."""

import json
from typing import Any, NoReturn, cast

from k8s_mcp.client.http import CallFailed, Http
from k8s_mcp.client.remote_run import ServiceError, connect, refusal, unreachable
from k8s_mcp.client.service import Endpoint, InputError

_Answer = dict[str, Any]


def call(http: Http, url: str, method: str, path: str, body: object = None) -> _Answer:
    """The JSON object that `path` below `url` answers; empty without a body. Raises ServiceError."""
    try:
        with http.stream(method, path, body) as response:
            if not response.is_success:
                raise refusal(url, response)
            content = response.read()
    except CallFailed as error:
        raise unreachable(url, error) from error
    if not content:
        return {}
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    return cast("_Answer", value) if isinstance(value, dict) else not_ours(url)


def stored_clusters(service: Endpoint) -> list[str]:
    """The names of all clusters that the caller can name. Raises ServiceError, InputError when there are none."""
    http = connect(service)
    found = entries(service.url, call(http, service.url, "GET", "/clusters"), "clusters", ("name",))
    if not found:
        raise InputError("no clusters are stored; `k8s-mcp clusters add NAME` stores one")
    return [str(one["name"]) for one in found]


def entries(url: str, answer: _Answer, key: str, needed: tuple[str, ...]) -> list[_Answer]:
    """The list under `key`, of objects that have all that is `needed`. Raises ServiceError."""
    found: Any = answer.get(key)
    if not isinstance(found, list):
        not_ours(url)
    for one in cast("list[Any]", found):
        if not isinstance(one, dict) or not all(name in one for name in needed):
            not_ours(url)
    return cast("list[_Answer]", found)


def not_ours(url: str) -> NoReturn:
    """For an answer that the service does not give."""
    raise ServiceError(f"{url} is no k8s-mcp service: its answer is not the one that a service gives")
