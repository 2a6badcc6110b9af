"""Run one shell command against one Kubernetes cluster and stream its output live."""

__version__ = "0.1.0"
