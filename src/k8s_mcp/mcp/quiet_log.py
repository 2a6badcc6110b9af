"""What the SDK must not write into the log."""

import logging
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def messages_kept_from_the_log() -> Generator[None]:
    """At DEBUG these write every message whole, kubeconfigs and all; above that, only what happened."""
    loggers = [logging.getLogger(name) for name in ("mcp", "sse_starlette")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
