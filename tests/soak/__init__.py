"""Replicas of the service under random faults, clients that come and go, and a checker that knows what must hold.

`python -m tests.soak --minutes 60 --replicas 3`; docs/reliability.md says what it shows and how to read its report.
"""
