"""The parts of the chart that are made from others: what `settings` may hold in its schema, and the table of values
in its README. `.venv/bin/python -m tests.support.configuration` writes both.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from k8s_mcp.settings import Settings

CHART = Path(__file__).parents[2] / "charts" / "k8s-mcp-server"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"

BY_CHART = frozenset(
    (
        "host",
        "port",
        "executor",
        "auth_tokens",
        "policy",
        "tls_certificate",
        "tls_key",
        "service_account_audience",
        "insecure_no_auth",
        "kubeconfig",
        "context",
        "namespace",
        "runner_image",
        "runner_image_pull_policy",
        "runner_image_pull_secrets",
        "runner_service_account",
        "local_dir",
        "history_url",
    )
)
"""Settings that the chart sets itself, from other values or always alike."""

_BEGIN, _END = "<!-- made from values.yaml -->", "<!-- end -->"
_LINE = re.compile(r"(?P<indent> *)(?:# (?P<comment>.*)|(?P<key>[A-Za-z]+):(?P<rest>.*))")


@dataclass(frozen=True)
class Value:
    """One value that can be set: its path with dots, its default, and the comment above it."""

    path: str
    default: object
    description: str


def values() -> list[Value]:
    """All that values.yaml documents: what has a comment right above it."""
    found: list[Value] = []
    keys: list[str] = []
    comment: list[str] = []
    for line in VALUES.read_text().splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            comment = []
        elif match["comment"] is not None:
            comment.append(match["comment"])
        else:
            keys[len(match["indent"]) // 2 :] = [match["key"]]
            if comment:
                found.append(Value(".".join(keys), _default(keys), " ".join(comment)))
            comment = []
    return found


def _default(keys: list[str]) -> object:
    value: Any = yaml.safe_load(VALUES.read_text())
    for key in keys:
        value = value[key]
    return value


def readme() -> str:
    """The chart's README with the table as it should be."""
    rows = [f"| `{value.path}` | {_shown(value.default)} | {_escaped(value.description)} |" for value in values()]
    table = "\n".join((_BEGIN, "| value | default | |", "|---|---|---|", *rows, _END))
    return re.sub(f"{_BEGIN}.*{_END}", lambda _: table, README.read_text(), flags=re.DOTALL)


def _shown(default: object) -> str:
    return "" if default in ("", None, [], {}) else f"`{json.dumps(default)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def schema() -> str:
    """values.schema.json with every setting as it should be."""
    whole = json.loads(SCHEMA.read_text())
    whole["properties"]["settings"]["properties"] = {
        camel_case(name): {"description": field.description, **_type(field)}
        for name, field in Settings.model_fields.items()
        if name not in BY_CHART
    }
    return json.dumps(whole, indent=2) + "\n"


def camel_case(name: str) -> str:
    """A setting's name as a value."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _type(field: FieldInfo) -> dict[str, object]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is list:
        return {"type": "array", "items": {"type": "string" if get_args(kind) == (str,) else "object"}}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    names: dict[object, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    bounds = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    limits = {
        word: getattr(limit, name)
        for limit in field.metadata
        for name, word in bounds.items()
        if hasattr(limit, name)
    }
    return {"type": names[kind], **limits}


def write() -> None:
    SCHEMA.write_text(schema())
    README.write_text(readme())
