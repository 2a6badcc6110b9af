"""What the Secret of a run holds. No I/O."""

import base64
from collections.abc import Mapping
from dataclasses import replace

from k8s_mcp.cluster.gate_file import FIRST_PORT, gate_file
from k8s_mcp.models import RunSpec

SECRETS = "/api/v1/secrets"


def run_files(spec: RunSpec, isolation: bool) -> Mapping[str, str]:
    """What the run's Secret holds, by file name.

    With isolation, `credentials` and `gate` are for the credential proxy alone.
    """
    files = {
        "id": spec.run_id,
        "command": spec.command,
        "timeout": str(spec.timeout),
        "stdin": spec.stdin or "",
        "kubeconfig": spec.kubeconfig,
        "proxies": "",
    }
    if isolation:
        files["kubeconfig"] = spec.proxied_kubeconfig
        files["proxies"] = " ".join(str(FIRST_PORT + number) for number in range(len(spec.contexts)))
        files["credentials"] = spec.kubeconfig
        files["gate"] = gate_file(spec.contexts, spec.gate_rules)
    return files


def read_files(spec: RunSpec, data: Mapping[str, str]) -> RunSpec:
    """The run with what the data of its Secret says. Raises KeyError and ValueError."""
    files = {name: base64.b64decode(text).decode() for name, text in data.items()}
    kubeconfig = files.get("credentials") or files["kubeconfig"]
    return replace(spec, kubeconfig=kubeconfig, command=files["command"], stdin=files["stdin"] or None)
