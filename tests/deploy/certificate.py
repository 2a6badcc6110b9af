"""A certificate for tests, made as the guide makes one for a trial."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "k8s-mcp.example.com"


@dataclass(frozen=True)
class Certificate:
    """Self-signed for `NAME`, localhost and 127.0.0.1: the certificate is its own authority."""

    file: Path
    key: Path


def make(directory: Path) -> Certificate:
    """Needs openssl(1)."""
    certificate = Certificate(directory / "tls.crt", directory / "tls.key")
    names = f"subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    output = ["-keyout", str(certificate.key), "-out", str(certificate.file)]
    subprocess.run(
        ["openssl", "req", "-x509", *options, "-subj", f"/CN={NAME}", "-addext", names, *output],
        check=True,
        capture_output=True,
    )
    return certificate
