"""What the gate of a run is told: gate/README.md has every field. Pure."""

import json
from collections.abc import Sequence

from k8s_mcp.models import GateRule

FIRST_PORT = 9001
"""The first context's port on the pod's loopback; the others follow."""


def gate_file(contexts: Sequence[str], rules: Sequence[GateRule]) -> str:
    """The configuration for a kubeconfig with these contexts. All rules hold; without one nothing is allowed."""
    ports = [{"name": name, "port": FIRST_PORT + number} for number, name in enumerate(contexts)]
    return json.dumps({"contexts": ports, "rules": rules})
