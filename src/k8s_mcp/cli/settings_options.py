"""The service's settings as options of `serve`, `check` and `clean`."""

import argparse
import logging
import os
from collections.abc import Callable
from functools import partial

from pydantic import ValidationError

from k8s_mcp import log_format
from k8s_mcp.cli.tell import tell
from k8s_mcp.settings import HEADINGS, PREFIX, Settings

_USAGE_ERROR = 2
_OTHER_VARIABLES = frozenset(("url", "token", "token_file", "ca_file", "cache", "api_server_ports", "insecure_http"))
# of the client, and of `make images`


def add_settings(parser: argparse.ArgumentParser, run: Callable[[Settings, argparse.Namespace], int]) -> None:
    """An option for each setting, and `run` with the settings that come of them."""
    parser.usage = f"{parser.prog} [OPTION]..."
    parser.epilog = f"Each option can also be set by its environment variable, {PREFIX}…; the option wins."
    group = parser.add_argument_group()
    for name, field in Settings.model_fields.items():
        if name in HEADINGS:
            group = parser.add_argument_group(HEADINGS[name])
        default = field.default if isinstance(field.default, str | int | float) else ""
        text = f"{field.description} [{PREFIX}{name.upper()}" + (f", default {default}]" if default != "" else "]")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, default=None)
        else:
            group.add_argument(flag, help=text.replace("%", "%%"), metavar="VALUE", default=None)
    parser.set_defaults(run=partial(_run, run))


def _run(run: Callable[[Settings, argparse.Namespace], int], options: argparse.Namespace) -> int:
    settings = _settings_of(options)
    return _USAGE_ERROR if settings is None else run(settings, options)


def _settings_of(options: argparse.Namespace) -> Settings | None:
    """From the environment and the options; None, and a message for each, when some are wrong."""
    given = {name: value for name in Settings.model_fields if (value := getattr(options, name)) is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for item in error.errors(include_input=False):
            name = str(item["loc"][0])
            tell(f"{PREFIX}{name.upper()} (--{name.replace('_', '-')}): {item['msg']}")
        return None
    log_format.configure(settings.log_level.upper(), settings.log_format)
    _warn_of_unknown_variables()
    return settings


def _warn_of_unknown_variables() -> None:
    """A misspelt setting would otherwise be a setting that silently has no effect."""
    known = {*Settings.model_fields, *_OTHER_VARIABLES}
    for name in sorted(os.environ):
        field = name.removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and field not in known and not field.startswith("test_"):
            logging.getLogger(__name__).warning("%s is not a setting of this service", name)
