"""The history that the settings ask for, or none."""

import os
from pathlib import Path

from k8s_mcp.history.database import database
from k8s_mcp.history.history import History
from k8s_mcp.history.store import Store
from k8s_mcp.history.writer import Keeping, Told, Writer
from k8s_mcp.settings import Settings

OUTPUT_BYTES = 2**20
"""Of one run's output that are kept, half of its beginning and half of its end."""


def is_wanted(settings: Settings) -> bool:
    """Whether there is a history."""
    return bool(_url(settings))


def store_of(settings: Settings) -> Store | None:
    """Where the history is. Raises StartError for a URL that is none."""
    url = _url(settings)
    return Store(database(url)) if url else None


def _url(settings: Settings) -> str:
    if not settings.history_seconds:
        return ""
    if settings.history_url or settings.executor != "local":
        return settings.history_url
    file = default_file()
    return f"sqlite:///{file}" if file else ""


def history_of(settings: Settings, told: Told) -> History | None:
    """Raises StartError for a URL that is none."""
    store = store_of(settings)
    if store is None:
        return None
    keeping = Keeping(settings.history_seconds, settings.audit_command_bytes)
    return History(store, keeping, Writer(store, keeping, told), output=settings.history_output)


def default_file() -> Path | None:
    """Where a user's programs keep what is to outlive them: https://specifications.freedesktop.org/basedir-spec.

    None for who has no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return base / "k8s-mcp" / "history.sqlite"
