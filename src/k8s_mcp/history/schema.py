"""The tables of the history, made step by step; what a database has is brought to what this version knows.

A step is never changed once it was released: the next one changes what it made. So a database of any version before
is brought forward, by whoever comes first.
"""

from collections.abc import Mapping, Sequence

from k8s_mcp.errors import StartError
from k8s_mcp.history.database import Session

Steps = Sequence[Sequence[str]]

STEPS: Steps = (
    (
        """CREATE TABLE k8s_mcp_runs (
            run_id {text} PRIMARY KEY,
            owner {text} NOT NULL,
            created {text} NOT NULL,
            ended {text} NOT NULL,
            state {text} NOT NULL
        )""",
        "CREATE INDEX k8s_mcp_runs_by_time ON k8s_mcp_runs (created, run_id)",
        "CREATE INDEX k8s_mcp_runs_by_owner ON k8s_mcp_runs (owner, created, run_id)",
        "CREATE INDEX k8s_mcp_runs_by_end ON k8s_mcp_runs (ended)",
    ),
    (
        "ALTER TABLE k8s_mcp_runs ADD COLUMN requests {text}",
        "ALTER TABLE k8s_mcp_runs ADD COLUMN output {blob}",
        """CREATE TABLE k8s_mcp_missed (
            id {text} PRIMARY KEY,
            began {text} NOT NULL,
            ended {text} NOT NULL,
            runs INTEGER NOT NULL
        )""",
    ),
)
VERSION = len(STEPS)


def version_of(session: Session, find_table: str) -> int:
    """How many steps a database has; 0 for one that was never used. Raises Away."""
    if not session.ask(find_table, "k8s_mcp_history")[0][0]:
        return 0
    return max((int(version) for (version,) in session.ask("SELECT version FROM k8s_mcp_history")), default=0)


def migrate(session: Session, find_table: str, types: Mapping[str, str], steps: Steps = STEPS) -> None:
    """Carry out the steps that are missing, one service at a time. Raises Away, and StartError for a database that a
    later version has used.
    """
    if _is_known(version_of(session, find_table), steps):
        return
    with session.transaction(alone=True):
        version = version_of(session, find_table)  # somebody else was faster
        if _is_known(version, steps):
            return
        for step in steps[version:]:
            for statement in step:
                session.ask(statement.format(**types))
        session.ask("CREATE TABLE IF NOT EXISTS k8s_mcp_history (version INTEGER NOT NULL)")
        session.ask("DELETE FROM k8s_mcp_history")
        session.ask("INSERT INTO k8s_mcp_history VALUES (?)", len(steps))


def _is_known(version: int, steps: Steps) -> bool:
    """Whether nothing is missing."""
    if version > len(steps):
        raise StartError(
            f"the database of the history has version {version} of the tables, and this service knows "
            f"{len(steps)}: a later version of the service has used it. Run that one, or name another database "
            "(K8S_MCP_HISTORY_URL)"
        )
    return version == len(steps)
