"""Calls to the API server in plain JSON; the only module that imports the Kubernetes client.

That client brings configuration, authentication and connections. Its generated models are not used: they cost more
time than the calls.
"""

# pyright: reportUnknownMemberType=false
# The Kubernetes client is only partly typed.

import asyncio
import json
import logging
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.config.config_exception import ConfigException

from k8s_mcp.cluster.sockets import Sockets
from k8s_mcp.errors import StartError

Json = dict[str, Any]

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE_PATCH = "application/merge-patch+json"
_READ_BYTES = 2**21
_CALL_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_ATTEMPTS = 5
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 5.0
_INVALID = 422
_TRY_AGAIN = frozenset((429, 500, 502, 503, 504))

_logger = logging.getLogger(__name__)


OnAnswer = Callable[[str, str, str], None]
"""Takes the verb, the resource (`jobs`, `pods/log`) and the HTTP status of a call; `none` without an answer."""

NO_ANSWER = "none"


def nobody(_verb: str, _resource: str, _code: str) -> None:
    """Takes it and does nothing."""


_METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


class ApiError(Exception):
    """The API server refused a call, with a Kubernetes `Status`."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_passing(self) -> bool:
        """Whether the same call may well succeed later."""
        return self.status in _TRY_AGAIN

    @property
    def is_conflict(self) -> bool:
        """Whether something is not as the call supposed: it exists already, is another one, or has changed."""
        return self.status == HTTPStatus.CONFLICT


class ApiUnreachable(Exception):
    """No answer from the API server."""


class Api:
    """One API server, and in it one namespace. `on_answer` is told of every answer.

    To be made within a running event loop.
    """

    def __init__(self, configuration: client.Configuration, namespace: str, on_answer: OnAnswer = nobody) -> None:
        self.namespace = namespace
        self._on_answer = on_answer
        self._configuration = configuration
        self._client = client.ApiClient(configuration)
        self._sockets = Sockets()
        # Its own pool, but for the sockets; no limit, since every run holds a connection while its log is followed.
        rest = self._client.rest_client
        connector = aiohttp.TCPConnector(limit=0, ssl=rest.ssl_context, socket_factory=self._sockets.make)
        rest.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=_READ_BYTES)

    @property
    def server(self) -> str:
        return str(self._configuration.host)

    async def create(self, path: str, body: Json) -> Json:
        """POST to a collection such as `/apis/batch/v1/jobs` (the namespace is put in)."""
        return await self._call("create", path, body=body)

    async def get(self, path: str, name: str) -> Json:
        return await self._call("get", path, name)

    async def list(self, path: str, params: Mapping[str, str]) -> Json:
        return await self._call("list", path, params=params)

    async def list_metadata(self, path: str, params: Mapping[str, str]) -> Json:
        """Like `list`, but without what is in the objects: of Secrets, no data."""
        return await self._once("list", self._url(path, ""), params, None, _METADATA)

    async def patch(
        self, path: str, name: str, body: Json, *, uid: str | None = None, resource_version: str | None = None
    ) -> Json:
        """A JSON merge patch (RFC 7386).

        With `uid`, of the very object of that uid; with `resource_version`, only as long as it has not changed since.
        Raises ApiError 409 (`is_conflict`) when that does not hold, also after an attempt whose answer was lost.
        """
        seen = {"uid": uid, "resourceVersion": resource_version}
        metadata = {**body.get("metadata", {}), **{key: value for key, value in seen.items() if value is not None}}
        try:
            return await self._call("patch", path, name, body={**body, "metadata": metadata} if metadata else body)
        except ApiError as error:
            if uid is not None and error.status == _INVALID and "metadata.uid" in error.message:
                raise ApiError(HTTPStatus.CONFLICT, "Conflict", error.message) from error  # it is another object
            raise

    async def replace(self, path: str, name: str, body: Json) -> Json:
        return await self._call("update", path, name, body=body)

    async def delete(
        self,
        path: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace: int | None = None,
    ) -> bool:
        """Delete; with `uid`, only the very object of that uid; with `resource_version`, only as it was then.

        False when that object was not there, or not so, any more.
        """
        body: Json = {"propagationPolicy": propagation}
        seen = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in seen.items() if value is not None}
        if preconditions:
            body["preconditions"] = preconditions
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._call("delete", path, name, body=body)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND and not error.is_conflict:
                raise
            return False
        return True

    async def version(self) -> Json:
        return await self._once("get", "/version", {}, None)

    async def namespace_object(self) -> Json:
        """The namespace itself, which a role in it need not allow to read."""
        return await self._once("get", f"/api/v1/namespaces/{self.namespace}", {}, None)

    async def may(self, attributes: Mapping[str, str]) -> bool:
        """Whether the API server would let us do this: a SelfSubjectAccessReview."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._once("create", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, review)
        return bool(answer["status"]["allowed"])

    async def review_token(self, token: str, audience: str) -> Json:
        """The status of a TokenReview: whether `token` is one for `audience`, and whose. Raises as `get` does."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        answer = await self._once("create", "/apis/authentication.k8s.io/v1/tokenreviews", {}, review)
        return answer.get("status") or {}

    @asynccontextmanager
    async def stream(
        self, verb: str, path: str, name: str, params: Mapping[str, str], silence: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """The body of a long answer. ApiUnreachable when it breaks, or nothing arrives for `silence` seconds."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._request(verb, self._url(path, name), params, None, timeout) as response:
                try:
                    yield response.content
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._client.close()
        await self._sockets.close()

    async def _call(
        self,
        verb: str,
        path: str,
        name: str = "",
        *,
        body: Json | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Json:
        """One call, repeated with growing pauses while the server is overloaded or out of reach."""
        pause = _FIRST_BACKOFF
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._once(verb, self._url(path, name), params or {}, body)
            except (ApiError, ApiUnreachable) as error:
                if attempt == _ATTEMPTS or (isinstance(error, ApiError) and not error.is_passing):
                    raise
                _logger.warning("%s %s: %s; trying again", verb, path, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_BACKOFF)
        raise AssertionError

    async def _once(
        self, verb: str, url: str, params: Mapping[str, str], body: Json | None, accept: str = "application/json"
    ) -> Json:
        timeout = aiohttp.ClientTimeout(_CALL_SECONDS, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._request(verb, url, params, body, timeout, accept) as response:
                return await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def _request(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str],
        body: Json | None,
        timeout: aiohttp.ClientTimeout,
        accept: str = "application/json",
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        method = _METHODS.get(verb, "GET")
        headers = {"Accept": accept}
        if method == "PATCH":
            headers["Content-Type"] = MERGE_PATCH
        settings: Any = await self._configuration.auth_settings()
        for setting in settings.values():
            if setting["value"]:
                headers[setting["key"]] = setting["value"]
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(params)}" if params else "")
        code = NO_ANSWER
        try:
            answer = await self._client.call_api(method, url, headers, body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            code = str(response.status)
        finally:
            self._on_answer(verb, resource_of(path), code)
        async with response:
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise _error(response.status, await response.text())
            yield response

    def _url(self, path: str, name: str) -> str:
        group, _, resource = path.rpartition("/")
        resource, _, subresource = resource.partition(":")
        parts = [group, "namespaces", self.namespace, resource, name, subresource]
        return "/".join(part for part in parts if part)


@asynccontextmanager
async def connect(kubeconfig: str, context: str, namespace: str, on_answer: OnAnswer = nobody) -> AsyncGenerator[Api]:
    """The API server of a kubeconfig file; without one, of the cluster this process runs in, else of the user's own.

    Raises StartError when there is no usable configuration.
    """
    # A Secret can be over the 1 MiB from which aiohttp warns; that is copied in a millisecond.
    warnings.filterwarnings("ignore", "Sending a large body", ResourceWarning)
    settings = client.Configuration()
    # From Python 3.13 on, certificates without an Authority Key Identifier would be refused; many clusters' own
    # authorities make such ones, and kubectl takes them.
    settings.disable_strict_ssl_verification = True
    try:
        await _load(settings, kubeconfig, context)
    except (ConfigException, OSError) as error:
        raise StartError(
            f"no usable configuration for the cluster of runner pods: {error}; name a kubeconfig with --kubeconfig"
        ) from error
    api = Api(settings, namespace, on_answer)
    try:
        yield api
    finally:
        await api.close()


async def _load(settings: client.Configuration, kubeconfig: str, context: str) -> None:
    if not kubeconfig:
        try:
            config.load_incluster_config(settings)
        except ConfigException:
            _logger.debug("not in a cluster: using the kubeconfig")
        else:
            return
    await config.load_kube_config(
        config_file=kubeconfig or None, context=context or None, client_configuration=settings, persist_config=False
    )


def resource_of(path: str) -> str:
    """What a path of the API is about, without any name: `jobs`, `pods/log`, `namespaces`, `version`."""
    start, namespaced, rest = path.partition("/namespaces/")
    kind, _, name = rest.partition("/")[2].partition("/")
    if not kind:
        return "namespaces" if namespaced else start.rpartition("/")[2]
    subresource = name.partition("/")[2]
    return f"{kind}/{subresource}" if subresource else kind


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the connection of an answer that was not read to its end, without a goodbye that nobody waits for."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _error(status: int, text: str) -> ApiError:
    try:
        body = json.loads(text)
    except ValueError:
        return ApiError(status, HTTPStatus(status).phrase, text[:500])
    return ApiError(status, body.get("reason", ""), body.get("message", ""))
