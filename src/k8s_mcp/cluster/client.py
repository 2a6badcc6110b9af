"""Calls to the API server in plain JSON."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp

from k8s_mcp.cluster import shapes
from k8s_mcp.cluster.answers import ApiError, ApiUnreachable, OddAnswer
from k8s_mcp.cluster.http import Http, OnAnswer, Server
from k8s_mcp.cluster.shapes import Json

__all__ = ["Api", "ApiError", "ApiUnreachable", "Json", "OddAnswer", "OnAnswer", "nobody"]

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_ATTEMPTS = 5
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 5.0
_INVALID = 422

_logger = logging.getLogger(__name__)


def nobody(_verb: str, _resource: str, _code: str) -> None:
    """Takes it and does nothing."""


class Api:
    """One API server, and in it one namespace. `on_answer` is told of every answer.

    All calls raise ApiError when they are refused, and ApiUnreachable when nobody answers, or not as an API server
    does (OddAnswer). What passes is tried `attempts` times before that. To be made within a running event loop.
    """

    def __init__(
        self,
        server: Server,
        namespace: str,
        on_answer: OnAnswer = nobody,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self.namespace = namespace
        self._server = server
        self._attempts = attempts
        self._http = Http(self._server, on_answer)

    @property
    def server(self) -> str:
        return self._server.url

    async def check_credential(self) -> None:
        """Raises ApiUnreachable when there is none to show."""
        await self._server.shown()

    async def create(self, path: str, body: Json) -> Json:
        """POST to a collection such as `/apis/batch/v1/jobs` (the namespace is put in)."""
        return await self._call("create", path, body=body)

    async def get(self, path: str, name: str) -> Json:
        return await self._call("get", path, name)

    async def find(self, path: str, name: str) -> Json | None:
        """As `get`; None when there is none of that name."""
        try:
            return await self.get(path, name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def list(self, path: str, params: Mapping[str, str]) -> Json:
        return await self._call("list", path, params=params)

    async def list_metadata(self, path: str, params: Mapping[str, str]) -> Json:
        """Like `list`, but without what is in the objects: of Secrets, no data."""
        shape = shapes.list_of(_resource(path), metadata_only=True)
        return await self._http.call("list", self._target(path, "", params), None, shape, _METADATA)

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
        grace: int | None = None,
    ) -> bool:
        """Delete in the background; with `uid`, only the very object of that uid; with `resource_version`, only as it
        was then.

        False when that object was not there, or not so, any more.
        """
        body: Json = {"propagationPolicy": "Background"}
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

    async def delete_as_seen(self, path: str, seen: Json) -> bool:
        """Delete this very object, in this very version; False when it is not there, or not so, any more."""
        metadata = seen["metadata"]
        return await self.delete(
            path, metadata["name"], uid=metadata["uid"], resource_version=metadata["resourceVersion"]
        )

    async def version(self) -> Json:
        return await self._http.call("get", "/version", None, shapes.VERSION)

    async def namespace_object(self) -> Json:
        """The namespace itself, which a role in it need not allow to read."""
        target = f"/api/v1/namespaces/{self.namespace}"
        return await self._http.call("get", target, None, shapes.one_of("namespaces"))

    async def may(self, attributes: Mapping[str, str]) -> bool:
        """Whether the API server would let us do this: a SelfSubjectAccessReview."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._http.call("create", target, review, shapes.ACCESS_REVIEW)
        return bool(answer["status"]["allowed"])

    async def review_token(self, token: str, audience: str) -> Json:
        """The status of a TokenReview: whether `token` is one for `audience`, and whose."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        target = "/apis/authentication.k8s.io/v1/tokenreviews"
        answer = await self._http.call("create", target, review, shapes.TOKEN_REVIEW)
        return answer["status"]

    @asynccontextmanager
    async def stream(
        self, verb: str, path: str, name: str, params: Mapping[str, str], silence: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """The body of a long answer. ApiUnreachable also when nothing arrives for `silence` seconds."""
        async with self._http.stream(verb, self._target(path, name, params), silence) as content:
            yield content

    async def close(self) -> None:
        await self._http.close()

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
        target, shape = self._target(path, name, params or {}), shapes.of_answer(verb, _resource(path), name)
        pause = _FIRST_BACKOFF
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._http.call(verb, target, body, shape)
            except (ApiError, ApiUnreachable) as error:
                refused = error if isinstance(error, ApiError) else None
                if attempt == self._attempts or (refused and not refused.is_passing):
                    raise
                _logger.warning("%s %s: %s; trying again", verb, path, error)
            asked_for = (refused and refused.retry_after) or 0.0
            await asyncio.sleep(min(max(pause, asked_for), _LONGEST_BACKOFF))
            pause = min(2 * pause, _LONGEST_BACKOFF)
        raise AssertionError

    def _target(self, path: str, name: str, params: Mapping[str, str]) -> str:
        group, _, resource = path.rpartition("/")
        resource, _, subresource = resource.partition(":")
        parts = [group, "namespaces", self.namespace, resource, name, subresource]
        return "/".join(part for part in parts if part) + (f"?{urlencode(params)}" if params else "")


def _resource(path: str) -> str:
    return path.rpartition("/")[2].partition(":")[0]
