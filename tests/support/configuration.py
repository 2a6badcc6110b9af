"""docs/configuration.md, made from the settings: `.venv/bin/python -m tests.support.configuration` writes it,
and with it what the chart says of settings and values.
"""

import json
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from k8s_mcp import __version__
from k8s_mcp.settings import HEADINGS, PREFIX, Settings
from tests.support import chart

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_BEGINNING = f"""\
# Configuration
Each setting is an environment variable, `{PREFIX}…`, and an option of `k8s-mcp serve`, `k8s-mcp check` and
`k8s-mcp clean`. The option wins; an empty variable counts as not set. A value that makes no sense is refused at the
start, by name, with exit status 2. A variable with this prefix that is no setting is reported in the log.

Times are in seconds, sizes in bytes, quantities of runner pods as Kubernetes writes them (`500m`, `256Mi`). Several
values in one setting are separated by commas. Yes or no: `true` or `false` in the variable, `--NAME` or `--no-NAME`
as an option.

This page is made from the program: `.venv/bin/python -m tests.support.configuration`.
"""


_OBVIOUS = {0, 1, 65535}


def page() -> str:
    """The whole page."""
    lines = [_BEGINNING]
    for name, field in Settings.model_fields.items():
        if name in HEADINGS:
            lines += [f"\n## {HEADINGS[name]}", "| variable | option | default | |", "|---|---|---|---|"]
        variable, option = f"{PREFIX}{name.upper()}", f"--{name.replace('_', '-')}"
        lines.append(f"| `{variable}` | `{option}` | {_default(field)} | {_description(field)} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ("", [], {}):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text.replace(__version__, 'VERSION')}`"


def _description(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
    choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
    if not all(choice in text for choice in choices):
        text += f": {', '.join(choices)}"
    return text + _bounds(field)


def _bounds(field: FieldInfo) -> str:
    """What values are accepted, where there is a limit that could surprise."""
    said = {"ge": "from", "gt": "more than", "le": "to"}
    limits = [
        f"{word} {getattr(limit, kind):,}"
        for limit in field.metadata
        for kind, word in said.items()
        if getattr(limit, kind, 0) not in _OBVIOUS
    ]
    return f" ({' '.join(limits)})" if limits else ""


if __name__ == "__main__":
    PAGE.write_text(page())
    chart.write()
