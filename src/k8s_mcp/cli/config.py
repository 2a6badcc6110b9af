"""`k8s-mcp config`: the settings that hold, and where each is from."""

import argparse
import json
import os
import re
from collections.abc import Mapping

from k8s_mcp.cli.settings_options import add_settings
from k8s_mcp.cli.table import print_table
from k8s_mcp.settings import PREFIX, Settings

_MASK = "[masked]"
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of a URL
_CLIENT = ("URL", "TOKEN", "TOKEN_FILE", "CA_FILE", "INSECURE_HTTP")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp config`: those of `serve`."""
    parser.description = "Print the settings that `k8s-mcp serve` with the same options would have. Asks nobody."
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_settings(parser, config)


def config(settings: Settings, options: argparse.Namespace) -> int:
    """Print them; the exit code."""
    rows = [_setting(settings, options, name) for name in Settings.model_fields]
    rows += [_of_client(os.environ, name) for name in _CLIENT if os.environ.get(f"{PREFIX}{name}")]
    if options.json:
        print(json.dumps([dict(zip(("name", "value", "from"), row, strict=True)) for row in rows], indent=2))
    else:
        print_table(("SETTING", "VALUE", "FROM"), *rows)
    return 0


def _setting(settings: Settings, options: argparse.Namespace, name: str) -> tuple[str, str, str]:
    value = getattr(settings, name)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    variable = f"{PREFIX}{name.upper()}"
    if getattr(options, name) is not None:
        origin = f"--{name.replace('_', '-')}"
    else:
        # as pydantic-settings reads them: whatever the case, and an empty one is none
        given = next((key for key, said in os.environ.items() if key.upper() == variable and said), "")
        origin = given or "default"
    return variable, _masked(name, text), origin


def _masked(name: str, text: str) -> str:
    """Without passwords, also one with a slash or an @ in it, or behind the `?` of a database's URL."""
    if name != "history_url":
        return _PASSWORD.sub(_MASK, text)
    scheme, separator, rest = text.partition("://")
    _, at, where = rest.rpartition("@")
    return f"{scheme}{separator}{_MASK if at else ''}{at}{where.partition('?')[0]}"


def _of_client(environment: Mapping[str, str], name: str) -> tuple[str, str, str]:
    variable = f"{PREFIX}{name}"
    text = _MASK if name == "TOKEN" else _PASSWORD.sub(_MASK, environment[variable])
    return variable, text, f"{variable}, of exec, runs and clusters"
