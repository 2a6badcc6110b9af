"""What the gate of a run is told: gate/README.md has every field. Pure."""

import json
from collections.abc import Mapping, Sequence

from k8s_mcp.models import Access

FIRST_PORT = 9001
"""The first context's port on the pod's loopback; the others follow."""

GateRule = Mapping[str, object]

# Access and what is seen of Secrets, in the gate's words.
_WORDS: dict[Access, tuple[str, str]] = {
    "full": ("full", "full"),
    "read-only": ("read_only", "masked"),
    "read-only-with-secrets": ("read_only", "full"),
}


def rule_of(access: Access) -> GateRule:
    """What the gate enforces for that kind of access."""
    allowed, secrets = _WORDS[access]
    return {"name": "this run", "access": allowed, "secrets": secrets}


def gate_file(contexts: Sequence[str], *rules: GateRule) -> str:
    """The configuration for a kubeconfig with these contexts. All of the rules hold."""
    ports = [{"name": name, "port": FIRST_PORT + number} for number, name in enumerate(contexts)]
    return json.dumps({"contexts": ports, "rules": rules})
