"""What the OpenAPI document says besides the paths: events, problems, runs and clusters as schemas, and tokens."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from fastapi import FastAPI

_Json = dict[str, Any]


def reference(name: str) -> dict[str, str]:
    """To one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def describe(app: FastAPI, open_paths: AbstractSet[str] | None) -> None:
    """Complete the document of `app`. Every path but `open_paths` takes a bearer token; with None no path does."""
    made = app.openapi

    def openapi() -> _Json:
        document = made()
        document["components"] = {"schemas": {**SCHEMAS}}
        for operation in _operations(document):
            if _LIBRARYS in str(operation["responses"].get("422")):  # what no answer of ours looks like
                del operation["responses"]["422"]
        if open_paths is not None:
            document["components"]["securitySchemes"] = {"bearer": _TOKEN}
            document["security"] = [{"bearer": []}]
            for path in open_paths & document["paths"].keys():
                for operation in document["paths"][path].values():
                    operation["security"] = []
        return document

    app.openapi = openapi


def _operations(document: _Json) -> Iterator[_Json]:
    yield from (operation for methods in document["paths"].values() for operation in methods.values())


def _object(about: str, required: str, **properties: _Json) -> _Json:
    return {"type": "object", "description": about, "required": required.split(), "properties": properties}


def _text(about: str, **more: object) -> _Json:
    return {"type": "string", "description": about, **more}


def _number(about: str, **more: object) -> _Json:
    return {"type": "integer", "description": about, **more}


def _or_null(value: _Json) -> _Json:
    return {**value, "type": [value["type"], "null"]}


def _control(example: Mapping[str, object], about: str) -> _Json:
    """One kind of control event; its fields are those of the example, and `status` tells it from the others."""
    return {
        "type": "object",
        "description": about,
        "required": list(example),
        "properties": {"status": {"const": example["status"]}},
        "examples": [dict(example)],
    }


_LIBRARYS = "HTTPValidationError"
_TIME = "UTC, to the millisecond"
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer TOKEN`: one that the operator has given you, a JWT of an issuer of OpenID "
    "Connect, or a token of a service account. What you do not send, or may not use, is answered 401.",
}

SCHEMAS: Mapping[str, _Json] = {
    "Event": _object(
        "One event of a stream (`text/event-stream`). An `id` is there with output, gaps and the final event: what a "
        "stream that is resumed repeats.",
        "event data",
        event={"enum": ["stdout", "stderr", "control"]},
        data=_text("One line of output, or a control event as JSON."),
        id=_text("A number that only grows.", pattern="^[0-9]+$"),
    ),
    "ControlEvent": {
        "description": "What a control event's `data` holds, as JSON. The last four are final: one comes, and last.",
        "oneOf": [
            _control({"status": "started", "run_id": "…"}, "First, at once. `left_out` names contexts not used."),
            _control({"status": "pending", "reason": "…", "message": "…"}, "The pod cannot start yet, and why."),
            _control(
                {"status": "gap", "stream": "stdout", "missing": 12}, "Lines were lost; `null`: of both streams."
            ),
            _control({"status": "at", "seconds": 1.5}, "With `timed`: when what follows was sent, since accepted."),
            _control({"status": "done", "exit_code": 0}, "The command ended by itself."),
            _control({"status": "timeout", "exit_code": 124, "timeout": 300}, "It was ended at its timeout."),
            _control({"status": "cancelled", "exit_code": None}, "Somebody ended it."),
            _control(
                {"status": "error", "exit_code": None, "reason": "ImagePullBackOff", "message": "…"},
                "The run failed, not the command.",
            ),
        ],
    },
    "Problem": _object(
        "What is wrong with a request (`application/problem+json`, RFC 9457).",
        "title status detail",
        title=_text("What the status means."),
        status=_number("The HTTP status."),
        detail=_text("What is wrong, and what to do."),
        errors={
            "type": "array",
            "description": "The fields that are wrong, one entry each.",
            "items": _object("", "field message", field=_text("Its name."), message=_text("What is wrong with it.")),
        },
    ),
    "Run": _object(
        "A run's state.",
        "run_id status exit_code created",
        run_id=_text("32 hexadecimal digits."),
        status={
            "enum": ["pending", "running", "done", "timeout", "cancelled", "error"],
            "description": "The final event's, once there is one.",
        },
        exit_code=_or_null(_number("`null` until there is one, and when nobody saw it.")),
        created=_text(_TIME),
        started=_or_null(_text(_TIME)),
        ended=_or_null(_text(_TIME)),
        cluster=_text("The API server of the kubeconfig's current context."),
        handle=_or_null(_text("The name under which the kubeconfig was stored.")),
        command=_or_null(_text("The command's beginning, for who may read the output.")),
        principal=_text("The caller's name; for observers."),
        timeout=_number("In seconds."),
        read_only={"type": "boolean", "description": "Whether the command can only read."},
        dry_run={"type": "boolean", "description": "Whether its changes are tried and not made."},
        bytes=_or_null(_number("Of output so far.")),
        lines=_or_null(_number("Of output so far.")),
        reason=_text("Why it failed; with the status `error` only."),
        message=_text("The same, for people."),
        requests={"type": "object", "description": "What the command asked of its cluster."},
    ),
    "Cluster": _object(
        "A kubeconfig stored under a name, which is never given back.",
        "name server contexts expires offered",
        name=_text("As requests name it."),
        server=_text("The API server of its current context."),
        contexts={"type": "array", "items": {"type": "string"}, "description": "Names that kubectl knows in it."},
        expires=_or_null(_text("UTC; `null`: the operator offers it, for good.")),
        offered={"type": "boolean", "description": "Whether the operator offers it."},
    ),
}

OF_LISTS: Mapping[str, _Json] = {
    "all": {"type": "boolean", "description": "With `all`: whether these are the runs of all callers."},
    "next": _or_null(_text("With `past`: what `before` takes to go on further back; `null` at the end.")),
    "missed": {
        "type": "array",
        "description": "With `past`: times at which runs ended that the history misses.",
        "items": _object("", "from to", **{"from": _text(_TIME), "to": _text(_TIME)}, runs=_number("For observers.")),
    },
}
"""What a list of runs has besides them."""
