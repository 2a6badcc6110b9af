"""The service's log on stderr: text or JSON, one line each, with the id of the run it is about.

Whatever a message holds cannot begin another line: control characters are escaped, and the lines of a traceback are
indented.
"""

import json
import logging
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Literal

Format = Literal["text", "json"]

_RUN_ID: ContextVar[str] = ContextVar("run_id", default="")
# C0, DEL, C1, and what else ends a line somewhere or changes the direction of what follows. Tab is harmless.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_CALLED_INFORMATION = ("uvicorn", "mcp", "httpx")  # … by those who develop them


@contextmanager
def about_run(run_id: str) -> Generator[None]:
    """What is logged in this context, and in tasks that are started in it, has the run's id."""
    token = _RUN_ID.set(run_id)
    try:
        yield
    finally:
        _RUN_ID.reset(token)


def configure(level: str, kind: Format) -> None:
    """Send all that anybody logs in this process to stderr, from `level` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FORMATTERS[kind]())
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(capture=True)
    if level != "DEBUG":
        for name in _CALLED_INFORMATION:
            logging.getLogger(name).setLevel(logging.WARNING)


def announce(text: str, kind: Format) -> None:
    """Tell an operator something that no level hides."""
    record = logging.LogRecord("k8s_mcp", logging.INFO, "", 0, text, None, None)
    sys.stderr.write(f"{JsonFormatter().format(record) if kind == 'json' else text}\n")
    sys.stderr.flush()


def escaped(text: str) -> str:
    """`text` on one line: control characters in it as Python would write them."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER [RUN]: MESSAGE`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        run_id = _RUN_ID.get()
        about = f" [{run_id}]" if run_id else ""
        line = f"{_time(record)} {record.levelname} {record.name}{about}: {record.getMessage()}"
        return "\n".join([escaped(line), *(f"  {escaped(more)}" for more in _traceback(self, record))])


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message; `run_id` and `exception` where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        values = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "run_id": _RUN_ID.get(),
            "message": record.getMessage(),
            "exception": "\n".join(_traceback(self, record)),
        }
        return json_line({name: value for name, value in values.items() if value})


_FORMATTERS: dict[Format, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def json_line(values: object) -> str:
    """`values` as JSON in printable ASCII: nothing in it ends a line, moves a cursor or turns text around."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


def now() -> str:
    """The time in UTC (RFC 3339), to the millisecond."""
    return _written(datetime.now(UTC))


def later(time: str, seconds: float) -> str:
    """So many seconds after that time, to the second."""
    at = datetime.fromisoformat(time) + timedelta(seconds=seconds)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(record: logging.LogRecord) -> str:
    return _written(datetime.fromtimestamp(record.created, UTC))


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    lines = formatter.formatException(record.exc_info).splitlines() if record.exc_info else []
    return lines + (record.stack_info or "").splitlines()
