"""What a run's state is to those who ask for it."""

from k8s_mcp.models import RunSpec


def describe(spec: RunSpec, status: str) -> dict[str, object]:
    """A run's state, as far as its specification and its status say."""
    return {
        "run_id": spec.run_id,
        "status": status,
        "exit_code": None,
        "created": spec.created,
        "started": None,
        "ended": None,
        "cluster": spec.server,
        "timeout": spec.timeout,
        "read_only": spec.read_only,
        "dry_run": spec.dry_run,
        "bytes": None,
        "lines": None,
    }
