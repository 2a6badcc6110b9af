"""The forms of the tools' results, as JSON schemas. No I/O."""

from typing import Any

_RUN: dict[str, Any] = {
    "run_id": {"type": ["string", "null"]},
    "status": {"type": "string", "enum": ["running", "done", "timeout", "cancelled", "error"]},
    "exit_code": {"type": ["integer", "null"]},
    "stdout": {"type": "string"},
    "stderr": {"type": "string"},
    "truncated": {"type": "boolean"},
    "total_lines": {"type": "integer"},
    "seconds": {"type": "number"},
    "readable_until": {"type": ["string", "null"]},
    "requests": {"type": "object"},
}
RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["status"],
    "properties": {
        **_RUN,
        "failed": {"type": "array", "items": {"type": "string"}},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["cluster", "run_id", "status", "exit_code", "stdout", "stderr"],
                "properties": {"cluster": {"type": "string"}, **_RUN},
            },
        },
    },
}
LINES: dict[str, Any] = {
    "type": "object",
    "required": ["run_id", "status", "exit_code", "text", "lines", "next_line", "next_column", "total_lines"],
    "properties": {
        "run_id": {"type": "string"},
        "status": {"type": "string"},
        "exit_code": {"type": ["integer", "null"]},
        "text": {"type": "string"},
        "lines": {"type": "integer"},
        "next_line": {"type": ["integer", "null"]},
        "next_column": {"type": ["integer", "null"]},
        "total_lines": {"type": "integer"},
        "readable_until": {"type": ["string", "null"]},
    },
}
CLUSTERS: dict[str, Any] = {
    "type": "object",
    "required": ["clusters"],
    "properties": {
        "clusters": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "server", "contexts", "expires", "offered"],
                "properties": {
                    "name": {"type": "string"},
                    "server": {"type": "string"},
                    "contexts": {"type": "array", "items": {"type": "string"}},
                    "expires": {"type": ["string", "null"]},
                    "offered": {"type": "boolean"},
                },
            },
        }
    },
}
STATE: dict[str, Any] = {
    "type": "object",
    "required": ["run_id", "status"],
    "properties": {"run_id": {"type": "string"}, "status": {"type": "string"}},
}
