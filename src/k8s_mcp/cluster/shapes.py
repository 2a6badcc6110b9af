"""What is relied on in the objects of the API, and only that. No I/O.

A shape takes a value and its name in messages, and returns it: with what is null left out, as if it had not been
there, and `labels` and `annotations` always there. It raises Misshapen for what no API server would send.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

Json = dict[str, Any]
Shape = Callable[[Any, str], Json]
_Check = Callable[[Any, str], Any]

_VERSION = re.compile(r"[0-9]{1,20}")
_CHANGES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
_LARGEST_NUMBER = 2**31 - 1


class Misshapen(Exception):
    """The message says where, and quotes nothing."""


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Misshapen(f"{where} is no text")
    return value


def _name(value: Any, where: str) -> str:
    if not _text(value, where):
        raise Misshapen(f"{where} is empty")
    return value


def _change(value: Any, where: str) -> str:
    if value not in _CHANGES:
        raise Misshapen(f"{where} is none of {', '.join(_CHANGES)}")
    return value


def _version(value: Any, where: str) -> str:
    if not _VERSION.fullmatch(_text(value, where)):
        raise Misshapen(f"{where} is no number")
    return value


def _number(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_NUMBER:
        raise Misshapen(f"{where} is no number")
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise Misshapen(f"{where} is neither true nor false")
    return value


def _texts(value: Any, where: str) -> dict[str, str]:
    for text in _object(value, where).values():
        _text(text, f"a value of {where}")
    return value


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise Misshapen(f"{where} is no object")
    return cast("Json", value)


def _each(check: _Check) -> _Check:
    def checked(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise Misshapen(f"{where} is no list")
        return [check(item, f"an item of {where}") for item in cast("list[Any]", value)]

    return checked


def _fields(known: Mapping[str, _Check], *needed: str) -> Shape:
    def checked(value: Any, where: str) -> Json:
        found = _object(value, where)
        for key, check in known.items():
            if found.get(key) is not None:
                found[key] = check(found[key], f"{key} of {where}")
            elif key in needed:
                raise Misshapen(f"{where} has no {key}")
            else:
                found.pop(key, None)
        return found

    return checked


_NAMES = _fields(
    {
        "name": _name,
        "uid": _name,
        "resourceVersion": _version,
        "deletionTimestamp": _text,
        "labels": _texts,
        "annotations": _texts,
    },
    "name",
    "uid",
    "resourceVersion",
)


def _metadata(value: Any, where: str) -> Json:
    found = _NAMES(value, where)
    found.setdefault("labels", {})
    found.setdefault("annotations", {})
    return found


def _thing(known: Mapping[str, _Check], *needed: str) -> Shape:
    return _fields({"metadata": _metadata, "kind": _text, **known}, "metadata", *needed)


_CONDITIONS = _each(
    _fields({"type": _text, "status": _text, "reason": _text, "message": _text}, "type", "status"),
)
_TERMINATED = _fields({"exitCode": _number, "reason": _text, "message": _text})
_CONTAINERS = _each(
    _fields(
        {
            "name": _text,
            "state": _fields(
                {
                    "waiting": _fields({"reason": _text, "message": _text}),
                    "running": _object,
                    "terminated": _TERMINATED,
                }
            ),
            "lastState": _fields({"terminated": _TERMINATED}),
            "restartCount": _number,
        },
        "name",
    )
)

_ANYTHING = _thing({})
_KINDS: Mapping[str, tuple[str, Shape]] = {
    "jobs": ("Job", _thing({"spec": _object, "status": _fields({"conditions": _CONDITIONS})}, "spec")),
    "pods": (
        "Pod",
        _thing(
            {
                "spec": _fields({"nodeName": _text}),
                "status": _fields(
                    {
                        "reason": _text,
                        "message": _text,
                        "conditions": _CONDITIONS,
                        "containerStatuses": _CONTAINERS,
                        "initContainerStatuses": _CONTAINERS,
                    }
                ),
            },
            "spec",
        ),
    ),
    "events": (
        "Event",
        _thing(
            {
                "involvedObject": _fields({"kind": _text, "name": _text}),
                "type": _text,
                "reason": _text,
                "message": _text,
            },
            "involvedObject",
        ),
    ),
    "secrets": ("Secret", _thing({"data": _texts})),
    "leases": (
        "Lease",
        _thing({"spec": _fields({"holderIdentity": _text, "renewTime": _text, "leaseDurationSeconds": _number})}),
    ),
    "namespaces": ("Namespace", _ANYTHING),
}

CHANGE = _fields({"type": _change, "object": _object}, "type", "object")
BOOKMARK = _fields({"metadata": _fields({"resourceVersion": _version}, "resourceVersion")}, "metadata")
VERSION = _fields({"gitVersion": _text}, "gitVersion")
ACCESS_REVIEW = _fields({"status": _fields({"allowed": _truth}, "allowed")}, "status")
TOKEN_REVIEW = _fields(
    {
        "status": _fields(
            {
                "authenticated": _truth,
                "user": _fields({"username": _text, "groups": _each(_text)}),
                "audiences": _each(_text),
            }
        )
    },
    "status",
)
DELETED = _fields({"kind": _text}, "kind")
"""What answers a DELETE: a Status, or the object on its way out."""


def item_of(resource: str) -> Shape:
    """An object of `jobs`, `pods`, …, in a list or a watch, where it need not name its kind."""
    return _KINDS[resource][1]


def one_of(resource: str, name: str = "") -> Shape:
    """A whole answer that is one of them; the one of that name, if it is known beforehand."""
    kind, shape = _KINDS[resource]

    def checked(value: Any, where: str) -> Json:
        found = shape(value, where)
        if name and found["metadata"]["name"] != name:
            raise Misshapen(f"{where} is about another {kind}")
        return found

    return _of_kind(kind, checked)


def list_of(resource: str, *, metadata_only: bool = False) -> Shape:
    """A whole answer that is a list of them; `items` is a list also when there are none."""
    kind, shape = ("PartialObjectMetadata", _ANYTHING) if metadata_only else _KINDS[resource]
    items = _each(shape)

    def checked(value: Any, where: str) -> Json:
        found = _object(value, where)
        if "items" not in found:
            raise Misshapen(f"{where} has no items")
        found["items"] = items(found["items"] or [], f"items of {where}")
        return BOOKMARK(found, where)  # its place in time is where a watch has it

    return _of_kind(f"{kind}List", checked)


def of_answer(verb: str, resource: str, name: str) -> Shape:
    """What answers such a call."""
    if verb == "delete":
        return DELETED
    return list_of(resource) if verb == "list" else one_of(resource, name)


def _of_kind(kind: str, shape: Shape) -> Shape:
    def checked(value: Any, where: str) -> Json:
        found = _object(value, where)
        if found.get("kind") != kind:
            raise Misshapen(f"{where} is no {kind}")
        return shape(found, where)

    return checked


STATUS = _of_kind(
    "Status",
    _fields(
        {
            "reason": _text,
            "message": _text,
            "code": _number,
            "details": _fields({"retryAfterSeconds": _number}),
        }
    ),
)
