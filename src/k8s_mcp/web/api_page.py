"""The page at `/docs`: the OpenAPI document for people. One piece of HTML without scripts, which loads nothing.

Pages that can try requests out load their scripts from elsewhere. The one that calls this service is `page.py`'s.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font-family:ui-monospace,monospace}pre{overflow:auto;padding:.5rem;border:1px solid #8886}"
    "summary{cursor:pointer}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;"
    "vertical-align:top}:root{color-scheme:light dark}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    "default-src 'none'",
    f"style-src 'sha256-{_STYLE_HASH}'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_Json = Mapping[str, Any]


def add_to(app: FastAPI) -> None:
    """The OpenAPI document for people."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers=HEADERS)


def page(document: _Json) -> str:
    """The OpenAPI `document` as HTML."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    return "".join(
        (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
            f"<h1>{title}</h1>{_text(document['info'])}",
            '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
            *_who_may_call(document),
            *(
                part
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
                for part in _operation(method, path, operation)
            ),
            "<h2>Schemas</h2>",
            *(
                part
                for name, schema in document.get("components", {}).get("schemas", {}).items()
                for part in _schema(name, schema)
            ),
            "</html>",
        )
    )


def _who_may_call(document: _Json) -> Iterator[str]:
    yield "<h2>Who may call</h2>"
    ways = document.get("components", {}).get("securitySchemes", {})
    if not ways:
        yield "<p>Whoever reaches this service: it asks for no token.</p>"
    for way in ways.values():
        yield _text(way)


def _schema(name: str, schema: _Json) -> Iterator[str]:
    yield f"<h3>{escape(name)}</h3>{_text(schema)}"
    yield _table((field, str(about.get("description", ""))) for field, about in schema.get("properties", {}).items())
    yield _table(
        (json.dumps(example, ensure_ascii=False), str(kind.get("description", "")))
        for kind in schema.get("oneOf", ())
        for example in kind.get("examples", ())
    )
    yield _details("As JSON Schema", schema)


def _operation(method: str, path: str, operation: _Json) -> Iterator[str]:
    yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>{_text(operation)}"
    parameters = operation.get("parameters", ())
    yield _table((entry["name"], f"{entry['in']}: {entry.get('description', '')}") for entry in parameters)
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        schema = body.get("schema", {})
        yield _table((name, _about(name, field, schema)) for name, field in schema.get("properties", {}).items())
        yield _details(f"Request: {media_type}", schema)
    yield _table((code, str(answer.get("description", ""))) for code, answer in operation["responses"].items())


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code><td>{_inline(text)}" for name, text in rows)
    return f"<table>{cells}</table>" if cells else ""


def _about(name: str, field: _Json, schema: _Json) -> str:
    needed = "" if name in schema.get("required", ()) else " (may be left out)"
    return f"{field.get('description', '')}{needed}"


def _text(entry: _Json) -> str:
    """A description, in which OpenAPI has Markdown: paragraphs, and `code`; ours have nothing else of it."""
    paragraphs = re.split(r"\n\s*\n", str(entry.get("description", "")).strip())
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in paragraphs if paragraph)


def _inline(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _details(name: str, value: object) -> str:
    text = escape(json.dumps(value, indent=2, ensure_ascii=False))
    return f"<details><summary>{escape(name)}</summary><pre>{text}</pre></details>"
