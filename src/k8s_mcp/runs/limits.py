"""How much callers can hold of runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what callers can hold. Times in seconds, sizes in bytes."""

    max_timeout: int
    grace_period: float
    resume_window: float
    replay_seconds: float
    replay_bytes: int
    replay_total_bytes: int
    recorded_bytes: int = 0
    """Of the output of each run, for its history; 0: none."""
